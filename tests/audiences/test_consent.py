"""What customers allow: their statements, kept ready for the views, and views that show it at every moment."""

import random
from collections.abc import Callable
from datetime import UTC, date, datetime
from typing import Any

import pytest
from portrait.privacy.retention import retain
from portrait.purposes import CODES, CONSENT_REQUIRED, PURPOSES
from portrait.warehouse import Warehouse
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

Consent = Callable[..., None]
ANALYTICS, PERSONAL, PROFILING = "analytics", "personalised_recommendation", "profiling_inference"


def ids(warehouse: Warehouse, sql: str) -> list[str]:
    return [r["customer_id"] for r in warehouse.rows(f"{sql} order by customer_id")]


def test_the_table_of_purposes_is_the_list(warehouse: Warehouse) -> None:
    rows = warehouse.rows("select purpose, consent_required from privacy.purpose")
    assert {r["purpose"]: r["consent_required"] for r in rows} == {
        p.code: p.consent_required for p in PURPOSES
    }
    (unstated,) = warehouse.rows("select * from privacy.unstated")
    assert unstated == {code: code not in CONSENT_REQUIRED for code in CODES}
    columns = warehouse.rows(
        "select column_name as c from information_schema.columns where table_schema = 'privacy'"
        " and table_name = 'permission' order by ordinal_position"
    )
    assert [r["c"] for r in columns] == ["customer_id", *CODES]


def test_history_has_each_statement_once_with_its_evidence(
    warehouse: Warehouse, consent: Consent, add_raw: Callable[..., int]
) -> None:
    consent("ann", day=1)
    consent("ann", granted=False, day=3)
    # A statement by two identifiers of one customer.
    warehouse.execute(
        "insert into identity.identifier (kind, value, first_seen, last_seen, identifier_id)"
        " values ('phone', 'v1:p', '2026-01-01', '2026-01-01', 900)"
    )
    warehouse.execute("insert into identity.assignment values (900, 1, 'ann', '2026-01-01')")
    both = {"consent_id": "x", "account_id": "a-ann", "phone_hash": "v1:p", "purpose": "ad_audience"}
    at = {"occurred_at": datetime(2026, 1, 2, tzinfo=UTC), "business_date": date(2026, 1, 2)}
    add_raw("consent_event", [{**both, **at, "granted": True, "evidence": "form 4.2"}], source="crm")
    rows = warehouse.rows(
        "select purpose, status, stated_at::date::text as day, source, evidence, loaded_at <= now() as loaded"
        " from privacy.consent_history where customer_id = 'ann' order by stated_at"
    )
    assert [tuple(r.values()) for r in rows] == [
        ("marketing_email", "given", "2026-01-01", "test", None, True),
        ("ad_audience", "given", "2026-01-02", "crm", "form 4.2", True),
        ("marketing_email", "withdrawn", "2026-01-03", "test", None, True),
    ]


def permitted(warehouse: Warehouse) -> dict[tuple[str, str], bool]:
    """privacy.permission as (customer, purpose) -> what was stated."""
    found = {}
    for row in warehouse.rows("select * from privacy.permission"):
        stated = {(row["customer_id"], code): row[code] for code in CODES if row[code] is not None}
        assert stated  # who stated nothing has no row
        found.update(stated)
    return found


