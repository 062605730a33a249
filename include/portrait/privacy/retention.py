"""Deleting rows that are older than `privacy.yaml` lets them be."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import partial
from zoneinfo import ZoneInfo

from sqlalchemy import Connection, text

from portrait.config import Settings
from portrait.config.privacy import RETAINED
from portrait.privacy.noted import end_batches, noted_batch
from portrait.profiles.partitions import when_free
from portrait.warehouse import Warehouse, open_warehouse

log = logging.getLogger(__name__)

AT_A_TIME = 5_000
"""Rows a transaction: each is short, and pulls and readers go in between."""
_HEAVY = {"audience.export_log": 1}
"""Tables whose rows take many others with them: an export, its customers."""
_PATIENCE_S = 60.0
_LOCK = 7_203_131
SOURCE = "retention"
"""Source of the batches by which a night learns that days of `raw` changed."""


@dataclass(frozen=True)
class Retained:
    """What became of one table.

    Attributes
    ----------
    kept_from : first date, in the retailer's time zone, whose rows were kept.
    """

    place: str
    kept_from: date
    rows_deleted: int
    batches: int


def retain(settings: Settings, today: date | None = None, at_a_time: int = AT_A_TIME) -> list[Retained]:
    """Delete what is too old, table by table, and write each in `privacy.retention_log`.

    Days of `raw` from which something was deleted are noted as changed, so that the next night copies them to the lake
    again. One that is broken off goes on with the next; two at once wait for each other.

    Parameters
    ----------
    today : the day whose rows are 0 days old; today in the retailer's time zone unless given.
    at_a_time : most rows of a transaction.
    """
    today = today or datetime.now(ZoneInfo(settings.sources.timezone)).date()
    warehouse = open_warehouse(settings)
    done = []
    with warehouse.begin() as guard:
        guard.execute(text("select pg_advisory_xact_lock(:k)"), {"k": _LOCK})
        for place, days in settings.privacy.retention.items():
            started, kept_from = datetime.now(UTC), today - timedelta(days=days)
            with _noted(warehouse, place, kept_from) as batch_id:
                limit = min(at_a_time, _HEAVY.get(place, at_a_time))
                rows, batches = _delete(settings, warehouse, place, kept_from, batch_id, limit)
            if rows and place == "raw.consent_event":
                # Its triggers see what is deleted through the table, not what is deleted from a month of it.
                warehouse.execute("select privacy.refresh_permission()")
            done.append(Retained(place, kept_from, rows, batches))
            warehouse.execute(
                "insert into privacy.retention_log (place, days, kept_from, rows_deleted, batches, started_at) "
                "values (:p, :d, :f, :n, :b, :s)",
                p=place, d=days, f=kept_from, n=rows, b=batches, s=started,
            )  # fmt: skip
            log.info("%s: %d rows before %s deleted", place, rows, kept_from)
    return done


def _delete(
    settings: Settings,
    warehouse: Warehouse,
    place: str,
    kept_from: date,
    batch_id: int | None,
    at_a_time: int,
) -> tuple[int, int]:
    """Rows deleted, and in how many transactions."""
    if place.startswith("raw.") and batch_id is None:
        return 0, 0
    old = f"{RETAINED[place]} < cast(:f as date)"
    if place.split(".")[0] != "raw" and RETAINED[place] not in ("as_of", "left_on"):
        old = f"{RETAINED[place]} < cast(:f as timestamp) at time zone :z"
    values = {"f": kept_from, "z": settings.sources.timezone}
    # A ctid is unique within a partition only.
    leaves = [
        r["leaf"]
        for r in warehouse.rows(
            f"select distinct tableoid::regclass::text as leaf from {place} where {old} order by 1", **values
        )
    ]
    rows = batches = 0
    for leaf in leaves:
        while True:
            work = partial(_some, leaf=leaf, old=old, values={**values, "n": at_a_time}, batch_id=batch_id)
            gone = when_free(warehouse, work, _PATIENCE_S)
            if not gone:
                break
            rows, batches = rows + gone, batches + 1
    return rows, batches


def _some(
    connection: Connection, leaf: str, old: str, values: dict[str, object], batch_id: int | None
) -> int:
    delete = f"delete from {leaf} where ctid = any(array(select ctid from {leaf} where {old} limit :n))"
    if batch_id is None:
        return int(connection.execute(text(delete), values).rowcount)
    return int(
        connection.execute(
            text(
                f"with gone as ({delete} returning business_date), noted as ("
                "  insert into ops.batch_partition (batch_id, entity, business_date, rows_changed)"
                "  select batch.batch_id, batch.entity, gone.business_date, count(*) from gone, ops.batch as batch"
                "  where batch.batch_id = :b group by 1, 2, 3"
                "  on conflict (batch_id, entity, business_date) do update"
                "  set rows_changed = batch_partition.rows_changed + excluded.rows_changed)"
                " select count(*) from gone"
            ),
            {**values, "b": batch_id},
        ).scalar_one()
    )


@contextmanager
def _noted(warehouse: Warehouse, place: str, kept_from: date) -> Iterator[int | None]:
    """The batch to which changed days of a raw table belong; None for other tables, and where nothing is old."""
    schema, entity = place.split(".")
    if schema != "raw":
        yield None
        return
    end_batches(warehouse, SOURCE, entity)
    if not warehouse.scalar(f"select exists (select from {place} where business_date < :f)", f=kept_from):
        yield None
        return
    with noted_batch(warehouse, SOURCE, entity, kept_from) as batch_id:
        yield batch_id
