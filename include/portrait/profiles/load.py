"""Bringing a run's Parquet tables into the warehouse, where no reader looks."""

import logging
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from psycopg2.errors import UniqueViolation
from sqlalchemy import Connection, text
from sqlalchemy.exc import IntegrityError

from portrait.config import Settings
from portrait.errors import PortraitError
from portrait.profiles.history import published_run, refuse_restored
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

AT_ONCE = 2
"""Tables that are filled at the same time: while one is copied, another is indexed."""

_PATIENCE_S = 60.0


@dataclass(frozen=True)
class LoadResult:
    """Rows written to each profile table."""

    run_id: str
    rows: dict[str, int]


_NO_AUTOVACUUM = "autovacuum_enabled = false, toast.autovacuum_enabled = false"
"""Written once and vacuumed here. An autovacuum of a large table held its lock for minutes against `attach`, which asks for
150 ms at a time: too short to make an autovacuum give way (deadlock_timeout, 1 s)."""


def load(settings: Settings, run: Run) -> LoadResult:
    """Fill, index and attach the run's own partitions.

    Each table is filled as a standalone one and attached only when all are complete, in one transaction.
    Loading again starts from nothing, whatever an earlier attempt left behind, and touches no other run. The
    tables of a run that is published meanwhile stay as they are: the new ones wait for `publish`.

    An earlier audit of the run no longer counts.

    Raises
    ------
    PortraitError : when `build` has not finished for this run, or it was restored from its archive.
    TablesBusy : when the partitions could not be exchanged for a minute.
    """
    missing = [str(t.file(settings, run)) for t in TABLES.values() if not t.file(settings, run).is_file()]
    if missing:
        raise PortraitError(f"{missing[0]}: no such file; run `portrait profile` for {run.as_of} first")
    warehouse = open_warehouse(settings)
    with warehouse.begin() as guard:
        refuse_restored(guard, run.run_id)
        # A task that was given up may still be at work: the second one waits for its end.
        guard.execute(text("select pg_advisory_xact_lock(hashtext(:n))"), {"n": f"profiles {run.run_id}"})
        with warehouse.begin() as connection:
            drop(connection, run.run_id, LOADING)
            drop(connection, run.run_id, WAITING)
            connection.execute(
                text("delete from ops.data_quality where run_id = :r and table_name = any(:t)"),
                {"r": run.run_id, "t": list(TABLES)},
            )
        rows = _fill_all(warehouse, settings, run)
        with warehouse.begin() as connection:
            record(connection, settings, run)
        when_free(warehouse, lambda connection: _finish(connection, run), _PATIENCE_S)
    return LoadResult(run.run_id, rows)


def _fill_all(warehouse: Warehouse, settings: Settings, run: Run) -> dict[str, int]:
    """Rows of each table, in the order of `TABLES`; the largest is begun first."""
    files = {t.name: t.file(settings, run) for t in TABLES.values()}
    largest = sorted(TABLES.values(), key=lambda t: files[t.name].stat().st_size, reverse=True)
    with ThreadPoolExecutor(AT_ONCE) as filling:
        filled = {
            t.name: filling.submit(
                fill, warehouse, t, run.run_id, record_batches(files[t.name], list(t.columns))
            )
            for t in largest
        }
        try:
            return {name: filled[name].result() for name in TABLES}
        except BaseException:
            filling.shutdown(cancel_futures=True)
            raise


def _finish(connection: Connection, run: Run) -> None:
    lock_pointer(connection)
    if published_run(connection) == run.run_id:
        rename(connection, run.run_id, LOADING, WAITING)
    else:
        attach(connection, run.run_id, LOADING)


def fill(warehouse: Warehouse, table: ProfileTable, run_id: str, rows: pa.RecordBatchReader | None) -> int:
    """One standalone table of a run, named as being loaded: create, copy, index, analyse; gives its rows.

    Parameters
    ----------
    rows : columns of the table but `run_id`; what is missing is null. None: no rows.
    """
    name, started = partition(table.name, run_id, LOADING), time.monotonic()
    with warehouse.begin() as connection:
        connection.execute(
            text(
                f"create table profile_store.{name} (like profile_store.{table.name} including constraints)"
                f" with ({_NO_AUTOVACUUM})"
            )
        )
        connection.execute(
            text(
                f"alter table profile_store.{name} alter column run_id set default :r,"
                " add constraint of_this_run check (run_id is not null and run_id = :r)"
            ),
            {"r": run_id},
        )
        if table is EMBEDDING:
            # COPY from Arrow knows arrays but no vectors.
            connection.execute(text(f"alter table profile_store.{name} alter column embedding type real[]"))
    number = 0 if rows is None else warehouse.copy_in("profile_store", name, rows)
    copied = time.monotonic()
    if table is EMBEDDING:
        warehouse.execute(
            f"alter table profile_store.{name} alter column embedding type vector using embedding::vector"
        )
        # The rewritten table has a store of its own for long values.
        warehouse.execute(f"alter table profile_store.{name} set ({_NO_AUTOVACUUM})")
    _key(warehouse, table, name)
    for columns in table.indexes:
        warehouse.execute(f"create index on profile_store.{name} ({', '.join(columns)})")
    if table is EMBEDDING:
        _neighbour_index(warehouse, name, number)
    with warehouse.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text(f"vacuum (analyze) profile_store.{name}"))
    log.info(
        "%s: %d rows copied in %.1f s, indexed in %.1f s",
        name,
        number,
        copied - started,
        time.monotonic() - copied,
    )
    return number


def record_batches(path: Path, columns: list[str]) -> pa.RecordBatchReader:
    """The rows of a table's file without run_id, which is the table's default, a batch at a time."""
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
