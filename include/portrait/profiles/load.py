"""Bringing a run's Parquet tables into the warehouse, where no reader looks."""

import logging
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from psycopg2.errors import UniqueViolation
from sqlalchemy import Connection, text
from sqlalchemy.exc import IntegrityError

from portrait.config import Settings
from portrait.errors import PortraitError
from portrait.profiles.history import published_run
from portrait.profiles.nightly_record import record
from portrait.profiles.partitions import (
    LOADING,
    WAITING,
    attach,
    drop,
    lock_pointer,
    partition,
    rename,
    when_free,
)
from portrait.profiles.tables import EMBEDDING, TABLES, ProfileTable
from portrait.run import Run
from portrait.warehouse import Warehouse, open_warehouse

log = logging.getLogger(__name__)

HNSW_ROWS = 200_000
"""Above it the nearest-neighbour index costs more than the night has."""

HNSW_DIMENSIONS = 2_000
"""What pgvector can index."""

_PATIENCE_S = 60.0


@dataclass(frozen=True)
class LoadResult:
    """Rows written to each profile table."""

    run_id: str
    rows: dict[str, int]


def load(settings: Settings, run: Run) -> LoadResult:
    """Fill, index and attach the run's own partitions.

    Each table is filled as a standalone one and attached only when all are complete, in one transaction.
    Loading again starts from nothing, whatever an earlier attempt left behind, and touches no other run. The
    tables of a run that is published meanwhile stay as they are: the new ones wait for `publish`.

    An earlier audit of the run no longer counts.

    Raises
    ------
    PortraitError : when `build` has not finished for this run.
    TablesBusy : when the partitions could not be exchanged for a minute.
    """
    missing = [str(t.file(settings, run)) for t in TABLES.values() if not t.file(settings, run).is_file()]
    if missing:
        raise PortraitError(f"{missing[0]}: no such file; run `portrait profile` for {run.as_of} first")
    warehouse = open_warehouse(settings)
    with warehouse.begin() as guard:
        # A task that was given up may still be at work: the second one waits for its end.
        guard.execute(text("select pg_advisory_xact_lock(hashtext(:n))"), {"n": f"profiles {run.run_id}"})
        with warehouse.begin() as connection:
            drop(connection, run.run_id, LOADING)
            drop(connection, run.run_id, WAITING)
            connection.execute(
                text("delete from ops.data_quality where run_id = :r and table_name = any(:t)"),
                {"r": run.run_id, "t": list(TABLES)},
            )
        rows = {t.name: _fill(warehouse, t, run, t.file(settings, run)) for t in TABLES.values()}
        with warehouse.begin() as connection:
            record(connection, settings, run)
        when_free(warehouse, lambda connection: _finish(connection, run), _PATIENCE_S)
    return LoadResult(run.run_id, rows)


def _finish(connection: Connection, run: Run) -> None:
    lock_pointer(connection)
    if published_run(connection) == run.run_id:
        rename(connection, run.run_id, LOADING, WAITING)
    else:
        attach(connection, run.run_id, LOADING)


def _fill(warehouse: Warehouse, table: ProfileTable, run: Run, path: Path) -> int:
    """One standalone table: create, copy, index, analyse."""
    name, started = partition(table.name, run.run_id, LOADING), time.monotonic()
    with warehouse.begin() as connection:
        connection.execute(
            text(f"create table profile_store.{name} (like profile_store.{table.name} including constraints)")
        )
        connection.execute(
            text(
                f"alter table profile_store.{name} alter column run_id set default :r,"
                " add constraint of_this_run check (run_id is not null and run_id = :r)"
            ),
            {"r": run.run_id},
        )
        if table is EMBEDDING:
            # COPY from Arrow knows arrays but no vectors.
            connection.execute(text(f"alter table profile_store.{name} alter column embedding type real[]"))
    rows = warehouse.copy_in("profile_store", name, _record_batches(path, list(table.columns)))
    copied = time.monotonic()
    if table is EMBEDDING:
        warehouse.execute(
            f"alter table profile_store.{name} alter column embedding type vector using embedding::vector"
        )
    _key(warehouse, table, name)
    for columns in table.indexes:
        warehouse.execute(f"create index on profile_store.{name} ({', '.join(columns)})")
    if table is EMBEDDING:
        _neighbour_index(warehouse, name, rows)
    warehouse.execute(f"analyze profile_store.{name}")
    log.info(
        "%s: %d rows copied in %.1f s, indexed in %.1f s",
        name,
        rows,
        copied - started,
        time.monotonic() - copied,
    )
    return rows


def _record_batches(path: Path, columns: list[str]) -> pa.RecordBatchReader:
    """The file's rows without run_id, which is the table's default, a batch at a time."""
    file = pq.ParquetFile(path)
    schema = pa.schema([file.schema_arrow.field(c) for c in columns])

    def batches() -> Iterator[pa.RecordBatch]:
        for batch in file.iter_batches(batch_size=65_536, columns=columns):
            yield batch.select(columns).cast(schema)

    return pa.RecordBatchReader.from_batches(schema, batches())


def _key(warehouse: Warehouse, table: ProfileTable, name: str) -> None:
    """The primary key; a plain index where keys repeat, so that `audit` can count and report them."""
    key = ", ".join(table.key)
    try:
        warehouse.execute(f"alter table profile_store.{name} add primary key ({key})")
    except IntegrityError as error:
        if not isinstance(error.orig, UniqueViolation):
            raise
        log.error("%s: %s", name, str(error.orig).strip().replace("\n", " "))
        warehouse.execute(f"create index on profile_store.{name} ({key})")


def _neighbour_index(warehouse: Warehouse, name: str, rows: int) -> None:
    """HNSW for `<=>` (cosine distance), on the vectors cast to their dimensions."""
    dimensions = warehouse.scalar(f"select max(vector_dims(embedding)) from profile_store.{name}") or 0
    if 0 < rows <= HNSW_ROWS and dimensions <= HNSW_DIMENSIONS:
        vector = f"(embedding::vector({dimensions})) vector_cosine_ops"
        warehouse.execute(f"create index on profile_store.{name} using hnsw ({vector})")