def test_the_ready_table_is_always_what_was_stated_last(
    warehouse: Warehouse, add_raw: Callable[..., int]
) -> None:
    """Loads, corrections, deletions and changes of owners in any order, against a count of our own."""
    chance = random.Random(5)
    owner: dict[int, str] = {}
    stated: dict[str, tuple[int, str, bool, int]] = {}
    for n in range(8):
        warehouse.execute(
            "insert into identity.identifier (kind, value, first_seen, last_seen, identifier_id)"
            " values ('account', :v, '2026-01-01', '2026-01-01', :n)",
            v=f"a{n}",
            n=n,
        )
    for step in range(120):
        act = chance.choice(("state", "state", "state", "own", "own", "change", "delete"))
        some = chance.choice(sorted(stated)) if stated else None
        if act == "state":
            who, purpose = chance.randrange(8), chance.choice(CODES)
            granted, day = chance.random() < 0.6, chance.randrange(1, 5)
            stated[f"s{step}"] = (who, purpose, granted, day)
            moment = {"occurred_at": datetime(2026, 1, day, tzinfo=UTC), "business_date": date(2026, 1, day)}
            row = {"consent_id": f"s{step}", "account_id": f"a{who}", "purpose": purpose, "granted": granted}
            add_raw("consent_event", [{**row, **moment}])
        elif act == "own":
            who, customer = chance.randrange(8), chance.choice(("ann", "bob", "cat"))
            owner[who] = customer
            warehouse.execute("delete from identity.assignment where identifier_id = :n", n=who)
            warehouse.execute(
                "insert into identity.assignment values (:n, 1, :c, '2026-01-01')", n=who, c=customer
            )
        elif act == "change" and some:
            who, purpose, granted, day = stated[some]
            stated[some] = (who, purpose, not granted, day)
            warehouse.execute(
                "update raw.consent_event set granted = not granted where consent_id = :s", s=some
            )
        elif act == "delete" and some:
            del stated[some]
            warehouse.execute("delete from raw.consent_event where consent_id = :s", s=some)
        latest: dict[tuple[str, str], tuple[int, bool]] = {}
        for who, purpose, granted, day in stated.values():
            if who in owner:
                key = (owner[who], purpose)
                # The later day, and of one day the withdrawal.
                latest[key] = max(latest.get(key, (0, True)), (day, granted), key=lambda s: (s[0], not s[1]))
        assert permitted(warehouse) == {key: granted for key, (_, granted) in latest.items()}, (step, act)
    warehouse.execute("truncate identity.assignment")
    assert permitted(warehouse) == {}


def test_consent_that_is_too_old_and_deleted_counts_no_more(
    warehouse: Warehouse, consent: Consent, settings: Any
) -> None:
    consent("ann", day=1)
    kept = settings.privacy.model_copy(update={"retention": {"raw.consent_event": 30}})
    retain(settings.model_copy(update={"privacy": kept}), date(2026, 3, 1))
    assert permitted(warehouse) == {}


@pytest.fixture
def shown(warehouse: Warehouse, night: Callable[..., str], consent: Consent) -> None:
    """ann allows everything, bob nothing that needs consent; both have everything a night gives."""
    people = ("ann", "bob")
    inferred = {"age_band_inferred": "25-34", "churn_probability": 0.5, "next_category": "Milk"}
    night(
        1,
        customer_profile=[
            {"customer_id": c, "segment_id": 1, "segment_name": "s", **inferred} for c in people
        ],
        segment=[{"customer_id": c, "segment_id": 1, "segment_name": "s"} for c in people],
        search_interest=[{"customer_id": c, "query": "tea"} for c in people],
        recommendation=[
            {"customer_id": c, "kind": kind, "rank": rank, "sku": f"own{rank}", "because_kind": "again"}
            for c in people
            for kind in ("new", "again")
            for rank in (1, 2, 3)
        ],
        popular=[{"rank": 1, "sku": "top1", "score": 0.5}, {"rank": 2, "sku": "top2", "score": 0.25}],
        customer_tag=[{"customer_id": c, "tag": t} for c in people for t in (*CODES, "service", "dear")],
        tag_definition=[
            *({"tag": t, "purpose": t, "price_limited": False} for t in (*CODES, "service")),
            {"tag": "dear", "purpose": "service", "price_limited": True},
        ],
    )
    for purpose in CODES:
        consent("ann", purpose)


def offers(warehouse: Warehouse, customer: str) -> list[tuple[Any, ...]]:
    rows = warehouse.rows(
        "select kind, rank, sku, model_version, because_kind from profile.recommendation"
        " where customer_id = :c order by kind, rank",
        c=customer,
    )
    return [tuple(r.values()) for r in rows]


@pytest.mark.usefixtures("shown")
def test_without_consent_what_is_popular_from_the_moment_of_the_withdrawal(
    warehouse: Warehouse, consent: Consent
) -> None:
    popular = [("new", 1, "top1", "popular", "no_consent"), ("new", 2, "top2", "popular", "no_consent")]
    personal = [(kind, n, f"own{n}", None, "again") for kind in ("again", "new") for n in (1, 2, 3)]
    assert (offers(warehouse, "ann"), offers(warehouse, "bob")) == (personal, popular)
    assert ids(warehouse, "select customer_id from profile.search_interest") == ["ann"]
    consent("ann", PERSONAL, granted=False, day=2)
    assert offers(warehouse, "ann") == popular
    assert ids(warehouse, "select customer_id from profile.search_interest") == []
    consent("ann", PERSONAL, day=3)
    assert offers(warehouse, "ann") == personal


