"""Pulling one source for one business date."""

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import date
from typing import Any

import pyarrow as pa
from sqlalchemy import Connection, text

from portrait.config import Settings, SourceSpec
from portrait.ingest.load import create_staging, drop_staging, merge, quarantine, staged_dates
from portrait.ingest.mapping import key_has_date
from portrait.ingest.validate import Tally, Validator
from portrait.sources import Delivery, connector
from portrait.warehouse import Warehouse, open_warehouse

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class PullResult:
    """What a pull did; `batch_id` is None when there was nothing new to read."""

    source: str
    business_date: date
    batch_id: int | None
    files: int
    rows_read: int = 0
    rows_inserted: int = 0
    rows_updated: int = 0
    rows_unchanged: int = 0
    rows_duplicate: int = 0
    rows_rejected: int = 0
    rows_not_due: int = 0
    rows_skipped: int = 0
    seconds: float = 0.0

    def as_dict(self) -> dict[str, Any]:
        return {**asdict(self), "business_date": self.business_date.isoformat()}


def pull(settings: Settings, source_name: str, as_of: date) -> PullResult:
    """Load what a source has delivered up to a business date and that is not loaded yet.

    Pulling again changes nothing; a pull that was killed leaves no trace but a failed ops.batch row.

    Raises
    ------
    PortraitError : on a missing or unreadable file, a mapping that does not fit it, or when more than
        `max_rejected_share` of the rows are refused. Nothing of the batch is loaded then.
    """
    started = time.monotonic()
    source = settings.sources.source(source_name)
    warehouse = open_warehouse(settings)
    with _one_at_a_time(warehouse, source.name):
        files = _unread(warehouse, source, connector(settings, source).pending(as_of), as_of)
        if not files:
            log.info("%s: nothing new up to %s", source.name, as_of)
            return PullResult(source.name, as_of, None, 0)
        batch_id = _open_batch(warehouse, source, as_of)
        try:
            result = _load(settings, warehouse, source, files, as_of, batch_id)
        except Exception as error:
            _close_failed(warehouse, source, batch_id, error)
            raise
    result = PullResult(**{**asdict(result), "seconds": round(time.monotonic() - started, 2)})
    log.info(
        "%s: %d files, %d rows read, %d inserted, %d updated, %d rejected in %.1f s",
        source.name, result.files, result.rows_read, result.rows_inserted, result.rows_updated,
        result.rows_rejected, result.seconds,
    )  # fmt: skip
    return result


def _load(
    settings: Settings,
    warehouse: Warehouse,
    source: SourceSpec,
    files: list[Delivery],
    as_of: date,
    batch_id: int,
) -> PullResult:
    table = _staging_table(source)
    with warehouse.begin() as connection:
        create_staging(connection, source.entity, table)
    validator = Validator(settings, source, files, as_of)
    _copy(warehouse, validator, table)
    tally = validator.tally
    validator.refuse_mostly_bad()
    if validator.rejected:
        warehouse.copy_in("staging", f"{table}_rejected", pa.concat_tables(validator.rejected))
    dates = staged_dates(warehouse, table)
    with warehouse.begin() as connection:
        merged = merge(
            connection,
            source.entity,
            source.name,
            table,
            batch_id,
            tally.accepted,
            dates,
            key_has_date(source),
        )
        merged = replace(merged, unchanged=merged.unchanged + tally.loaded)
        quarantine(connection, source.name, table, batch_id)
        _note_files(connection, source, files, tally, batch_id)
        connection.execute(
            text(
                "update ops.batch set status = 'loaded', rows_read = :read, rows_inserted = :inserted, "
                "rows_updated = :updated, rows_unchanged = :unchanged, rows_duplicate = :duplicate, "
                "rows_rejected = :rejected, rows_not_due = :not_due, rows_skipped = :skipped, "
                "finished_at = clock_timestamp() where batch_id = :batch"
            ),
            {
                **asdict(merged),
                "read": tally.read,
                "rejected": tally.rejected_total,
                "not_due": tally.not_due.total(),
                "skipped": tally.skipped,
                "batch": batch_id,
            },
        )
        drop_staging(connection, table)
    with warehouse.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text(f"analyze raw.{source.entity}"))
    return PullResult(
        source.name,
        as_of,
        batch_id,
        len(files),
        rows_read=tally.read,
        rows_inserted=merged.inserted,
        rows_updated=merged.updated,
        rows_unchanged=merged.unchanged,
        rows_duplicate=merged.duplicate,
        rows_rejected=tally.rejected_total,
        rows_not_due=tally.not_due.total(),
        rows_skipped=tally.skipped,
    )


