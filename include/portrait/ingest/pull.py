"""Pulling one source for one business date."""

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import date, timedelta
from typing import Any

from sqlalchemy import text

from portrait.config import Settings, SourceSpec
from portrait.errors import SourceUnavailable
from portrait.ingest.hashing import hashing, keys_stay
from portrait.ingest.load import Loaded, Loader
from portrait.ingest.record import (
    keep_contacts,
    keep_details,
    note_columns,
    note_files,
    note_mark,
    quarantine,
)
from portrait.ingest.suppression import read_suppression
from portrait.ingest.unread import Unread, find_unread, spec_digest
from portrait.ingest.validate import Tally, Validator
from portrait.sources import connector
from portrait.sources.delivery import business_day_end
from portrait.warehouse import Transaction, Warehouse, open_warehouse
from portrait.warehouse.grants import LOADER
from portrait.warehouse.partitions import analyze_changed

log = logging.getLogger(__name__)
ANALYZE_FROM = 10_000
_PACKED, _PACKED_NAMES = 6, (".gz", ".zst", ".parquet")


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
    rows_outdated: int = 0
    rows_duplicate: int = 0
    rows_rejected: int = 0
    rows_not_due: int = 0
    rows_skipped: int = 0
    rows_suppressed: int = 0
    seconds: float = 0.0

    @property
    def sentence(self) -> str:
        """What became of the rows, in words."""
        return (
            f"{self.rows_read} rows read, {self.rows_inserted} inserted, {self.rows_updated} updated, "
            f"{self.rows_unchanged} unchanged, {self.rows_outdated} outdated, {self.rows_duplicate} duplicate, "
            f"{self.rows_rejected} refused, {self.rows_not_due} not due, {self.rows_skipped} skipped"
            + (f", {self.rows_suppressed} of erased customers" if self.rows_suppressed else "")
        )

    def as_dict(self) -> dict[str, Any]:
        return {**asdict(self), "business_date": self.business_date.isoformat()}


def pull(settings: Settings, source_name: str, as_of: date, since: date | None = None) -> PullResult:
    """Load what a source has delivered up to a business date and that is not loaded yet.

    Pulling again changes nothing; a pull that was killed leaves no trace but a failed ops.batch row.

    Parameters
    ----------
    since : also read again what was delivered, or changed in a database, from this business date on.

    Raises
    ------
    PortraitError : on a missing or unreadable file, a mapping that does not fit it, or when more than
        `max_rejected_share` of the rows are refused. Nothing of the batch is loaded then.
    SourceUnavailable : when a database or API does not answer, or a daily file is not there yet.
    """
    started = time.monotonic()
    settings = settings.acting_as(LOADER)
    source = settings.sources.source(source_name)
    warehouse = open_warehouse(settings)
    with one_at_a_time(warehouse, source.name):
        mark = _mark(settings, warehouse, source, since)
        origin = connector(settings, source)
        try:
            deliveries = origin.pending(as_of, mark)
        except SourceUnavailable as error:  # the alert about a late source quotes it
            _close_failed(warehouse, _open_batch(warehouse, source, as_of), error)
            raise
        unread = find_unread(warehouse, source, deliveries, as_of, since)
        if not unread.files and not unread.again:
            log.info("%s: nothing new up to %s", source.name, as_of)
            return PullResult(source.name, as_of, None, 0)
        validator = Validator(settings, source, unread.files, as_of, origin)

        def record(transaction: Transaction, batch_id: int) -> None:
            validator.refuse_mostly_bad()
            _count_again(unread, validator.tally)
            files, read = [*unread.files, *unread.again_files], [f.name for f in unread.files]
            digest = spec_digest(source)
            note_files(transaction, source, files, validator.tally, batch_id, unread.digests, digest)
            quarantine(transaction, source, validator.rejected, batch_id, read)
            note_columns(transaction, source, validator.tally, batch_id)
            note_mark(transaction, source, validator.tally, batch_id)

        result = load_batch(warehouse, source, as_of, validator, record)
        result = replace(result, files=result.files + len(unread.again))
    result = replace(result, seconds=round(time.monotonic() - started, 2))
    log.info("%s: %d files, %s in %.1f s", source.name, result.files, result.sentence, result.seconds)
    return result


