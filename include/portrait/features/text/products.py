"""One vector a product, and for every product those most like it."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from portrait.features.text.corpus import product_tokens
from portrait.features.text.model import TextModel, has_vector

NEIGHBOURS = pa.schema(
    {"sku": pa.string(), "rank": pa.int16(), "neighbour": pa.string(), "similarity": pa.float32()}
)
STEPS = 100_000
"""Similarities that are equal to five digits count as a tie."""
BLOCK = 4_000_000
"""Similarities that are held in memory at once (20 bytes each)."""


def product_vectors(model: TextModel, products: pa.Table) -> np.ndarray:
    """Float32 [products, dimensions]: the weighted sum of the words of name, categories and brand, of length 1.

    All zeros for a product without a known word. Nobody needs to have touched a product.
    """
    return model.embed(product_tokens(products))


def product_categories(products: pa.Table) -> np.ndarray:
    """Int64 [products]: the number of each product's category (`category`, else the second level, else the first).

    -1 where none is known.
    """
    columns = [products[c] for c in ("category", "category_2", "category_1") if c in products.column_names]
    if not columns or not products.num_rows:
        return np.full(products.num_rows, -1, np.int64)
    codes = pc.dictionary_encode(pc.coalesce(*columns)).combine_chunks().indices
    found: np.ndarray = pc.fill_null(codes.cast(pa.int64()), -1).to_numpy(zero_copy_only=False)
    return found


def neighbours(
    skus: pa.Array | pa.ChunkedArray, vectors: np.ndarray, categories: np.ndarray, k: int
) -> pa.Table:
    """The `k` most similar products of each product.

    Parameters
    ----------
    skus : one for each row of `vectors`.
    vectors : float32 [products, dimensions], each of length 1 or all zeros (no vector, no neighbours).
    categories : int [products]; of equally similar products those of the same category come first, then those
        that come first in `skus`. Negative: no category.

    Returns
    -------
    sku, rank (from 1), neighbour, similarity (cosine, -1 to 1), in the order of `skus` and rank. Fewer than `k` where
    there are fewer products. Never more than `BLOCK` similarities are in memory.
    """
    rows = np.flatnonzero(has_vector(vectors))
    known, category = np.ascontiguousarray(vectors[rows]), categories[rows]
    k = min(k, len(rows) - 1)
    if k < 1:
        return NEIGHBOURS.empty_table()
    step = max(1, BLOCK // len(rows))
    found = [
        _nearest(known, category, start, min(start + step, len(rows)), k)
        for start in range(0, len(rows), step)
    ]
    place = np.vstack([p for p, _ in found]).ravel()
    similarity = np.vstack([s for _, s in found]).ravel()
    of, near = pa.array(np.repeat(rows, k)), pa.array(rows[place])
    rank = np.tile(np.arange(1, k + 1, dtype=np.int16), len(rows))
    names = pa.chunked_array([skus]) if isinstance(skus, pa.Array) else skus
    return pa.table([names.take(of), rank, names.take(near), similarity], schema=NEIGHBOURS)


def _nearest(
    vectors: np.ndarray, category: np.ndarray, start: int, end: int, k: int
) -> tuple[np.ndarray, np.ndarray]:
    """Places and similarities, [end - start, k], of the nearest of some rows.

    Similarity, same category and place are put into one number each, so that a partition finds the order of all three.
    """
    n = len(vectors)
    steps = np.rint((vectors[start:end] @ vectors.T) * np.float32(STEPS)).astype(np.int64) + STEPS
    steps *= 2
    steps += (category[start:end, None] == category[None, :]) & (category[None, :] >= 0)
    steps *= n
    steps += np.arange(n - 1, -1, -1)
    steps[np.arange(end - start), np.arange(start, end)] = -1
    steps.partition(n - k, axis=1)
    best = -np.sort(-steps[:, n - k :], axis=1)
    similarity = (best // n // 2 - STEPS) / STEPS
    return n - 1 - best % n, np.clip(similarity, -1, 1).astype(np.float32)