def _copy(warehouse: Warehouse, validator: Validator, table: str) -> None:
    """Stream the accepted rows to staging; an error of the files is raised as it was, not as COPY's."""
    problem: list[Exception] = []

    def stream() -> Iterator[pa.RecordBatch]:
        try:
            yield from validator.accepted()
        except Exception as error:
            problem.append(error)
            raise

    try:
        reader = pa.RecordBatchReader.from_batches(validator.schema, stream())
        warehouse.copy_in("staging", table, reader)
    except Exception:
        if problem:
            raise problem[0] from None
        raise


@contextmanager
def _one_at_a_time(warehouse: Warehouse, source: str) -> Iterator[None]:
    """Hold the source's lock; it goes with the connection, also when the process is killed."""
    with warehouse.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("select pg_advisory_lock(hashtext(:n))"), {"n": f"pull {source}"})
        connection.execute(
            text(
                "update ops.batch set status = 'failed', error = 'interrupted', finished_at = now() "
                "where source = :s and status = 'loading'"
            ),
            {"s": source},
        )
        yield


def _unread(warehouse: Warehouse, source: SourceSpec, files: list[Delivery], as_of: date) -> list[Delivery]:
    """Files that are new, were written again, or held rows that were not due at the time."""
    known = {
        r["path"]: r
        for r in warehouse.rows(
            "select f.path, f.fingerprint, f.rows_not_due, b.business_date "
            "from ops.batch_file f join ops.batch b using (batch_id) where f.source = :s",
            s=source.name,
        )
    }

    unread = []
    for file in files:
        seen = known.get(file.name)
        if seen is None or seen["fingerprint"] != file.fingerprint:
            unread.append(file)
        elif seen["rows_not_due"] and seen["business_date"] < as_of:
            # Its other rows are loaded; a later file may have corrected them since.
            unread.append(replace(file, loaded_through=seen["business_date"]))
    return unread


def _staging_table(source: SourceSpec) -> str:
    return f"pull_{source.name}"


def _open_batch(warehouse: Warehouse, source: SourceSpec, as_of: date) -> int:
    return int(
        warehouse.scalar(
            "insert into ops.batch (source, entity, business_date, status) values (:s, :e, :d, 'loading') "
            "returning batch_id",
            s=source.name,
            e=source.entity,
            d=as_of,
        )
    )


def _close_failed(warehouse: Warehouse, source: SourceSpec, batch_id: int, error: Exception) -> None:
    with warehouse.begin() as connection:
        drop_staging(connection, _staging_table(source))
        connection.execute(
            text(
                "update ops.batch set status = 'failed', error = :e, finished_at = now() where batch_id = :b"
            ),
            {"e": str(error)[:2000], "b": batch_id},
        )


def _note_files(
    connection: Connection, source: SourceSpec, files: list[Delivery], tally: Tally, batch_id: int
) -> None:
    connection.execute(
        text(
            "insert into ops.batch_file "
            "values (:source, :path, :size, :fingerprint, :batch, :read, :not_due) "
            "on conflict (source, path) do update set size_bytes = excluded.size_bytes, "
            "fingerprint = excluded.fingerprint, batch_id = excluded.batch_id, "
            "rows_read = excluded.rows_read, rows_not_due = excluded.rows_not_due"
        ),
        [
            {
                "source": source.name,
                "path": f.name,
                "size": f.size,
                "fingerprint": f.fingerprint,
                "batch": batch_id,
                "read": tally.per_file[f.name],
                "not_due": tally.not_due[f.name],
            }
            for f in files
        ],
    )