def load_batch(
    warehouse: Warehouse,
    source: SourceSpec,
    as_of: date,
    validator: Validator,
    record: Callable[[Transaction, int], None],
) -> PullResult:
    """Load what a validator reads as one batch, all there or not there.

    The caller holds the source's lock (`one_at_a_time`). `record` writes, in the same transaction, what the batch
    leaves besides its rows.
    """
    batch_id = _open_batch(warehouse, source, as_of)
    try:
        # Only now: an erasure waits for batches that were open before it.
        validator.suppression = read_suppression(validator.settings, warehouse)
        if validator.hasher is not None:
            validator.hasher = hashing(validator.settings, warehouse)
        with warehouse.transaction() as transaction:
            size = sum(f.size * (_PACKED if f.name.endswith(_PACKED_NAMES) else 1) for f in validator.files)
            loaded = Loader(warehouse, transaction, source, batch_id, size).load(validator.accepted())
            keep_contacts(transaction, validator.contacts)
            keep_details(transaction, source, validator.details)
            record(transaction, batch_id)
            counts = _counts(validator.tally, loaded)
            transaction.execute(
                f"update ops.batch set status = 'loaded', {', '.join(f'{c} = :{c}' for c in counts)}, "
                "finished_at = clock_timestamp() where batch_id = :batch",
                batch=batch_id,
                **counts,
            )
    except Exception as error:
        _close_failed(warehouse, batch_id, error)
        raise
    finally:
        validator.close()
    if loaded.inserted + loaded.updated >= ANALYZE_FROM:
        analyze_changed(warehouse, source.entity, batch_id)
    return PullResult(source.name, as_of, batch_id, len(validator.files), **counts)


def _count_again(unread: Unread, tally: Tally) -> None:
    """The rows of files that need not be read, as unchanged."""
    for name, rows in unread.again.items():
        tally.read += rows
        tally.loaded += rows
        tally.per_file[name] = rows


def _counts(tally: Tally, loaded: Loaded) -> dict[str, int]:
    loaded = replace(loaded, unchanged=loaded.unchanged + tally.loaded)
    return {
        "rows_read": tally.read,
        **{f"rows_{name}": count for name, count in asdict(loaded).items()},
        "rows_rejected": tally.rejected_total,
        "rows_not_due": tally.not_due.total(),
        "rows_skipped": tally.skipped,
        "rows_suppressed": tally.suppressed,
    }


@contextmanager
def one_at_a_time(warehouse: Warehouse, source: str) -> Iterator[None]:
    """Hold the source's lock; it goes with the connection, also when the process is killed."""
    with warehouse.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.detach()  # closed at the end, not kept for others
        connection.execute(text("select pg_advisory_lock(hashtext(:n))"), {"n": f"pull {source}"})
        connection.execute(
            text(
                "update ops.batch set status = 'failed', error = 'interrupted', finished_at = now() "
                "where source = :s and status = 'loading'"
            ),
            {"s": source},
        )
        # No rotation of the keys changes what is stored meanwhile.
        with keys_stay(warehouse):
            yield


def _mark(settings: Settings, warehouse: Warehouse, source: SourceSpec, since: date | None) -> int | None:
    """The watermark from which a database or API is read on."""
    if source.watermark is None:
        return None
    if since is not None and source.watermark.type == "timestamp":
        start = business_day_end(settings, source, since - timedelta(days=1))
        return int(start.timestamp()) * 1_000_000
    reached = warehouse.scalar("select mark from ops.source_state where source = :s", s=source.name)
    return None if reached is None or since is not None else int(reached)


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


def _close_failed(warehouse: Warehouse, batch_id: int, error: Exception) -> None:
    warehouse.execute(
        "update ops.batch set status = 'failed', error = :e, finished_at = now() where batch_id = :b",
        e=str(error)[:2000],
        b=batch_id,
    )
