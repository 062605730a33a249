"""The text features of a run: items, their neighbours, customers, and the model that made them."""

import logging
import shutil
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from scipy.sparse import csr_matrix

from portrait.config.text import TextConfig
from portrait.features.text.corpus import NO_CLICKS
from portrait.features.text.interest import Part, interest_blocks
from portrait.features.text.model import TextModel, has_vector
from portrait.features.text.products import neighbours, product_categories, product_vectors
from portrait.features.text.store import save_model, vector_array, vectors_from, write_vectors
from portrait.features.text.train import train_text

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class TextResult:
    """How the words were learned, and how many items, distinct queries and customers have a vector."""

    method: str
    words: int
    items: int
    queries: int
    customers: int

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def write_text(
    folder: Path,
    config: TextConfig,
    seed: int,
    *,
    products: pa.Table,
    queries: pa.Table,
    customers: pa.Array | pa.ChunkedArray,
    searched: csr_matrix,
    touched: csr_matrix,
    columns: np.ndarray | None = None,
    clicks: pa.Table = NO_CLICKS,
    model: TextModel | None = None,
    items_of: Path | None = None,
) -> TextResult:
    """Train the text model of a run, unless one is given, and write what follows from it to `folder`.

    ``items.parquet``      : sku, vector; every product with a known word.
    ``neighbours.parquet`` : sku, rank, neighbour, similarity; every product of `items`.
    ``customers.parquet``  : customer_id, vector; customers with anything that has a vector.
    ``model/``             : see `store`.

    Parameters
    ----------
    products : sku and its texts (`corpus.PRODUCT_TEXTS`), one row a product.
    queries : query, count; one row a distinct query.
    customers : id of each customer.
    searched : weights, float32 [customers, queries].
    touched : weights, float32 [customers, products].
    columns : int [products], the column of `touched` that is each product's, where it has more or others.
    clicks : query and product (rows of the two tables), count: what was looked at or bought after a search.
    items_of : folder that this wrote with the same `model` for the same `products`: its items and neighbours, which
        follow from these two, are taken over.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if model is None:
        model = train_text(products, queries, config, seed, clicks)
    save_model(model, folder / "model")
    started = time.monotonic()
    asked = model.embed(queries["query"])
    if items_of is not None:
        items = _taken_items(items_of, folder, products, model.dimensions)
    else:
        items = product_vectors(model, products)
        _write_items(folder, products, items, config.neighbours)
    log.info("text: items and neighbours in %.1f s", time.monotonic() - started)
    started = time.monotonic()
    interested = _write_customers(
        folder / "customers.parquet",
        customers,
        (searched, asked),
        (touched, _by_column(items, columns, touched)),
    )
    log.info("text: %d customers in %.1f s", interested, time.monotonic() - started)
    return TextResult(
        method=model.method,
        words=len(model.words),
        items=int(has_vector(items).sum()),
        queries=int(has_vector(asked).sum()),
        customers=interested,
    )


def _write_items(folder: Path, products: pa.Table, vectors: np.ndarray, k: int) -> None:
    there = has_vector(vectors)
    table = pa.table({"sku": products["sku"].filter(pa.array(there)), "vector": vector_array(vectors[there])})
    write_vectors(table, folder / "items.parquet")
    near = neighbours(products["sku"], vectors, product_categories(products), k)
    pq.write_table(near, folder / "neighbours.parquet", compression="zstd")


def _taken_items(former: Path, folder: Path, products: pa.Table, dimensions: int) -> np.ndarray:
    """Copy the files of items; their vectors, float32 [products, dimensions], zeros for a product without."""
    for name in ("items.parquet", "neighbours.parquet"):
        shutil.copyfile(former / name, folder / name)
    known = pq.read_table(folder / "items.parquet")
    vectors = np.zeros((products.num_rows, dimensions), np.float32)
    row = pc.index_in(known["sku"], value_set=products["sku"].combine_chunks()).to_numpy()
    vectors[row] = vectors_from(known["vector"], dimensions)
    return vectors


def _by_column(vectors: np.ndarray, columns: np.ndarray | None, touched: csr_matrix) -> np.ndarray:
    """Vectors of products, float32 [columns of touched, dimensions]: much less than touched in the order of products."""
    if columns is None:
        return vectors
    found = np.zeros((touched.shape[1], vectors.shape[1]), np.float32)
    found[columns] = vectors
    return found


def _write_customers(path: Path, ids: pa.Array | pa.ChunkedArray, *parts: Part) -> int:
    """Write the customers that have a vector, a block at a time; how many they are."""
    dimensions = parts[0][1].shape[1]
    schema = pa.schema({"customer_id": ids.type, "vector": pa.list_(pa.float32(), dimensions)})
    written = 0
    with pq.ParquetWriter(path, schema, compression="zstd", use_dictionary=["customer_id"]) as writer:
        for start, vectors in interest_blocks(*parts):
            there = has_vector(vectors)
            block = ids.slice(start, len(vectors)).filter(pa.array(there))
            writer.write_table(pa.table([block, vector_array(vectors[there])], schema=schema))
            written += int(there.sum())
    return written