@pytest.mark.usefixtures("shown")
def test_a_retailer_with_another_basis_shows_them_until_somebody_says_no(
    warehouse: Warehouse, consent: Consent
) -> None:
    assert warehouse.scalar("select privacy.require_consent('{profiling_inference}')") == [
        *("ad_audience", "marketing_email", "marketing_sms", PERSONAL)
    ]
    assert offers(warehouse, "bob")[0][2] == "own1"
    consent("bob", PERSONAL, granted=False)
    assert offers(warehouse, "bob")[0][2] == "top1"
    with pytest.raises(DBAPIError, match="there is no purpose 'personal'"):
        warehouse.execute("select privacy.require_consent('{personal}')")


@pytest.mark.usefixtures("shown")
def test_inferences_and_segments_are_those_that_are_allowed(warehouse: Warehouse, consent: Consent) -> None:
    columns = "age_band_inferred, churn_probability, next_category, segment_name"

    def row(customer: str, place: str = "profile.customer_profile") -> tuple[Any, ...]:
        return tuple(
            warehouse.rows(f"select {columns} from {place} where customer_id = '{customer}'")[0].values()
        )

    assert row("ann") == ("25-34", 0.5, "Milk", "s")
    assert row("bob") == (None, None, None, "s")
    consent("ann", PROFILING, granted=False, day=2)
    consent("bob", ANALYTICS, granted=False)
    for place in ("profile.customer_profile", "profile.as_of('2026-03-01')", "profile.served_customer"):
        assert row("ann", place) == (None, None, None, "s")
        assert row("bob", place) == (None, None, None, None)
    assert ids(warehouse, "select customer_id from profile.segment") == ["ann"]
    assert ids(warehouse, "select customer_id from profile.served_customer where in_statistics") == ["ann"]


@pytest.mark.usefixtures("shown")
def test_a_tag_is_shown_to_its_purpose(warehouse: Warehouse, consent: Consent) -> None:
    def tags(customer: str, place: str = "customer_tag") -> set[str]:
        rows = warehouse.rows(f"select tag from profile.{place} where customer_id = '{customer}'")
        return {r["tag"] for r in rows}

    assert tags("ann") == {*CODES, "service", "dear"}
    assert tags("bob") == {ANALYTICS, "service", "dear"}
    for purpose in CODES:
        consent("ann", purpose, granted=False, day=2)
        assert purpose not in tags("ann")
    assert tags("ann") == {"service", "dear"}
    assert tags("ann", "served_tag") == {"service"}


@pytest.mark.usefixtures("shown")
def test_who_withdraws_leaves_audiences_and_lists_at_once(warehouse: Warehouse, consent: Consent) -> None:
    for code, purpose in (("offers", "marketing_email"), ("advice", "service")):
        warehouse.execute(
            "insert into audience.definition values (:c, :c, :c, 'true', :p, 'email', 'crm', 0, null, null, 'csv', true,"
            " '2026-03-01')",
            c=code,
            p=purpose,
        )
        warehouse.execute(
            "insert into audience.membership select :c, unnest(array['ann', 'bob']), '2026-03-01', null, false",
            c=code,
        )
    members = "select customer_id from audience.member where audience = 'offers'"
    assert ids(warehouse, members) == ["ann"]
    assert ids(warehouse, "select customer_id from audience.member where audience = 'advice'") == [
        "ann",
        "bob",
    ]
    assert ids(warehouse, "select customer_id from mart_marketing.contactable") == ["ann"]
    consent("ann", granted=False, day=2)
    assert ids(warehouse, members) == []
    assert ids(warehouse, "select customer_id from mart_marketing.contactable where email") == []
    assert ids(warehouse, "select customer_id from mart_marketing.contactable where sms") == ["ann"]


