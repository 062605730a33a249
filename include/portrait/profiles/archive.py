"""Old nights as Parquet: written whole, counted and summed, before their tables are dropped."""

import logging
import os
import shutil
import time
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import ibis
import pyarrow as pa
import pyarrow.parquet as pq
from sqlalchemy import text

from portrait.config import Settings
from portrait.errors import PortraitError
from portrait.ingest.suppression import Suppression, read_suppression
from portrait.profiles.archive_files import Manifest, Part, archive_dir, archives_dir
from portrait.profiles.erased import remove_erased
from portrait.profiles.partitions import partition
from portrait.profiles.tables import EMBEDDING, TABLES, ProfileTable
from portrait.warehouse import Warehouse

log = logging.getLogger(__name__)

PART_ROWS = 2_000_000
"""Rows of a file: an erasure reads a file at a time."""


def archive(settings: Settings, warehouse: Warehouse, run_id: str, as_of: date) -> Manifest:
    """Write a night's tables to its archive, and note it in `ops.archive`; the tables stay.

    The folder appears whole or not at all, on disk. Customers who are erased meanwhile are not in it: it is written again
    when the list has grown.

    Raises
    ------
    PortraitError : when disk is short, or a file holds other than the table's rows.
    """
    started, folder = time.monotonic(), archive_dir(settings, run_id)
    _require_space(warehouse, archives_dir(settings), run_id)
    while True:
        known = read_suppression(settings, warehouse)
        manifest = _write(warehouse, folder, run_id, as_of, known)
        # Who was put on the list before now finds the tables, who is put on it later the folder as well.
        if not read_suppression(settings, warehouse).hashes.keys() - known.hashes.keys():
            break
        log.info("run %s: customers were erased while it was archived; once more", run_id)
    warehouse.execute(
        "insert into ops.archive (run_id, as_of, path, rows, octets) values (:r, :d, :p, :n, :o)"
        " on conflict (run_id) do update set path = excluded.path, rows = excluded.rows, octets = excluded.octets,"
        " archived_at = now(), restored_at = null",
        r=run_id,
        d=as_of,
        p=str(folder.relative_to(settings.workspace_dir)),
        n=manifest.rows,
        o=manifest.octets,
    )
    log.info(
        "run %s: %d rows archived in %.1f MB, %.1f s",
        run_id,
        manifest.rows,
        manifest.octets / 1e6,
        time.monotonic() - started,
    )
    return manifest


def _require_space(warehouse: Warehouse, archives: Path, run_id: str) -> None:
    names = [f"profile_store.{partition(t, run_id)}" for t in TABLES]
    size = warehouse.scalar(
        "select sum(pg_table_size(cast(n as regclass))) from unnest(cast(:n as text[])) as n", n=names
    )
    archives.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(archives).free
    if free < int(size):
        raise PortraitError(
            f"{archives}: run {run_id} has {int(size) / 1e9:.1f} GB and only {free / 1e9:.1f} GB are free;"
            " make room or keep fewer nights (profiles.yaml), its tables stay until then"
        )


def _write(warehouse: Warehouse, folder: Path, run_id: str, as_of: date, known: Suppression) -> Manifest:
    with warehouse.begin() as connection:
        remove_erased(connection, known, run_id, "")
    working = folder.with_name(f".{run_id}.writing")
    shutil.rmtree(working, ignore_errors=True)
    tables = {}
    for table in TABLES.values():
        (working / table.name).mkdir(parents=True)
        tables[table.name] = tuple(_parts(warehouse, table, run_id, working))
    manifest = Manifest(run_id, as_of, tables)
    manifest.write(working)
    _to_disk(working)
    shutil.rmtree(folder, ignore_errors=True)
    working.rename(folder)
    _sync(folder.parent)
    return manifest


def _parts(warehouse: Warehouse, table: ProfileTable, run_id: str, working: Path) -> Iterator[Part]:
    """Write a table's files, and compare their rows with the table's."""
    name = f"profile_store.{partition(table.name, run_id)}"
    columns = ", ".join(
        "embedding::real[]" if table is EMBEDDING and c == "embedding" else c for c in table.columns
    )
    schema = ibis.schema(table.columns).to_pyarrow()
    rows = 0
    with warehouse.arrow_reader(f"select {columns} from {name}") as reader:
        for number, batches in enumerate(_portions(reader), start=1):
            file = working / table.name / f"part-{number:04d}.parquet"
            with pq.ParquetWriter(file, schema, compression="zstd") as writer:
                for batch in batches:
                    arrays = [
                        column.cast(field.type) for column, field in zip(batch.columns, schema, strict=True)
                    ]
                    writer.write_batch(pa.record_batch(arrays, schema=schema))
            part = Part.of(file, working)
            rows += part.rows
            yield part
    stored = warehouse.scalar(f"select count(*) from {name}")
    if rows != stored:
        raise PortraitError(
            f"{name}: {rows} rows were archived and {stored} are stored; nothing is dropped, try again"
        )


def _portions(reader: pa.RecordBatchReader) -> Iterator[Iterator[pa.RecordBatch]]:
    """The batches in portions of at least `PART_ROWS` rows, each to be read before the next."""
    waiting = next(reader, None)
    while waiting is not None:

        def portion(first: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
            nonlocal waiting
            number, batch = 0, first
            while batch is not None and number < PART_ROWS:
                yield batch
                number += batch.num_rows
                batch = next(reader, None)
            waiting = batch

        yield portion(waiting)


def _to_disk(folder: Path) -> None:
    """What is to replace tables must outlive a loss of power."""
    for path in folder.rglob("*"):
        _sync(path)
    _sync(folder)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def forget_old_archives(settings: Settings, warehouse: Warehouse) -> list[str]:
    """Delete archives of nights older than `archive_days` before the newest published one; gives their runs."""
    rows = warehouse.rows(
        "select run_id from ops.archive where as_of < (select max(as_of) from ops.run where status = 'published') - :d"
        " and restored_at is null order by as_of, run_id",
        d=settings.profiles.archive_days,
    )
    for row in rows:
        with warehouse.begin() as connection:
            connection.execute(text("delete from ops.archive where run_id = :r"), {"r": row["run_id"]})
        shutil.rmtree(archive_dir(settings, row["run_id"]), ignore_errors=True)
    if rows:
        log.info("deleted the archives of %s", ", ".join(r["run_id"] for r in rows))
    return [r["run_id"] for r in rows]
