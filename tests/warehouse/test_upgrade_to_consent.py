"""A warehouse from before the purposes were one list: statements, audiences and tags go on under the new names."""

import pytest
from portrait.warehouse import Warehouse
from portrait.warehouse.database import create_database
from portrait.warehouse.migrate import migrate
from sqlalchemy import URL

OLD = {
    "email_marketing": "marketing_email",
    "sms_marketing": "marketing_sms",
    "personalisation": "personalised_recommendation",
    "analytics": "analytics",
    "profiling_inference": "profiling_inference",
    "parking": "parking",
}


@pytest.fixture
def older(server: URL) -> Warehouse:
    """A warehouse of revision 0019: a statement for each purpose by ann's account, an audience and a night's tags."""
    create_database(server, "older_consent")
    warehouse = Warehouse(server.set(database="older_consent"))
    migrate(warehouse, "0019")
    warehouse.execute("select raw.make_month('consent_event', '2026-01-01')")
    warehouse.execute(
        "insert into identity.identifier (kind, value, first_seen, last_seen, identifier_id)"
        " values ('account', 'a1', '2026-01-01', '2026-01-01', 1)"
    )
    warehouse.execute("insert into identity.assignment values (1, 1, 'ann', '2026-01-01')")
    for purpose in OLD:
        warehouse.execute(
            "insert into raw.consent_event (source, source_row_id, consent_id, account_id, purpose, granted,"
            " occurred_at, business_date, batch_id) values ('s', :p, :p, 'a1', :p, true, '2026-01-02', '2026-01-02', 1)",
            p=purpose,
        )
    warehouse.execute(
        "insert into audience.definition values ('a', 'a', 'a', 'true', 'sms_marketing', 'sms', 'crm', 0, null, null,"
        " 'csv', true, '2026-01-02')"
    )
    warehouse.execute(
        "create table profile_store.tag_definition_20260102_1 partition of profile_store.tag_definition"
        " for values in ('2026-01-02.1')"
    )
    warehouse.execute(
        "insert into profile_store.tag_definition (run_id, tag, expression, purpose)"
        " values ('2026-01-02.1', 'dear', 'price_sensitivity = ''high''', 'Own brands'),"
        " ('2026-01-02.1', 'rich', 'monetary > 1', 'Budget')"
    )
    return warehouse


def test_old_names_are_replaced_and_what_was_stated_counts(older: Warehouse) -> None:
    migrate(older)
    rows = older.rows("select consent_id, purpose from raw.consent_event")
    assert {r["consent_id"]: r["purpose"] for r in rows} == OLD
    (said,) = older.rows("select * from privacy.permission")
    assert said == {
        "customer_id": "ann",
        "analytics": True,
        "personalised_recommendation": True,
        "marketing_email": True,
        "marketing_sms": True,
        "ad_audience": None,
        "profiling_inference": True,
    }
    assert older.scalar("select purpose from audience.definition") == "marketing_sms"
    tags = older.rows(
        'select tag, purpose, "use", price_limited from profile_store.tag_definition order by tag'
    )
    assert [tuple(t.values()) for t in tags] == [
        ("dear", "analytics", "Own brands", True),
        ("rich", "analytics", "Budget", False),
    ]
