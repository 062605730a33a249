"""A look at the published night, for the end of `make run`."""

from typing import Any

from sqlalchemy import Connection, text

from portrait.config import Settings
from portrait.errors import PortraitError
from portrait.profiles.tables import TABLES
from portrait.warehouse import open_warehouse

KEY_COLUMNS = (
    "customer_id",
    "channels",
    "gender",
    "age_band",
    "region",
    "city",
    "member_level",
    "home_store",
    "tenure_days",
    "recency_days",
    "frequency",
    "monetary",
    "average_basket",
    "value_type",
    "lifecycle",
    "spending_tier",
    "favourite_category",
    "favourite_brand",
    "segment_name",
)
CHANNELS = ("both", "store", "online")
TOP_CATEGORIES = 3
TOP_PRODUCTS = 5


def summary(settings: Settings) -> dict[str, Any]:
    """The published run, the size of its tables, and three customers to look at.

    Returns
    -------
    run_id : str
    as_of : date
    rows : table -> rows, for the six profile tables.
    customers : one dict each for a both-channel, a store and an online buyer (fewer where there is none): of
        each kind the one with the most events and purchases behind their affinities. Holds `profile` (the key
        columns), `categories` (value, score, evidence; the strongest first), `new` and `again` (product
        names, or skus where a name is missing; the best first).

    Raises
    ------
    PortraitError : when nothing is published yet.
    """
    engine = open_warehouse(settings).engine.execution_options(isolation_level="REPEATABLE READ")
    with engine.begin() as connection:
        run = connection.execute(
            text("select run_id, as_of from ops.run where run_id = (select run_id from ops.published_run)")
        ).one_or_none()
        if run is None:
            raise PortraitError("nothing is published yet: run the nightly workflow (`make run`) first")
        rows = {t: connection.execute(text(f"select count(*) from profile.{t}")).scalar_one() for t in TABLES}
        chosen = [c for channel in CHANNELS if (c := _busiest_buyer(connection, channel)) is not None]
        customers = [_customer(connection, customer_id) for customer_id in chosen]
    return {"run_id": run.run_id, "as_of": run.as_of, "rows": rows, "customers": customers}


def _busiest_buyer(connection: Connection, channel: str) -> str | None:
    found: str | None = connection.execute(
        text(
            """
            select p.customer_id
            from profile.customer_profile p
            left join profile.affinity a using (customer_id)
            where p.channels = :channel and p.frequency > 0
            group by p.customer_id
            order by coalesce(sum(a.evidence), 0) desc, max(p.frequency) desc, p.customer_id
            limit 1
            """
        ),
        {"channel": channel},
    ).scalar()
    return found


def _customer(connection: Connection, customer_id: str) -> dict[str, Any]:
    profile = connection.execute(
        text(f"select {', '.join(KEY_COLUMNS)} from profile.customer_profile where customer_id = :c"),
        {"c": customer_id},
    )
    categories = connection.execute(
        text(
            "select value, score, evidence from profile.affinity"
            " where customer_id = :c and dimension = 'category' order by rank, value limit :n"
        ),
        {"c": customer_id, "n": TOP_CATEGORIES},
    )
    return {
        "profile": dict(profile.mappings().one()),
        "categories": [dict(r) for r in categories.mappings()],
        "new": _products(connection, customer_id, "new"),
        "again": _products(connection, customer_id, "again"),
    }


def _products(connection: Connection, customer_id: str, kind: str) -> list[str]:
    rows = connection.execute(
        text(
            "select coalesce(product_name, sku) from profile.recommendation"
            " where customer_id = :c and kind = :k order by rank limit :n"
        ),
        {"c": customer_id, "k": kind, "n": TOP_PRODUCTS},
    )
    return list(rows.scalars())
