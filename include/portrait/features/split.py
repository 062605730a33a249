"""Writing a stream of rows to Parquet files that appear whole or not at all."""

from collections.abc import Callable, Iterable, Iterator
from datetime import date
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

ROW_GROUP = 200_000


def write_file(path: Path, schema: pa.Schema, batches: Iterable[pa.RecordBatch]) -> int:
    """Write batches to `path`, beside it first and then renamed; gives the rows that the file says it has."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_suffix(".writing")
    with pq.ParquetWriter(beside, schema, compression="zstd") as writer:
        for table in _gather(batches):
            writer.write_table(table.cast(schema), row_group_size=ROW_GROUP)
    rows = int(pq.read_metadata(beside).num_rows)
    beside.replace(path)
    return rows


def write_by_date(
    batches: Iterable[pa.RecordBatch], schema: pa.Schema, path_of: Callable[[date], Path]
) -> dict[date, int]:
    """Write rows that come in order of `business_date` to a file a date, holding one row group in memory.

    The files leave the column out: the folder says it.
    """
    stored = schema.remove(schema.get_field_index("business_date"))
    written: dict[date, int] = {}
    pieces = _by_date(batches)
    ahead = next(pieces, None)
    while ahead is not None:
        day = ahead[0]

        def of_day() -> Iterator[pa.RecordBatch]:
            nonlocal ahead
            while ahead is not None and ahead[0] == day:  # noqa: B023 - consumed before `day` moves on
                yield ahead[1]
                ahead = next(pieces, None)

        written[day] = write_file(path_of(day), stored, of_day())
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
