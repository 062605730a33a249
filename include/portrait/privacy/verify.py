"""Proving an erasure: every table, every file and a dump are read for what must not be there."""

import json
import logging
import shutil
import subprocess
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from portrait.config import Settings
from portrait.errors import PortraitError
from portrait.ingest.seal import seal_of
from portrait.ingest.suppression import list_forms, read_suppression
from portrait.ingest.validate import SEALED_DETAIL, SEALED_ROW
from portrait.privacy.airflow import airflow_database, airflow_logs
from portrait.privacy.customer import subject_of
from portrait.privacy.traces import Tracer
from portrait.warehouse import Warehouse, open_warehouse
from portrait.warehouse.server import psql_path

log = logging.getLogger(__name__)

_NAMES = (
    "account",
    "card",
    "phone",
    "email",
    "device",
    "customer",
    "member",
    "payment",
    "value",
    "row_id",
    "subject",
)
_TEXT = (".json", ".csv", ".txt", ".log", ".yaml", ".jsonl", ".html")
_SEALED = {
    "pii.contact": "select kind, sealed from pii.contact",
    "pii.member_detail": f"select '{SEALED_DETAIL}' as kind, sealed from pii.member_detail",
    "pii.rejected_payload": f"select '{SEALED_ROW}' as kind, sealed from pii.rejected_payload",
}


@dataclass
class Report:
    """What was read and what was found: `traces` counts by place and kind."""

    tables: int = 0
    rows: int = 0
    files: int = 0
    traces: Counter[tuple[str, str]] = field(default_factory=Counter)

    @property
    def clean(self) -> bool:
        return not self.traces


def verify(
    settings: Settings, receipt_id: int | None = None, customer: str | None = None, dump: bool = True
) -> Report:
    """Look for erased customers: those of a receipt, one customer, or all of the suppression list.

    Identifiers are recognised in clear, as stored, and as the lake's numbers, also inside sealed payloads. An id of a
    few digits counts only in a field that is named for identifiers.

    Parameters
    ----------
    dump : also read a `pg_dump` of the whole database.

    Raises
    ------
    PortraitError : when there is nobody to look for.
    """
    warehouse = open_warehouse(settings)
    suppression = read_suppression(settings, warehouse, receipt_id)
    if customer is not None:
        kind, value = subject_of(settings, customer)
        if not read_suppression(settings, warehouse).holds(kind, value):
            raise PortraitError("this customer was not erased: there is nothing to verify")
        receipt = warehouse.scalar(
            "select receipt_id from privacy.suppression where hash = any(:h) and kind = :k",
            h=list_forms(settings, value),
            k=kind,
        )
        suppression = read_suppression(settings, warehouse, receipt)
    if not suppression:
        raise PortraitError("nobody was erased under this receipt: there is nothing to verify")
    scan = _Scan(settings, warehouse, Tracer(settings, suppression))
    scan.tables()
    scan.sealed()
    scan.files()
    scan.airflow()
    if dump:
        scan.dump()
    return scan.report


