"""Files into accepted rows (an Arrow stream ready for COPY) and refused rows, each counted once."""

import logging
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from portrait.config import Settings, SourceSpec
from portrait.contracts import CONTRACTS
from portrait.errors import PortraitError
from portrait.ingest.mapping import (
    DELIVERED_FOR,
    FILE,
    LOADED_THROUGH,
    ROW,
    bind,
    check_columns,
    connect,
    mapping_sql,
)
from portrait.ingest.pii import hash_column, pii_key
from portrait.ingest.reasons import sentence
from portrait.sources import Delivery, connector
from portrait.sources.readers import BATCH_ROWS

log = logging.getLogger(__name__)

_ARROW = {
    "text": pa.string(),
    "timestamp": pa.timestamp("us", tz="UTC"),
    "date": pa.date32(),
    "integer": pa.int64(),
    "decimal": pa.decimal128(18, 4),
    "boolean": pa.bool_(),
}

REJECTED = pa.schema(
    [
        ("path", pa.string()),
        ("row_number", pa.int64()),
        ("reason_code", pa.string()),
        ("reason", pa.string()),
        ("payload", pa.string()),
    ]
)


def staged_schema(entity: str) -> pa.Schema:
    """Arrow schema of accepted rows: the stored columns, the key, and the row's place in the batch."""
    contract = CONTRACTS[entity]
    fields = [pa.field(c.stored_as, _ARROW[c.type]) for c in contract.columns if c.name != "business_date"]
    return pa.schema(
        [
            pa.field("source_row_id", pa.string()),
            *fields,
            pa.field("business_date", pa.date32()),
            pa.field("place", pa.int64()),
        ]
    )


@dataclass
class Tally:
    """What became of the rows of a batch so far; `per_file` (rows read) and `not_due` are by path.

    `loaded` counts rows that an earlier reading of the same file loaded.
    """

    read: int = 0
    accepted: int = 0
    not_due: Counter[str] = field(default_factory=Counter)
    loaded: int = 0
    skipped: int = 0
    rejected: Counter[str] = field(default_factory=Counter)
    example: dict[str, str] = field(default_factory=dict)
    per_file: dict[str, int] = field(default_factory=dict)
    latest: date | None = None

    @property
    def rejected_total(self) -> int:
        return self.rejected.total()


