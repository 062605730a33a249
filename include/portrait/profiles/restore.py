"""Archived nights: which there are, and one brought back to be read."""

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from sqlalchemy import Connection, text

from portrait.config import Settings
from portrait.errors import PortraitError
from portrait.ingest.suppression import read_suppression
from portrait.profiles.archive_files import Manifest, archive_dir, check_files, read_manifest
from portrait.profiles.erased import remove_erased
from portrait.profiles.history import stored_runs
from portrait.profiles.load import fill
from portrait.profiles.partitions import LOADING, attach, drop, lock_pointer, when_free
from portrait.profiles.tables import TABLES, ProfileTable
from portrait.warehouse import Warehouse, open_warehouse

log = logging.getLogger(__name__)

_PATIENCE_S = 60.0


@dataclass(frozen=True)
class Archived:
    """One archive: `rows` and `octets` as it was written; `restored_at` while its night is in the database again."""

    run_id: str
    as_of: date
    path: str
    rows: int
    octets: int
    archived_at: datetime
    restored_at: datetime | None


def archived_nights(settings: Settings) -> list[Archived]:
    """All archives, the oldest night first."""
    rows = open_warehouse(settings).rows(
        "select run_id, as_of, path, rows, octets, archived_at, restored_at from ops.archive order by as_of, run_id"
    )
    return [Archived(**row) for row in rows]


def restore(settings: Settings, run_id: str) -> dict[str, int]:
    """Make an archived night's tables partitions again, for `profile.as_of` and `portrait diff`; gives their rows.

    Such a night cannot be loaded, published or rolled back to. It is dropped again by the night that is published
    `restored_days` later; its archive stays.

    Raises
    ------
    PortraitError : when there is no such archive, a file of it is missing or damaged, or the night is there.
    TablesBusy : when the partitions could not be attached for a minute.
    """
    warehouse = open_warehouse(settings)
    manifest = _manifest(settings, warehouse, run_id)
    folder = archive_dir(settings, run_id)
    check_files(folder, manifest)
    with warehouse.begin() as guard:
        guard.execute(text("select pg_advisory_xact_lock(hashtext(:n))"), {"n": f"profiles {run_id}"})
        with warehouse.begin() as connection:
            if run_id in stored_runs(connection):
                raise PortraitError(f"run {run_id} is in the database: there is nothing to restore")
            drop(connection, run_id, LOADING)
            drop(connection, run_id)
        rows = {t.name: fill(warehouse, t, run_id, _rows(folder, manifest, t)) for t in TABLES.values()}
        when_free(warehouse, lambda c: _attach(c, settings, warehouse, run_id), _PATIENCE_S)
    log.info("run %s: %d rows restored", run_id, sum(rows.values()))
    return rows


def _manifest(settings: Settings, warehouse: Warehouse, run_id: str) -> Manifest:
    archived = warehouse.rows("select run_id from ops.archive order by as_of, run_id")
    if run_id not in [a["run_id"] for a in archived]:
        known = ", ".join(a["run_id"] for a in archived) or "none"
        raise PortraitError(f"there is no archive of run '{run_id}'; archived runs: {known}")
    return read_manifest(archive_dir(settings, run_id))


def _attach(connection: Connection, settings: Settings, warehouse: Warehouse, run_id: str) -> None:
    lock_pointer(connection)
    remove_erased(connection, read_suppression(settings, warehouse), run_id, LOADING)
    attach(connection, run_id, LOADING)
    connection.execute(text("update ops.archive set restored_at = now() where run_id = :r"), {"r": run_id})


def _rows(folder: Path, manifest: Manifest, table: ProfileTable) -> pa.RecordBatchReader | None:
    """The archived rows of a table, in the columns it had then; None where it had none."""
    files = [folder / part.path for part in manifest.tables.get(table.name, ())]
    if not files:
        return None
    schema = pq.read_schema(files[0])
    gone = set(schema.names) - set(table.columns)
    if gone:
        raise PortraitError(
            f"{files[0]}: has columns {', '.join(sorted(gone))} that {table.name} has no more;"
            " read the file itself (it is Parquet)"
        )

    def batches() -> Iterator[pa.RecordBatch]:
        for file in files:
            yield from pq.ParquetFile(file).iter_batches(batch_size=65_536)

    return pa.RecordBatchReader.from_batches(schema.remove_metadata(), batches())
