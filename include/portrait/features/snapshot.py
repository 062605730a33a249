"""Copying what changed in `raw.*` to the Parquet lake, which is a cache: any run can make it anew."""

import logging
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import date
from typing import Any

import pyarrow as pa
from sqlalchemy import text

from portrait.config import Settings
from portrait.errors import PortraitError
from portrait.features.codes import MADE_WITH
from portrait.features.lake import LAKE_TABLES, LakeTable, Manifest, Totals
from portrait.features.split import Written, write_by_date, write_file
from portrait.run import Run
from portrait.warehouse import Warehouse, open_warehouse

log = logging.getLogger(__name__)

FORMAT = 2
"""Of the lake's files; another one has the lake made anew."""

LOCK = 7_203_120
"""Advisory lock: one snapshot at a time."""


@dataclass(frozen=True)
class SnapshotResult:
    """What a snapshot did.

    Attributes
    ----------
    partitions : files written, a business date each, and whole tables.
    removed : files of business dates that `raw` no longer has.
    rows : rows written.
    lake_rows : rows of the whole lake afterwards.
    """

    partitions: int
    removed: int
    rows: int
    lake_rows: int

    def as_dict(self) -> dict[str, int]:
        return asdict(self)


def snapshot(settings: Settings, run: Run, rebuild: bool = False) -> SnapshotResult:
    """Bring the lake up to date with `raw.*`.

    Everything is read in one repeatable-read transaction, so that the tables of the lake fit each other. A
    file is written beside the old one and renamed; the manifest is written last, so that a killed snapshot is
    simply made again.

    Parameters
    ----------
    rebuild : copy everything, also what did not change.

    Raises
    ------
    PortraitError : when a file's control totals are not those of Postgres.
    """
    started = time.monotonic()
    warehouse = open_warehouse(settings)
    folder = settings.lake_dir
    folder.mkdir(parents=True, exist_ok=True)
    done = (0, 0, 0)
    with warehouse.begin() as guard:
        guard.execute(text("select pg_advisory_xact_lock(:k)"), {"k": LOCK})
        made_with = f"{FORMAT}, {MADE_WITH}, {settings.sources.timezone}"
        manifest = Manifest.read(folder)
        if rebuild or manifest.made_with != made_with:
            manifest = Manifest(folder / "manifest.json", made_with)
        with _one_view(warehouse) as view:
            for name in LAKE_TABLES:
                table = LakeTable(folder, name)
                copy = _copy_partitions if table.partitioned else _copy_whole
                counts = copy(view, table, manifest, settings.sources.timezone)
                done = (done[0] + counts[0], done[1] + counts[1], done[2] + counts[2])
        manifest.write()
    lake_rows = sum(f.rows for files in manifest.files.values() for f in files.values())
    result = SnapshotResult(*done, lake_rows)
    log.info("%s: snapshot %s in %.1f s", run.run_id, result.as_dict(), time.monotonic() - started)
    return result


class _View:
    """Queries that all see the database at one moment."""

    def __init__(self, cursor: Any) -> None:
        self._cursor = cursor

    def stream(self, sql: str) -> pa.RecordBatchReader:
        self._cursor.execute(sql)
        return self._cursor.fetch_record_batch()

    def rows(self, sql: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.stream(sql).read_all().to_pylist()
        return found


@contextmanager
def _one_view(warehouse: Warehouse) -> Iterator[_View]:
    with warehouse.arrow() as (_, cursor):
        cursor.execute("set transaction isolation level repeatable read")
        cursor.execute("set local timezone = 'UTC'")
        cursor.execute("set local work_mem = '256MB'")
        yield _View(cursor)


def _copy_partitions(
    view: _View, table: LakeTable, manifest: Manifest, timezone: str
) -> tuple[int, int, int]:
    """Rewrite the business dates that changed; gives files written, files removed, rows written."""
    known = manifest.files.get(table.name)
    where = "true"
    changed: set[date] = set()
    if known is not None:
        changed = _changed_dates(view, table.name, manifest.last_batch_id[table.name])
        changed |= {date.fromisoformat(d) for d in known} - table.dates()
        where = f"business_date = any('{{{', '.join(str(d) for d in sorted(changed))}}}'::date[])"
    settled = _settled_batch(view, table.name)
    expected: dict[date, Totals] = {}
    if known is None or changed:
        counted = view.rows(
            f"select business_date, {table.totals} from raw.{table.name} where {where} group by 1 order by 1"
        )
        expected = {r.pop("business_date"): Totals(**r) for r in counted}
    written: dict[date, Written] = {}
    if expected:
        stream = view.stream(
            f"select {table.select(timezone)} from raw.{table.name} where {where} order by business_date"
        )
        written = write_by_date(stream, table)
    _compare(table, written, expected)
    vanished = (table.dates() if known is None else changed & table.dates()) - set(expected)
    for day in vanished:
        shutil.rmtree(table.file(day).parent)
    files = {d: f for d, f in (known or {}).items() if date.fromisoformat(d) not in changed}
    manifest.files[table.name] = files | {str(d): w.file for d, w in written.items()}
    manifest.last_batch_id[table.name] = settled
    return len(written), len(vanished), sum(w.totals.rows for w in written.values())


def _copy_whole(view: _View, table: LakeTable, manifest: Manifest, timezone: str) -> tuple[int, int, int]:
    """Rewrite the table's one file when any newer batch was loaded."""
    last = manifest.last_batch_id.get(table.name, -1)
    newest = view.rows(
        "select coalesce(max(batch_id), 0) as batch_id from ops.batch "
        f"where entity = '{table.name}' and status = 'loaded'"
    )[0]["batch_id"]
    if newest <= last and table.file().is_file():
        return 0, 0, 0
    settled = _settled_batch(view, table.name)
    counted = view.rows(f"select {table.totals} from raw.{table.name}")[0]
    stream = view.stream(
        f"select {table.select(timezone)} from raw.{table.name} order by source, source_row_id"
    )
    written = write_file(table.file(), table, stream)
    _compare(table, {"all": written}, {"all": Totals(**{k: v or 0 for k, v in counted.items()})})
    manifest.files[table.name] = {"all": written.file}
    manifest.last_batch_id[table.name] = settled
    return 1, 0, written.totals.rows


def _changed_dates(view: _View, entity: str, last_batch_id: int) -> set[date]:
    rows = view.rows(
        f"select distinct business_date from ops.batch_partition "
        f"where entity = '{entity}' and batch_id > {last_batch_id}"
    )
    return {r["business_date"] for r in rows}


def _settled_batch(view: _View, entity: str) -> int:
    """The last batch before any that is still loading: what comes later is looked at again next time."""
    row = view.rows(
        "select coalesce(min(batch_id) filter (where status = 'loading') - 1, max(batch_id), 0) as batch_id "
        f"from ops.batch where entity = '{entity}'"
    )[0]
    return int(row["batch_id"])


def _compare(table: LakeTable, written: Mapping[Any, Written], expected: Mapping[Any, Totals]) -> None:
    for part in sorted({*written, *expected}):
        file, wanted = written.get(part), expected.get(part, Totals())
        found = file.totals if file else Totals()
        if found != wanted or (file and file.file.rows != wanted.rows):
            raise PortraitError(
                f"{table.path}: {part}: {found} written, Postgres has {wanted}; run `portrait features --rebuild`"
            )
