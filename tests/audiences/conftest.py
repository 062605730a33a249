"""A published night written straight into the profile tables, and who consented to what."""

from collections.abc import Callable
from datetime import UTC, date, datetime
from typing import Any

import pytest
from portrait.config import Settings
from portrait.config.audiences import Audience, AudiencesFile
from portrait.config.tags import Tag, TagsFile
from portrait.profiles.partitions import partition
from portrait.profiles.tables import TABLES
from portrait.warehouse import Warehouse
from sqlalchemy import text

Rows = list[dict[str, Any]]
Night = Callable[..., str]
WithAudiences = Callable[..., Settings]


@pytest.fixture
def night(warehouse: Warehouse) -> Night:
    """`night(day, customer_profile=[...], customer_tag=[...])` publishes a run of March 2026 and gives its id."""

    def publish(day: int, **tables: Rows) -> str:
        as_of = date(2026, 3, day)
        run_id = f"{as_of}.1"
        tags = sorted({row["tag"] for row in tables.get("customer_tag", [])})
        tables = {"tag_definition": [{"tag": t, "purpose": "service"} for t in tags], **tables}
        with warehouse.begin() as connection:
            connection.execute(
                text(
                    "insert into ops.run (run_id, as_of, run_key, seed, status) values (:r, :d, :r, 0, 'published')"
                ),
                {"r": run_id, "d": as_of},
            )
            for table in TABLES:
                connection.execute(
                    text(
                        f"create table profile_store.{partition(table, run_id)} partition of profile_store.{table}"
                        f" for values in ('{run_id}')"
                    )
                )
                for row in tables.get(table, []):
                    given = {
                        "run_id": run_id,
                        **({"as_of": as_of} if table == "customer_profile" else {}),
                        **row,
                    }
                    names, places = ", ".join(given), ", ".join(f":{c}" for c in given)
                    connection.execute(
                        text(f"insert into profile_store.{table} ({names}) values ({places})"), given
                    )
            connection.execute(
                text("insert into ops.publication (run_id, action) values (:r, 'publish')"), {"r": run_id}
            )
            connection.execute(
                text(
                    "insert into ops.published_run (run_id) values (:r)"
                    " on conflict (singleton) do update set run_id = :r"
                ),
                {"r": run_id},
            )
        return run_id

    return publish


@pytest.fixture
def consent(warehouse: Warehouse, add_raw: Callable[..., int]) -> Callable[..., None]:
    """`consent(customer, purpose, granted, day)`: a statement by the customer's account, which is theirs."""
    known: dict[str, int] = {}
    number = iter(range(10_000))

    def state(customer: str, purpose: str = "marketing_email", granted: bool = True, day: int = 1) -> None:
        if customer not in known:
            known[customer] = len(known) + 1
            warehouse.execute(
                "insert into identity.identifier (kind, value, first_seen, last_seen, identifier_id)"
                " values ('account', :v, '2026-01-01', '2026-01-01', :n)",
                v=f"a-{customer}",
                n=known[customer],
            )
            warehouse.execute(
                "insert into identity.assignment (identifier_id, turn, customer_id, valid_from)"
                " values (:n, 1, :c, '2026-01-01')",
                n=known[customer],
                c=customer,
            )
        add_raw(
            "consent_event",
            [
                {
                    "consent_id": f"s{next(number)}",
                    "account_id": f"a-{customer}",
                    "purpose": purpose,
                    "granted": granted,
                    "occurred_at": datetime(2026, 1, day, tzinfo=UTC),
                    "business_date": date(2026, 1, day),
                }
            ],
        )

    return state


def audience(code: str, where: str, **others: Any) -> Audience:
    """An audience for a service: nobody needs to consent, nobody is held back."""
    given = {"purpose": "service", "channel": "email", "owner": "crm", "control_share": 0.0, **others}
    return Audience.model_validate({"code": code, "name": {"en": code, "zh": code}, "where": where, **given})


@pytest.fixture
def with_audiences(settings: Settings) -> WithAudiences:
    """Settings with these audiences and a tag `big`."""
    words = {"en": "big", "zh": "大"}
    big = Tag(
        code="big", name=words, description=words, type="rule", expression="monetary > 1", owner="o", purpose="service", use="u"
    )  # fmt: skip

    def make(*audiences: Audience, timeout: int = 60) -> Settings:
        file = AudiencesFile(audiences=audiences, statement_timeout_seconds=timeout)
        return settings.model_copy(update={"audiences": file, "tags": TagsFile(tags=(big,))})

    return make


@pytest.fixture
def make_audience() -> Callable[..., Audience]:
    return audience
