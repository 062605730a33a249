"""The position of each item and customer: once given it never moves, so all nights have the same rows and columns."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from portrait.config import Settings
from portrait.drafts import draft_of


def item_index(settings: Settings) -> Path:
    """File of the items' positions: col, sku."""
    return settings.lake_dir / "item_index.parquet"


def customer_index(settings: Settings) -> Path:
    """File of the customers' positions: row, customer_id. Customers that are no more keep theirs."""
    return settings.lake_dir / "customer_index.parquet"


def extend_index(path: Path, values: pa.Array, names: tuple[str, str] = ("col", "sku")) -> pa.Table:
    """Append the values that have no position yet, in sorted order, and give the whole index (int32, string)."""
    schema = pa.schema({names[0]: pa.int32(), names[1]: pa.string()})
    known = pq.read_table(path, schema=schema) if path.is_file() else schema.empty_table()
    fresh = values.filter(pc.invert(pc.is_in(values, value_set=known[names[1]].combine_chunks())))
    fresh = pc.unique(fresh.drop_null()).sort()
    if not len(fresh) and path.is_file():
        return known
    positions = np.arange(known.num_rows, known.num_rows + len(fresh), dtype=np.int32)
    index = pa.concat_tables([known, pa.table([positions, fresh], schema=schema)])
    with draft_of(path) as draft:
        pq.write_table(index, draft, compression="zstd")
    return index
