"""The customer x item matrices that models train on."""

from pathlib import Path

import ibis
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from ibis.backends.duckdb import Backend
from ibis.expr import types as ir
from scipy.sparse import csr_matrix, save_npz

from portrait.features.cells import VALUES
from portrait.features.items import extend_index

CUSTOMERS = pa.schema({"row": pa.int32(), "customer_id": pa.string()})


def write_matrices(engine: Backend, cell: ir.Table, item_index: Path, folder: Path) -> int:
    """Write `customers.parquet`, `items.parquet` and one `<name>.npz` (scipy CSR, float32) for each matrix.

    All share the rows of `customers.parquet`, sorted by id, and the columns of `items.parquet`.

    Returns
    -------
    The number of items.
    """
    folder.mkdir(parents=True)
    ids = engine.to_pyarrow(cell.select("customer_id").distinct().order_by("customer_id"))["customer_id"]
    customers = pa.table([pa.array(np.arange(len(ids), dtype=np.int32)), ids], schema=CUSTOMERS)
    pq.write_table(customers, folder / "customers.parquet", compression="zstd")
    skus = engine.to_pyarrow(cell.select("sku").distinct())["sku"].combine_chunks()
    items = extend_index(item_index, skus)
    pq.write_table(items, folder / "items.parquet", compression="zstd")

    row, col = ibis.memtable(customers), ibis.memtable(items)
    placed = cell.inner_join(row, "customer_id").inner_join(col, "sku")
    placed = placed.select("row", "col", **{v: placed[v].cast("float32") for v in VALUES}).order_by(
        "row", "col"
    )
    found = engine.to_pyarrow(placed)
    place = found["row"].to_numpy(), found["col"].to_numpy()
    shape = (customers.num_rows, items.num_rows)
    for name in VALUES:
        save_npz(folder / f"{name}.npz", to_csr(*place, found[name].to_numpy(), shape), compressed=False)
    return int(items.num_rows)


def to_csr(rows: np.ndarray, cols: np.ndarray, values: np.ndarray, shape: tuple[int, int]) -> csr_matrix:
    """CSR of the values above zero; `rows` and `cols` are int32, in order of row, then column."""
    kept = values > 0
    pointer = np.zeros(shape[0] + 1, dtype=np.int32 if kept.sum() < 2**31 else np.int64)
    np.cumsum(np.bincount(rows[kept], minlength=shape[0]), out=pointer[1:])
    return csr_matrix((values[kept], cols[kept], pointer), shape=shape)