class Validator:
    """Reads the files of one batch through the contract.

    `accepted()` is the stream of good rows; refused rows are handed to `on_rejected` as Arrow tables
    (schema `REJECTED`) on the way; `tally` counts both.

    Parameters
    ----------
    as_of : the pull's business date. Rows dated later wait for their own pull (`not_due`), unless the file
        was delivered for an earlier date, in which case they are refused as future-dated.
    """

    def __init__(self, settings: Settings, source: SourceSpec, files: list[Delivery], as_of: date) -> None:
        self.settings, self.source, self.files, self.as_of = settings, source, files, as_of
        self.connector = connector(settings, source)
        self.contract = CONTRACTS[source.entity]
        self.schema = staged_schema(source.entity)
        self.tally = Tally()
        self.rejected: list[pa.Table] = []
        personal = any(c.pii and c.name in source.columns for c in self.contract.columns)
        self._key = pii_key(settings) if personal else b""

    def accepted(self) -> Iterator[pa.RecordBatch]:
        """Good rows, file after file. Raises `PortraitError` on a file that cannot be read or mapped.

        Small files with the same columns go through the contract together: a query costs more than its rows.
        """
        with connect(self.settings, self.source) as session:
            shape: pa.Schema | None = None
            sql = ""
            waiting: list[pa.Table] = []
            for number, file in enumerate(self.files):
                columns = self.connector.schema(file)
                if columns != shape:
                    yield from self._map(session, sql, waiting)
                    check_columns(file.name, self.source, columns.names)
                    sql = mapping_sql(self.settings, self.source, columns, self.as_of)
                    bind(session, sql, self.source, columns)
                    shape = columns
                for table in self._numbered(number, file):
                    waiting.append(table)
                    if sum(t.num_rows for t in waiting) >= BATCH_ROWS:
                        yield from self._map(session, sql, waiting)
            yield from self._map(session, sql, waiting)

    def refuse_mostly_bad(self) -> None:
        """Raise PortraitError when more than the source's `max_rejected_share` of the rows was refused."""
        source, tally = self.source, self.tally
        meant = tally.read - tally.skipped
        if not meant or tally.rejected_total / meant <= source.max_rejected_share:
            return
        code, count = tally.rejected.most_common(1)[0]
        raise PortraitError(
            f"{self.settings.sources_path}: sources[{source.name}]: {tally.rejected_total} of {meant} rows were "
            f"refused, {count} because {sentence(source, code)} ({code}; first: {tally.example[code]}); correct "
            f"the mapping or the file, or raise max_rejected_share (now {source.max_rejected_share:g}). "
            "Nothing was loaded"
        )

    def _numbered(self, number: int, file: Delivery) -> Iterator[pa.Table]:
        """A file's batches with the place of each row: file and row number."""
        bad_lines: list[tuple[int, str]] = []

        def bad_line(row: int, text: str, expected: int, found: int) -> None:
            bad_lines.append((row, f"{expected} columns expected, {found} found"))

        row, rows = 0, 0
        for batch in self.connector.batches(file, bad_line):
            if not batch.num_rows:
                continue
            numbers = _row_numbers(row + 1, batch.num_rows, [n for n, _ in bad_lines])
            row, rows = int(numbers[-1].as_py()), rows + batch.num_rows
            yield _with_place(batch, number, numbers, file)
        self._reject_lines(bad_lines, file)
        self.tally.read += rows + len(bad_lines)
        self.tally.per_file[file.name] = rows + len(bad_lines)

    def _map(
        self, session: duckdb.DuckDBPyConnection, sql: str, waiting: list[pa.Table]
    ) -> Iterator[pa.RecordBatch]:
        if not waiting:
            return
        batch = pa.concat_tables(waiting, promote_options="permissive")
        waiting.clear()
        session.register("batch", batch)
        try:
            mapped = session.sql(sql).to_arrow_table()
        except duckdb.Error as error:
            # DuckDB quotes the value, which may be personal.
            first = re.sub(r"'[^']*'", "'***'", str(error).splitlines()[0])
            raise PortraitError(
                f"sources[{self.source.name}]: an sql expression failed on a row: {first}; "
                "use try_cast, so that the row is refused by itself"
            ) from None
        session.unregister("batch")
        self.tally.skipped += batch.num_rows - mapped.num_rows
        refused = pc.is_valid(mapped["reason_code"])
        if pc.any(refused).as_py():
            self._reject(mapped.filter(refused))
            mapped = mapped.filter(pc.invert(refused))
        early = mapped.filter(mapped["not_due"])
        for number, count in Counter(early["file_number"].to_pylist()).items():
            self.tally.not_due[self.files[number].name] += count
        due = mapped.filter(pc.invert(pc.or_(mapped["not_due"], mapped["loaded"])))
        self.tally.loaded += mapped.num_rows - early.num_rows - due.num_rows
        if due.num_rows:
            latest = pc.max(due["business_date"]).as_py()
            self.tally.latest = max(latest, self.tally.latest or latest)
            # Later files and later rows win: the place orders them.
            places = pc.add(pc.multiply(due["file_number"], pa.scalar(1 << 40)), due["row_number"])
            yield from self._stored(due, places).to_batches()
        self.tally.accepted += due.num_rows

    def _stored(self, rows: pa.Table, places: pa.ChunkedArray) -> pa.Table:
        arrays = []
        for column in self.contract.columns:
            if column.name == "business_date":
                continue
            values = rows[column.name]
            if column.pii and values.null_count < len(values):
                values = hash_column(values, column.pii, self._key, self.settings.sources.phone_region)
            arrays.append(values)
        table = pa.table(
            [rows["source_row_id"], *arrays, rows["business_date"], places], names=self.schema.names
        )
        return table.cast(self.schema)

    def _reject(self, rows: pa.Table) -> None:
        codes = rows["reason_code"].to_pylist()
        paths = [self.files[n].name for n in rows["file_number"].to_pylist()]
        self.tally.rejected.update(codes)
        for code, path, number in zip(codes, paths, rows["row_number"].to_pylist(), strict=True):
            self.tally.example.setdefault(code, f"{path} row {number}")
        sentences = {code: sentence(self.source, code) for code in set(codes)}
        self.rejected.append(
            pa.table(
                [
                    pa.array(paths, pa.string()),
                    rows["row_number"].cast(pa.int64()),
                    rows["reason_code"],
                    pa.array([sentences[c] for c in codes], pa.string()),
                    rows["payload"],
                ],
                schema=REJECTED,
            )
        )

    def _reject_lines(self, bad_lines: list[tuple[int, str]], file: Delivery) -> None:
        if not bad_lines:
            return
        code = "bad_json:line" if self.source.lines else "bad_line:columns"
        self.tally.rejected[code] += len(bad_lines)
        self.tally.example.setdefault(code, f"{file.name} row {bad_lines[0][0]}")
        why = sentence(self.source, code)
        self.rejected.append(
            pa.table(
                [
                    pa.array([file.name] * len(bad_lines), pa.string()),
                    pa.array([n for n, _ in bad_lines], pa.int64()),
                    pa.array([code] * len(bad_lines), pa.string()),
                    pa.array([f"{why}: {detail}" for _, detail in bad_lines], pa.string()),
                    # The text may hold personal data in any column: only its place is kept.
                    pa.array(['{"line": "see the file"}'] * len(bad_lines), pa.string()),
                ],
                schema=REJECTED,
            )
        )


def _with_place(batch: pa.RecordBatch, number: int, rows: pa.Array, file: Delivery) -> pa.Table:
    table = pa.Table.from_batches([batch])
    place = {
        FILE: pa.repeat(pa.scalar(number, pa.int64()), batch.num_rows),
        ROW: rows,
        DELIVERED_FOR: pa.repeat(pa.scalar(file.delivered_for, pa.date32()), batch.num_rows),
        LOADED_THROUGH: pa.repeat(pa.scalar(file.loaded_through, pa.date32()), batch.num_rows),
    }
    for name, values in place.items():
        table = table.append_column(name, values)
    return table


def _row_numbers(start: int, count: int, skipped: list[int]) -> pa.Array:
    """`count` consecutive row numbers from `start`, leaving out the skipped ones."""
    import numpy as np

    beyond = [n for n in skipped if n >= start]
    numbers = np.arange(start, start + count + len(beyond), dtype=np.int64)
    return pa.array(numbers[~np.isin(numbers, beyond)][:count])