def test_who_objects_to_analytics_is_not_counted(
    warehouse: Warehouse, night: Callable[..., str], consent: Consent
) -> None:
    people = [f"c{n}" for n in range(6)]
    expected = {
        "home_store": "s1",
        "lifecycle": "active",
        "expected_orders_90d": 9.0,
        "expected_spend_90d": 9.0,
    }
    night(
        1,
        customer_profile=[
            {"customer_id": c, "spending_tier": "mid", "p_alive": 1.0, **expected} for c in people
        ],
        affinity=[
            {"customer_id": c, "dimension": d, "value": v, "score": 1.0}
            for c in people
            for d, v in (("category", "Milk"), ("brand", "Alp"), ("brand", "Oak"))
        ],
        repurchase=[{"customer_id": c, "category": "Milk", "is_due": True} for c in people],
    )

    def counts() -> list[int | None]:
        marts = {"expected_demand": "customers", "substitution": "customers", "store_customers": "customers",
                 "repurchase_demand": "customers_due"}  # fmt: skip
        return [warehouse.scalar(f"select max({n}) from mart_inventory.{mart}") for mart, n in marts.items()]

    assert counts() == [6, 6, 6, 6]
    consent("c0", ANALYTICS, granted=False)
    assert counts() == [5, 5, 5, 5]
    consent("c1", ANALYTICS, granted=False)
    assert counts() == [None] * 4  # four are too few


@pytest.mark.usefixtures("shown")
def test_a_condition_that_tells_what_it_sees_is_told_nothing_that_is_hidden(warehouse: Warehouse) -> None:
    """A reader may write functions of their own; a barrier keeps them from rows that a view leaves out."""
    with warehouse.begin() as connection:
        connection.execute(text("set local role portrait_reader"))
        connection.exec_driver_sql("create temp table told (said text)")
        connection.exec_driver_sql(
            "create function pg_temp.tell(said text) returns boolean language plpgsql cost 0.0001 as"
            " $$ begin insert into told values (said); return true; end $$"
        )
        for view, column in (("profile.customer_tag", "tag"), ("profile.search_interest", "query"),
                             ("profile.segment", "segment_name"), ("mart_marketing.campaign", "lifecycle")):  # fmt: skip
            connection.exec_driver_sql(
                f"select * from {view} where pg_temp.tell(customer_id || ':' || coalesce({column}, ''))"
            ).fetchall()
        told = set(connection.execute(text("select said from told")).scalars())
    assert "ann:tea" in told
    assert {s for s in told if s.startswith("bob:")} == {"bob:analytics", "bob:service", "bob:dear", "bob:s"}


def test_one_customer_is_looked_up_by_index(warehouse: Warehouse, night: Callable[..., str]) -> None:
    """A consent that is joined must not make a look-up read a table."""
    run = night(1, popular=[{"rank": 1, "sku": "top"}], tag_definition=[{"tag": "t", "purpose": PROFILING}])
    suffix = run.replace("-", "").replace(".", "_")
    warehouse.execute(
        f"insert into profile_store.customer_profile (run_id, customer_id) select '{run}', 'c' || n from generate_series(1, 20000) n"
    )
    warehouse.execute(
        f"insert into profile_store.recommendation (run_id, customer_id, kind, rank) select '{run}', 'c' || n, 'new', 1 from generate_series(1, 20000) n"
    )
    warehouse.execute(
        f"insert into profile_store.customer_tag (run_id, customer_id, tag) select '{run}', 'c' || n, 't' from generate_series(1, 20000) n"
    )
    warehouse.execute(
        "insert into privacy.permission (customer_id) select 'c' || n from generate_series(1, 20000) n"
    )
    tables = ("customer_profile", "recommendation", "customer_tag")
    for table in tables:
        warehouse.execute(f"create index on profile_store.{table}_{suffix} (customer_id)")
        warehouse.execute(f"analyze profile_store.{table}")
    warehouse.execute("analyze privacy.permission")
    for view in (*tables, "served_customer", "served_tag"):
        plan = "\n".join(
            str(*r.values())
            for r in warehouse.rows(f"explain select * from profile.{view} where customer_id = 'c77'")
        )
        scanned = [line for line in plan.splitlines() if "Seq Scan" in line]
        allowed = ("published_run", "purpose", "popular_", "tag_definition_")
        assert all(any(small in line for small in allowed) for line in scanned), plan
        assert "permission_pkey" in plan, plan
