"""Judging a loaded run before anybody sees it."""

import logging
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import pyarrow.parquet as pq
from sqlalchemy import Connection, text

from portrait.config import Settings
from portrait.errors import PortraitError
from portrait.profiles.drift import measure_drift
from portrait.profiles.history import last_night
from portrait.profiles.partitions import partition, standing
from portrait.profiles.tables import CUSTOMER_PROFILE, CUSTOMER_TAG, EMBEDDING, TABLES, ProfileTable
from portrait.run import Run
from portrait.warehouse import open_warehouse

log = logging.getLogger(__name__)

LEAST_SHARE_OF_LAST_NIGHT = 0.5

VALID_ROW: dict[str, str] = {
    "customer_profile": (
        "(store_share is null or store_share between 0 and 1) and (age is null or age >= 0)"
        " and frequency >= 0 and monetary >= 0 and refunded >= 0"
    ),
    "rfm": (
        "r_score between 1 and 5 and f_score between 1 and 5 and m_score between 1 and 5"
        " and recency_days >= 0 and frequency >= 1"
    ),
    "affinity": "score between 0 and 1.000001 and rank >= 1 and evidence >= 0",
    "segment": "segment_id >= 1 and segment_name is not null and distance >= 0 and distance < 'infinity'",
    "embedding": "vector_norm(embedding) < 'infinity'",
    "recommendation": (
        "kind in ('new', 'again') and rank >= 1 and sku is not null"
        " and coalesce(because_kind, 'popular') in ('again', 'item', 'category', 'popular', 'no_consent')"
        " and (coalesce(because_kind, 'popular') in ('popular', 'no_consent')) = (because_of is null)"
    ),
    "popular": "rank >= 1 and sku is not null and score between 0 and 1.000001",
    "customer_value": (
        "purchase_days >= 1 and coalesce(p_alive, 0) between 0 and 1 and coalesce(expected_orders_90d, 0) >= 0"
        " and coalesce(clv_12m, 0) >= 0 and coalesce(clv_12m_low, 0) <= coalesce(clv_12m_high, 0)"
        " and coalesce(clv_12m, 0) < 'infinity'"
    ),
    "repurchase": "purchase_days >= 1 and interval_days > 0 and due_on > last_on and is_due is not null",
    "search_interest": "rank >= 1 and searches >= 1 and score between 0 and 1.000001",
    "customer_tag": "value is not null and reason is not null",
    "tag_definition": "expression is not null and version >= 1 and price_limited is not null",
}
"""What must be true of every row; unknown (null) is not true."""


@dataclass(frozen=True)
class Check:
    """One row of ops.data_quality."""

    check_name: str
    table_name: str
    value: float
    expected: str
    passed: bool


def audit(settings: Settings, run: Run) -> list[Check]:
    """Check the run's loaded tables; record every check in ops.data_quality and the drift in ops.profile_drift.

    Raises
    ------
    PortraitError : naming the checks that failed, after all of them were recorded; or when the run is not
        loaded. The pointer stays where it is.
    """
    warehouse = open_warehouse(settings)
    with warehouse.begin() as connection:
        state = standing(connection, run.run_id)
        if state is None:
            raise PortraitError(
                f"run {run.run_id} is not loaded (or was interrupted while loading): load it again"
            )
        before = last_night(connection, run)
        checks = [
            check
            for table in TABLES.values()
            for check in _checks(connection, settings, run, table, state, before)
        ]
        connection.execute(
            text("delete from ops.data_quality where run_id = :r and table_name = any(:t)"),
            {"r": run.run_id, "t": list(TABLES)},
        )
        connection.execute(
            text(
                "insert into ops.data_quality (run_id, check_name, table_name, value, expected, passed)"
                " values (:run_id, :check_name, :table_name, :value, :expected, :passed)"
            ),
            [{"run_id": run.run_id, **asdict(c)} for c in checks],
        )
        measure_drift(connection, run, state, before)
    failed = [c for c in checks if not c.passed]
    if failed:
        named = "; ".join(
            f"{c.check_name} in {c.table_name} (found {c.value:g}, expected {c.expected})" for c in failed
        )
        raise PortraitError(
            f"run {run.run_id} failed its audit and is not published: {named}; see ops.data_quality"
        )
    log.info("run %s: %d checks passed", run.run_id, len(checks))
    return checks


