"""Files into accepted rows (an Arrow stream ready for COPY) and refused rows, each counted once."""

import json
import logging
import re
from collections import Counter
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, field
from datetime import date
from functools import cached_property

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from portrait.config import Settings, SourceSpec
from portrait.contracts import CONTRACTS, Pii
from portrait.errors import PortraitError
from portrait.ingest.keys import keyring
from portrait.ingest.mapping import (
    AT,
    DELIVERED_FOR,
    FILE,
    LATEST,
    LOADED_THROUGH,
    RAW_LINE,
    ROW,
    bind,
    check_columns,
    connect,
    mapping_sql,
    payload_sql,
    renamed,
)
from portrait.ingest.pii import Hasher, OneKey, hash_column, payload_print, pii_key, split_key
from portrait.ingest.reasons import sentence
from portrait.ingest.seal import Seal, seal_of
from portrait.ingest.spool import Spool
from portrait.ingest.suppression import Suppression, forget_rows
from portrait.sources import Connector, Delivery, connector
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
        ("payload_md5", pa.string()),
        ("delivered_for", pa.date32()),
        ("sealed", pa.binary()),
    ]
)
CONTACT = pa.schema([("kind", pa.string()), ("hash", pa.string()), ("sealed", pa.binary())])
DETAIL = pa.schema(
    [
        ("source_row_id", pa.string()),
        ("updated_at", pa.timestamp("us", tz="UTC")),
        ("place", pa.int64()),
        ("print_md5", pa.string()),
        ("sealed", pa.binary()),
    ]
)
CONTACT_KINDS = ("card", "phone", "email", "payment")
SEALED_ROW, SEALED_DETAIL = "rejected row", "member detail"
_CONTACTS_REMEMBERED = 500_000


def stored_schema(entity: str) -> pa.Schema:
    """Arrow schema of a row of `raw.<entity>` as far as the delivery says it: the natural key first, the date last."""
    contract = CONTRACTS[entity]
    fields = [pa.field(c.stored_as, _ARROW[c.type]) for c in contract.stored if c.name != "business_date"]
    return pa.schema(
        [
            pa.field("source_row_id", pa.string()),
            *fields,
            pa.field("business_date", pa.date32()),
        ]
    )


def accepted_schema(entity: str) -> pa.Schema:
    """`stored_schema`, the row's place in the batch (later rows have larger ones) and a hash of its natural key."""
    return (
        stored_schema(entity).append(pa.field("place", pa.int64())).append(pa.field("key_hash", pa.uint64()))
    )


@dataclass
class Tally:
    """What became of the rows of a batch so far; `per_file` (rows read) and `not_due` are by delivery.

    Attributes
    ----------
    loaded : rows that an earlier reading of the same file loaded.
    suppressed : rows of erased customers, left out.
    mark : the highest watermark met. `held` : the lowest one of a row that is not due.
    columns : columns that the deliveries have. `absent` : mapped ones that a delivery lacks, with its name.
    """

    read: int = 0
    accepted: int = 0
    not_due: Counter[str] = field(default_factory=Counter)
    loaded: int = 0
    skipped: int = 0
    suppressed: int = 0
    rejected: Counter[str] = field(default_factory=Counter)
    example: dict[str, str] = field(default_factory=dict)
    per_file: dict[str, int] = field(default_factory=dict)
    latest: date | None = None
    mark: int | None = None
    held: int | None = None
    columns: dict[str, None] = field(default_factory=dict)
    absent: dict[str, str] = field(default_factory=dict)

    @property
    def rejected_total(self) -> int:
        return self.rejected.total()


