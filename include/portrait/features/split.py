"""Writing a stream of rows to Parquet files that appear whole or not at all."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date
from hashlib import blake2b
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from portrait.drafts import draft_of
from portrait.features.codes import with_codes
from portrait.features.lake import LakeFile, LakeTable, Totals

ROW_GROUP = 200_000


@dataclass(frozen=True)
class Written:
    """A file that was written, and the totals of the rows that went into it."""

    file: LakeFile
    totals: Totals


def write_file(path: Path, table: LakeTable, batches: Iterable[pa.RecordBatch]) -> Written:
    """Write rows of `raw` to `path`, beside it first and then renamed."""
    schema = table.schema
    if table.partitioned:
        schema = schema.remove(schema.get_field_index("business_date"))
    totals = Totals()
    with draft_of(path) as draft:
        with pq.ParquetWriter(draft, schema, compression="zstd") as writer:
            for rows in _gather(batches):
                totals += _totals(rows)
                coded = with_codes(rows, table.kinds).select(schema.names)
                writer.write_table(coded.cast(schema), row_group_size=ROW_GROUP)
        rows_written = int(pq.read_metadata(draft).num_rows)
        digest = blake2b(draft.read_bytes(), digest_size=16).hexdigest()
    return Written(LakeFile(rows_written, digest), totals)


def _totals(rows: pa.Table) -> Totals:
    texts = [n for n in rows.schema.names if n != "source" and pa.types.is_string(rows.schema.field(n).type)]
    octets = sum(pc.sum(pc.binary_length(rows[n])).as_py() or 0 for n in texts)
    return Totals(rows.num_rows, pc.sum(rows["batch_id"]).as_py() or 0, octets)


def write_by_date(batches: Iterable[pa.RecordBatch], table: LakeTable) -> dict[date, Written]:
    """Write rows that come in order of `business_date` to a file a date, holding one row group in memory.

    The files leave the column out: the folder says it.
    """
    written: dict[date, Written] = {}
    pieces = _by_date(batches)
    ahead = next(pieces, None)
    while ahead is not None:
        day = ahead[0]

        def of_day() -> Iterator[pa.RecordBatch]:
            nonlocal ahead
            while ahead is not None and ahead[0] == day:  # noqa: B023 - consumed before `day` moves on
                yield ahead[1]
                ahead = next(pieces, None)

        written[day] = write_file(table.file(day), table, of_day())
    return written


def _by_date(batches: Iterable[pa.RecordBatch]) -> Iterator[tuple[date, pa.RecordBatch]]:
    """Cut batches where the date changes, and drop the column."""
    for batch in batches:
        if not batch.num_rows:
            continue
        days = batch.column("business_date")
        number = days.cast(pa.int32()).to_numpy()
        starts = [0, *(np.flatnonzero(np.diff(number)) + 1).tolist(), batch.num_rows]
        rest = batch.drop_columns(["business_date"])
        for start, end in pairwise(starts):
            yield days[start].as_py(), rest.slice(start, end - start)


def _gather(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.Table]:
    """Batches put together to about a row group."""
    held: list[pa.RecordBatch] = []
    for batch in batches:
        held.append(batch)
        if sum(b.num_rows for b in held) >= ROW_GROUP:
            yield pa.Table.from_batches(held)
            held = []
    if held:
        yield pa.Table.from_batches(held)