def _checks(
    connection: Connection, settings: Settings, run: Run, table: ProfileTable, state: str, before: str | None
) -> Iterator[Check]:
    name = f"profile_store.{partition(table.name, run.run_id, state)}"
    found = _measure(connection, table, name, run)
    computed = pq.read_metadata(table.file(settings, run)).num_rows

    def none(check_name: str, value: int) -> Check:
        return Check(check_name, table.name, value, "= 0", value == 0)

    rows = found["rows"]
    yield Check("rows_as_computed", table.name, rows, f"= {computed}", rows == computed)
    yield none("duplicate_keys", _duplicate_keys(connection, table, name, rows))
    yield none("invalid_rows", found["invalid"])
    if table.dates:
        yield none("dated_after_as_of", found["late"])
    if table is CUSTOMER_PROFILE:
        yield Check("not_empty", table.name, rows, "> 0", rows > 0)
        yield none("other_as_of", found["other_as_of"])
    elif table.is_of_customers:
        profile = f"profile_store.{partition(CUSTOMER_PROFILE.name, run.run_id, state)}"
        yield none("unknown_customers", _unknown_customers(connection, name, profile))
    if table is EMBEDDING:
        yield Check("dimensions", table.name, found["dimensions"], "<= 1", found["dimensions"] <= 1)
    last = 0
    # How many customers have a tag is for tags.yaml to say, not for last night.
    if before and table.is_of_customers and table is not CUSTOMER_TAG:
        last = _customers(connection, table, f"profile_store.{partition(table.name, before)}")
    if last:
        share = (rows if table.key == ("customer_id",) else _customers(connection, table, name)) / last
        least = LEAST_SHARE_OF_LAST_NIGHT
        yield Check(
            "customers_to_last_night", table.name, share, f">= {least} of run {before}", share >= least
        )


def _measure(connection: Connection, table: ProfileTable, name: str, run: Run) -> dict[str, Any]:
    """Counts that one scan of the table gives."""
    late = " or ".join(f"{c} > :as_of" for c in table.dates) or "false"
    counts = {
        "rows": "count(*)",
        "invalid": f"count(*) filter (where ({VALID_ROW[table.name]}) is not true)",
        "late": f"count(*) filter (where {late})",
    }
    if table is CUSTOMER_PROFILE:
        counts["other_as_of"] = "count(*) filter (where as_of is distinct from :as_of)"
    if table is EMBEDDING:
        counts["dimensions"] = "count(distinct vector_dims(embedding))"
    wanted = ", ".join(f"{sql} as {column}" for column, sql in counts.items())
    row = connection.execute(text(f"select {wanted} from {name}"), {"as_of": run.as_of}).mappings().one()
    return dict(row)


def _duplicate_keys(connection: Connection, table: ProfileTable, name: str, rows: int) -> int:
    """Rows whose key another row has; a primary key is proof that there are none."""
    unique = connection.execute(
        text("select 1 from pg_index where indrelid = cast(:n as regclass) and indisprimary and indisvalid"),
        {"n": name},
    ).scalar()
    if unique:
        return 0
    key = ", ".join(table.key)
    distinct = connection.execute(
        text(f"select count(*) from (select distinct {key} from {name}) k")
    ).scalar_one()
    return rows - int(distinct)


def _unknown_customers(connection: Connection, name: str, profile: str) -> int:
    known = f"select from {profile} p where p.customer_id = t.customer_id"
    sql = text(f"select count(*) from {name} t where not exists ({known})")
    return int(connection.execute(sql).scalar_one())


def _customers(connection: Connection, table: ProfileTable, name: str) -> int:
    """Customers in the table: how many are served does not depend on the length of their lists."""
    rows = name if table.key == ("customer_id",) else f"(select distinct customer_id from {name}) c"
    return int(connection.execute(text(f"select count(*) from {rows}")).scalar_one())