class _Scan:
    def __init__(self, settings: Settings, warehouse: Warehouse, tracer: Tracer) -> None:
        self.settings, self.warehouse, self.tracer, self.report = settings, warehouse, tracer, Report()

    def tables(self) -> None:
        """Every table of every schema, text by text."""
        self._tables(self.warehouse, "")

    def airflow(self) -> None:
        """Airflow's database, whose fields are not meant for identifiers, and logs outside the workspace."""
        database = airflow_database(self.settings)
        if database is not None:
            self._tables(database, "airflow: ")
        for path in airflow_logs(self.settings):
            if not path.is_relative_to(self.settings.workspace_dir):
                self.report.files += 1
                for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
                    self._look(f"airflow: {path.name}", "", line)

    def _tables(self, warehouse: Warehouse, prefix: str) -> None:
        listed = warehouse.rows(
            """
            select n.nspname as schema, c.relname as name,
                   array_agg(a.attname::text order by attnum) as columns
            from pg_class as c join pg_namespace as n on n.oid = c.relnamespace
            join pg_attribute as a on a.attrelid = c.oid and attnum > 0 and not attisdropped
            join pg_type as t on t.oid = a.atttypid
            where c.relkind = 'r' and n.nspname !~ '^pg_' and n.nspname <> 'information_schema'
              and (n.nspname, c.relname) <> ('privacy', 'suppression')
              and (t.typcategory in ('S', 'A') or t.typname in ('json', 'jsonb'))
            group by 1, 2 order by 1, 2
            """
        )
        for table in listed:
            place = f"{prefix}{table['schema']}.{table['name']}"
            columns = ", ".join(f'"{c}"::text' for c in table["columns"])
            sql = f'select {columns} from "{table["schema"]}"."{table["name"]}"'
            with warehouse.arrow_reader(sql) as batches:
                for batch in batches:
                    self.report.rows += batch.num_rows
                    for name, values in zip(table["columns"], batch.columns, strict=True):
                        self._look_at_all(f"{place}.{name}", "" if prefix else name, values)
            self.report.tables += 1

    def _look_at_all(self, place: str, name: str, values: pa.Array) -> None:
        """A column: each distinct value is looked at once, and counts as often as it is there."""
        counted = pc.value_counts(values)
        named = any(n in name for n in _NAMES)
        distinct = counted.field("values").to_pylist()
        for number, value in enumerate(distinct):
            if value:
                for kind, _ in self.tracer.find(value, named):
                    self.report.traces[place, kind] += counted.field("counts")[number].as_py()

    def sealed(self) -> None:
        seal = seal_of(self.settings)
        for place, sql in _SEALED.items():
            for row in self.warehouse.rows(sql):
                self._look(place, "value", seal.open(bytes(row["sealed"]), row["kind"]))

    def files(self) -> None:
        """The workspace, but for what sources delivered."""
        for path in sorted(p for p in self.settings.workspace_dir.rglob("*") if p.is_file()):
            place = path.relative_to(self.settings.workspace_dir)
            if place.parts[0] == self.settings.simulated_dir.name:
                continue
            self.report.files += 1
            if path.suffix == ".parquet":
                self._parquet(path, str(place))
            elif path.suffix == ".npy":
                self._array(path, str(place))
            elif path.suffix == ".duckdb":
                self._duckdb(path, str(place))
            elif path.suffix in _TEXT:
                for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
                    self._look(str(place), "value", line)

    def dump(self) -> None:
        # The package's own is the newest there is, and reads older servers, too.
        own = psql_path().with_name("pg_dump")
        found = str(own) if own.is_file() else shutil.which("pg_dump")
        if found is None:
            raise PortraitError("pg_dump is not on the PATH; install it, or verify with --no-dump")
        command = [found, "--dbname", self.warehouse.libpq_uri, "--exclude-table-data", "privacy.suppression"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, errors="replace") as running:
            assert running.stdout is not None
            self._dump_lines(running.stdout)
        if running.returncode:
            raise PortraitError(f"pg_dump ended with {running.returncode}; its message is above")

    def _dump_lines(self, lines: Iterable[str]) -> None:
        columns: list[str] | None = None
        for line in lines:
            if columns is None:
                if line.startswith("COPY "):
                    columns = line[line.index("(") + 1 : line.rindex(")")].replace('"', "").split(", ")
                else:
                    self._look("pg_dump", "", line)
            elif line == "\\.\n":
                columns = None
            else:
                for name, value in zip(columns, line.rstrip("\n").split("\t"), strict=False):
                    self._look("pg_dump", name, value)

    def _look(self, place: str, name: str, value: str) -> None:
        named = any(n in name for n in _NAMES)
        for kind, _ in self.tracer.find(value, named):
            self.report.traces[place, kind] += 1

    def _parquet(self, path: Path, place: str) -> None:
        for batch in pq.ParquetFile(path).iter_batches():
            self.report.rows += batch.num_rows
            for column in batch.schema:
                values = pc.unique(batch[column.name]) if not pa.types.is_nested(column.type) else None
                if values is None:
                    continue
                if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
                    for value in values.drop_null().to_pylist():
                        self._look(place, column.name, value)
                elif column.type == pa.int64() and (column.name == "code" or column.name.endswith("_code")):
                    for code in values.drop_null().to_pylist():
                        if self.tracer.code(code):
                            self.report.traces[place, "code"] += 1

    def _array(self, path: Path, place: str) -> None:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
        if array.dtype.kind in "SU":
            for value in array.tolist():
                self._look(place, "customer_id", value.decode() if isinstance(value, bytes) else value)

    def _duckdb(self, path: Path, place: str) -> None:
        import duckdb

        with duckdb.connect(str(path), read_only=True) as engine:
            for (table,) in engine.execute("select table_name from duckdb_tables()").fetchall():
                for row in engine.execute(f'select * from "{table}"').fetchall():
                    for value in row:
                        if isinstance(value, str):
                            self._look(f"{place} {table}", "value", value)


def as_lines(report: Report) -> Iterator[str]:
    """The report for people."""
    yield f"{report.tables} tables, {report.rows} rows, {report.files} files read"
    for (place, kind), number in sorted(report.traces.items()):
        yield f"{place}: {number} x {kind}"
    yield json.dumps({"clean": report.clean})
