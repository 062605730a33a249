"""Tables by customer: kept in the order of positions, so that a night's rows are merged in and nothing is sorted again.

They are streamed: of a table of a year there is never more than a few row groups in memory.
"""

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

ROWS = 122_880
"""Rows of a row group: the same whoever wrote the rows, so that two ways to one table give one file."""


def merged(former: Path, fresh: pa.Table, changed: np.ndarray) -> Iterator[pa.Table]:
    """The rows of `former` with those of some customers taken from `fresh`, in the order of positions.

    Parameters
    ----------
    former : file with a column `customer`, sorted by it.
    fresh : the same columns, sorted in the same way: all there is of the customers of `changed`.
    changed : bool [positions].
    """
    file = pq.ParquetFile(former)
    fresh = fresh.select(file.schema_arrow.names).cast(file.schema_arrow.remove_metadata()).combine_chunks()
    position, taken = fresh["customer"].to_numpy(), 0
    for group in range(file.num_row_groups):
        rows = file.read_row_group(group).replace_schema_metadata().combine_chunks()
        owner = rows["customer"].to_numpy()
        # The last customer of a group may go on in the next one.
        until = int(np.searchsorted(position, owner[-1], side="left")) if len(owner) else taken
        kept = rows.filter(pa.array(~changed[owner]))
        yield _interleaved(kept, fresh.slice(taken, until - taken))
        taken = until
    yield fresh.slice(taken)


def _interleaved(kept: pa.Table, fresh: pa.Table) -> pa.Table:
    both = pa.concat_tables([kept, fresh]).combine_chunks()
    if not kept.num_rows or not fresh.num_rows:
        return both
    # Two sorted runs: a stable sort of these is a merge.
    order = np.argsort(both["customer"].to_numpy(), kind="stable")
    return both.take(pa.array(order))


def ahead(tables: Iterable[pa.Table]) -> Iterator[pa.Table]:
    """The same tables, each computed in a thread while the one before is made use of."""
    source = iter(tables)
    with ThreadPoolExecutor(1) as pool:
        following = pool.submit(next, source, None)
        while (table := following.result()) is not None:
            following = pool.submit(next, source, None)
            yield table


def write_groups(tables: Iterable[pa.Table], path: Path, schema: pa.Schema | None = None) -> None:
    """Write tables one after the other as one Parquet file with row groups of `ROWS` rows.

    Parameters
    ----------
    schema : of the file; by default that of the first table, of which there must be one.
    """
    writer: pq.ParquetWriter | None = None
    try:
        for table in _regrouped(tables):
            schema = schema or _nullable(table.schema)
            if writer is None:
                writer = pq.ParquetWriter(path, schema, compression="zstd", use_dictionary=_repeated(schema))
            writer.write_table(table.cast(schema))
        if writer is None and schema is not None:
            writer = pq.ParquetWriter(path, schema, compression="zstd")
    finally:
        if writer is not None:
            writer.close()


def _regrouped(tables: Iterable[pa.Table]) -> Iterator[pa.Table]:
    """The same rows in tables of `ROWS` rows, the last one of fewer."""
    held: list[pa.Table] = []
    number, first = 0, True
    for table in tables:
        held.append(table)
        number += table.num_rows
        while number >= ROWS:
            whole = pa.concat_tables(held)
            yield whole.slice(0, ROWS).combine_chunks()
            held, number, first = [whole.slice(ROWS)], number - ROWS, False
    if held and (number or first):
        yield pa.concat_tables(held).combine_chunks()


def _nullable(schema: pa.Schema) -> pa.Schema:
    """Engines differ in whether they say of a constant that it is never null."""
    return pa.schema([field.with_nullable(True) for field in schema])


def _repeated(schema: pa.Schema) -> list[str]:
    """Columns whose values come again and again; for others a dictionary only costs."""
    return [f.name for f in schema if pa.types.is_string(f.type) and f.name != "customer_id"]
