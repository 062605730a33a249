"""The position of each item: once given it never moves, so all nights have the same columns."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

SCHEMA = pa.schema({"col": pa.int32(), "sku": pa.string()})


def extend_index(path: Path, skus: pa.Array) -> pa.Table:
    """Append the skus that have no position yet, in sorted order, and give the whole index (col, sku)."""
    known = pq.read_table(path, schema=SCHEMA) if path.is_file() else SCHEMA.empty_table()
    fresh = skus.filter(pc.invert(pc.is_in(skus, value_set=known["sku"].combine_chunks())))
    fresh = pc.unique(fresh).sort()
    if not len(fresh) and path.is_file():
        return known
    columns = np.arange(known.num_rows, known.num_rows + len(fresh), dtype=np.int32)
    index = pa.concat_tables([known, pa.table([columns, fresh], schema=SCHEMA)])
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_suffix(".writing")
    pq.write_table(index, beside, compression="zstd")
    beside.replace(path)
    return index