class Validator:
    """Reads the deliveries of one batch through the contract.

    `accepted()` is the stream of good rows (schema `accepted_schema`); refused rows and contact data, sealed, are set
    aside in `rejected` (`REJECTED`), `contacts` (`CONTACT`) and `details` (`DETAIL`) on the way; `tally` counts all of them.

    Parameters
    ----------
    as_of : the pull's business date. Rows dated later wait for their own pull (`not_due`), unless the file
        was delivered for an earlier date, in which case they are refused as future-dated.
    origin : where the deliveries are read; the source's own connector unless given.
    """

    def __init__(
        self,
        settings: Settings,
        source: SourceSpec,
        files: list[Delivery],
        as_of: date,
        origin: Connector | None = None,
    ) -> None:
        self.settings, self.source, self.files, self.as_of = settings, source, files, as_of
        self.connector = origin or connector(settings, source)
        self.contract = CONTRACTS[source.entity]
        self.schema = accepted_schema(source.entity)
        self.tally = Tally()
        self.rejected, self.contacts, self.details = Spool(REJECTED), Spool(CONTACT), Spool(DETAIL)
        personal = any(c.pii and c.name in source.columns for c in self.contract.columns)
        ring = keyring(settings) if personal else None
        self.hasher: Hasher | None = OneKey(pii_key(settings)) if personal else None
        """What identifiers are stored as; the database's say when the batch is open."""
        self._ring = ring
        self._met: set[str] = set()
        self._new_contacts: list[tuple[str, str, bytes]] = []
        self._shape: pa.Schema | None = None
        self.suppression = Suppression(b"")
        """Who may not come back; read when the batch is open, so that no erasure is missed."""

    @cached_property
    def _secret(self) -> bytes:
        return split_key(pii_key(self.settings))[1]

    @cached_property
    def _seal(self) -> Seal:
        return seal_of(self.settings)

    def accepted(self) -> Generator[pa.RecordBatch, None, None]:
        """Good rows, delivery after delivery. Raises `PortraitError` on one that cannot be read or mapped.

        Small files with the same columns go through the contract together: a query costs more than its rows.
        """
        with connect(self.settings, self.source) as session:
            sql = ""
            waiting: list[pa.Table] = []
            for number, file in enumerate(self.files):
                columns = self._columns(file)
                if columns != self._shape:
                    yield from self._map(session, sql, waiting)
                    sql = mapping_sql(self.settings, self.source, columns, self.as_of)
                    bind(session, sql, self.source, columns)
                    self._shape = columns
                for table in self._numbered(number, file):
                    waiting.append(table)
                    if sum(t.num_rows for t in waiting) >= BATCH_ROWS:
                        yield from self._map(session, sql, waiting)
            yield from self._map(session, sql, waiting)

    def close(self) -> None:
        """Delete what was set aside."""
        self.rejected.close()
        self.contacts.close()
        self.details.close()

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

    def _columns(self, file: Delivery) -> pa.Schema:
        """A delivery's columns under the names of the mapping; notes which are there and which are not."""
        schema = self.connector.schema(file)
        names = renamed(self.source, schema.names)
        self.tally.columns.update(dict.fromkeys(names))
        for column in check_columns(file.name, self.source, names):
            self.tally.absent.setdefault(column, file.name)
        return pa.schema([f.with_name(n) for f, n in zip(schema, names, strict=True)])

    def _numbered(self, number: int, file: Delivery) -> Iterator[pa.Table]:
        """A file's batches with the place of each row: file and row number."""
        bad_lines: list[tuple[int, str, str]] = []

        def bad_line(row: int, text: str, expected: int, found: int) -> None:
            bad_lines.append((row, f"{expected} columns expected, {found} found", text))

        row, rows, bad = 0, 0, 0
        for batch in self.connector.batches(file, bad_line):
            if not batch.num_rows:
                continue
            if ROW in batch.schema.names:  # rows that are read again know their number
                at = batch.schema.get_field_index(ROW)
                numbers, batch = batch.column(at), batch.remove_column(at)
            else:
                numbers = _row_numbers(row + 1, batch.num_rows, [n for n, _, _ in bad_lines])
            row, rows = int(numbers[-1].as_py()), rows + batch.num_rows
            passed = [line for line in bad_lines if line[0] < row]
            self._reject_lines(passed, file)
            del bad_lines[: len(passed)]
            bad += len(passed)
            names = batch.schema.names if self.source.lines else renamed(self.source, batch.schema.names)
            yield _with_place(batch.rename_columns(names), number, numbers, file)
        self._reject_lines(bad_lines, file)
        self.tally.read += rows + bad + len(bad_lines)
        self.tally.per_file[file.name] = rows + bad + len(bad_lines)

    def _map(
        self, session: duckdb.DuckDBPyConnection, sql: str, waiting: list[pa.Table]
    ) -> Iterator[pa.RecordBatch]:
        if not waiting:
            return
        batch = pa.concat_tables(waiting, promote_options="permissive")
        waiting.clear()
        batch = batch.append_column(AT, pa.array(np.arange(batch.num_rows)))
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
            known = self._without_erased(mapped.filter(refused))
            if known.num_rows:
                self._reject(session, known, batch)
            mapped = mapped.filter(pc.invert(refused))
        early = mapped.filter(mapped["not_due"])
        self._note_early(early)
        due = mapped.filter(pc.invert(pc.or_(mapped["not_due"], mapped["loaded"])))
        self._note_marks(mapped, early)
        self.tally.loaded += mapped.num_rows - early.num_rows - due.num_rows
        if due.num_rows:
            latest = pc.max(due["business_date"]).as_py()
            self.tally.latest = max(latest, self.tally.latest or latest)
            # Later files and later rows win: the place orders them.
            places = pc.add(pc.multiply(due["file_number"], pa.scalar(1 << 40)), due["row_number"])
            stored = self._stored(due, places)
            self.tally.accepted += stored.num_rows
            yield from stored.to_batches()

    def _note_early(self, early: pa.Table) -> None:
        for number, count in Counter(early["file_number"].to_pylist()).items():
            self.tally.not_due[self.files[number].name] += count

    def _note_marks(self, mapped: pa.Table, early: pa.Table) -> None:
        if self.source.watermark is None:
            return
        highest, held = pc.max(mapped["mark"]).as_py(), pc.min(early["mark"]).as_py()
        if highest is not None:
            self.tally.mark = max(highest, self.tally.mark or highest)
        if held is not None:
            self.tally.held = min(held, self.tally.held or held)

    def _stored(self, rows: pa.Table, places: pa.ChunkedArray) -> pa.Table:
        arrays = []
        for column in self.contract.stored:
            if column.name == "business_date":
                continue
            values = rows[column.name]
            if column.pii and values.null_count < len(values):
                region = self.settings.sources.phone_region
                values = self._hashed(values, column.pii, region, self._keep_contact)
            arrays.append(values)
        self._flush_contacts()
        table = pa.table(
            [rows["source_row_id"], *arrays, rows["business_date"], places, rows["key_hash"]],
            names=self.schema.names,
        ).cast(self.schema)
        if self.suppression:
            table, gone = forget_rows(self.suppression, self._identifiers, table)
            self.tally.suppressed += pc.sum(gone).as_py() or 0
            kept = pc.invert(gone)
            table, rows, places = table.filter(kept), rows.filter(kept), places.filter(kept)
        self._keep_details(rows, places)
        return table

    @cached_property
    def _identifiers(self) -> dict[str, str]:
        """Kind -> stored column."""
        ids = {"account": "account_id", "device": "device_id"}
        found = {c.pii or "": c.stored_as for c in self.contract.stored if c.pii}
        return found | {k: c for k, c in ids.items() if c in self.contract.names}

    def _without_erased(self, refused: pa.Table) -> pa.Table:
        """Refused rows without those of erased customers: nothing of them is kept in quarantine."""
        if not self.suppression:
            return refused
        gone = np.zeros(refused.num_rows, bool)
        for kind, stored in self._identifiers.items():
            column = next(c for c in self.contract.stored if c.stored_as == stored)
            values = refused[column.name]
            if values.null_count == len(values):
                continue
            if column.pii:
                values = self._hashed(values, column.pii, self.settings.sources.phone_region, self._learn)
            gone |= self.suppression.mask(kind, values).to_numpy(zero_copy_only=False)
        self.tally.suppressed += int(gone.sum())
        return refused.filter(pa.array(~gone))

    def _keep_details(self, rows: pa.Table, places: pa.ChunkedArray) -> None:
        """Names and addresses, sealed, by the row's key."""
        mapped = [c.name for c in self.contract.columns if c.sealed and c.name in self.source.columns]
        if not mapped:
            return
        texts = [
            json.dumps(row, ensure_ascii=False, sort_keys=True) for row in rows.select(mapped).to_pylist()
        ]
        self.details.write(
            pa.table(
                [
                    rows["source_row_id"],
                    rows["updated_at"],
                    places.cast(pa.int64()),
                    pa.array([payload_print(self._secret, t) for t in texts]),
                    pa.array([self._seal.close(t, SEALED_DETAIL) for t in texts], pa.binary()),
                ],
                names=DETAIL.names,
            ).cast(DETAIL)
        )

    def _hashed(
        self, values: pa.ChunkedArray, kind: Pii, region: str, found: Callable[[str, str, str], None]
    ) -> pa.Array:
        assert self.hasher is not None  # the contract has personal columns
        return hash_column(values, kind, self.hasher, region, found)

    def _learn(self, kind: str, digest: str, value: str) -> None:
        """An erased customer may be on the list under a former key's form of the value."""
        if self._ring is not None and self._ring.former:
            self.suppression.learn(kind, digest, self._ring.forms(value))

    def _keep_contact(self, kind: str, digest: str, value: str) -> None:
        self._learn(kind, digest, value)
        if digest in self._met or kind not in CONTACT_KINDS:
            return
        if self.suppression and self.suppression.holds(kind, digest):
            return
        self._met.add(digest)
        self._new_contacts.append((kind, digest, self._seal.close(value, kind)))

    def _flush_contacts(self) -> None:
        if self._new_contacts:
            kinds, digests, sealed = zip(*self._new_contacts, strict=True)
            self.contacts.write(pa.table([kinds, digests, sealed], schema=CONTACT))
            self._new_contacts.clear()
        if len(self._met) > _CONTACTS_REMEMBERED:
            self._met.clear()

    def _reject(self, session: duckdb.DuckDBPyConnection, rows: pa.Table, batch: pa.Table) -> None:
        rows = rows.sort_by("at")
        session.register("batch", batch.take(rows["at"]))
        assert self._shape is not None
        texts = session.sql(payload_sql(self.source, self._shape)).to_arrow_table()
        session.unregister("batch")
        codes = rows["reason_code"].to_pylist()
        files = [self.files[n] for n in rows["file_number"].to_pylist()]
        paths = [f.name for f in files]
        self.tally.rejected.update(codes)
        for code, path, number in zip(codes, paths, rows["row_number"].to_pylist(), strict=True):
            self.tally.example.setdefault(code, f"{path} row {number}")
        sentences = {code: sentence(self.source, code) for code in set(codes)}
        # A row of a window has no number that tells it from others the next time.
        numbers = [n if f.numbered else 0 for n, f in zip(rows["row_number"].to_pylist(), files, strict=True)]
        self.rejected.write(
            pa.table(
                [
                    pa.array(paths, pa.string()),
                    pa.array(numbers, pa.int64()),
                    rows["reason_code"].combine_chunks(),
                    pa.array([sentences[c] for c in codes], pa.string()),
                    texts["payload"].combine_chunks(),
                    *self._sealed(texts["sealed"].to_pylist(), [f.delivered_for for f in files]),
                ],
                schema=REJECTED,
            )
        )

    def _reject_lines(self, bad_lines: list[tuple[int, str, str]], file: Delivery) -> None:
        if not bad_lines:
            return
        code = "bad_json:line" if self.source.lines else "bad_line:columns"
        self.tally.rejected[code] += len(bad_lines)
        self.tally.example.setdefault(code, f"{file.name} row {bad_lines[0][0]}")
        why = sentence(self.source, code)
        self.rejected.write(
            pa.table(
                [
                    pa.array([file.name] * len(bad_lines), pa.string()),
                    pa.array([n for n, _, _ in bad_lines], pa.int64()),
                    pa.array([code] * len(bad_lines), pa.string()),
                    pa.array([f"{why}: {detail}" for _, detail, _ in bad_lines], pa.string()),
                    # The text may hold personal data in any column: only its place is shown.
                    pa.array(['{"line": "see the file"}'] * len(bad_lines), pa.string()),
                    *self._sealed(
                        [json.dumps({RAW_LINE: text}, ensure_ascii=False) for _, _, text in bad_lines],
                        [file.delivered_for] * len(bad_lines),
                    ),
                ],
                schema=REJECTED,
            )
        )

    def _sealed(self, texts: list[str], delivered_for: list[date | None]) -> tuple[pa.Array, ...]:
        """The last columns of `REJECTED`."""
        prints = [payload_print(self._secret, t) for t in texts]
        sealed = [self._seal.close(t, SEALED_ROW) for t in texts]
        return (
            pa.array(prints, pa.string()),
            pa.array(delivered_for, pa.date32()),
            pa.array(sealed, pa.binary()),
        )


def _with_place(batch: pa.RecordBatch, number: int, rows: pa.Array, file: Delivery) -> pa.Table:
    table = pa.Table.from_batches([batch])
    place = {
        FILE: pa.repeat(pa.scalar(number, pa.int64()), batch.num_rows),
        ROW: rows,
        DELIVERED_FOR: pa.repeat(pa.scalar(file.delivered_for, pa.date32()), batch.num_rows),
        LOADED_THROUGH: pa.repeat(pa.scalar(file.loaded_through, pa.date32()), batch.num_rows),
        LATEST: pa.repeat(pa.scalar(file.latest, pa.date32()), batch.num_rows),
    }
    for name, values in place.items():
        table = table.append_column(name, values)
    return table


def _row_numbers(start: int, count: int, skipped: list[int]) -> pa.Array:
    """`count` consecutive row numbers from `start`, leaving out the skipped ones."""
    beyond = [n for n in skipped if n >= start]
    numbers = np.arange(start, start + count + len(beyond), dtype=np.int64)
    return pa.array(numbers[~np.isin(numbers, beyond)][:count])
