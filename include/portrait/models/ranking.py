"""From item scores to a ranked list: column alignment, masking, chunks and a deterministic top-k.

Nothing here ever holds a dense users x items matrix for more than one chunk of users.
"""

from collections.abc import Iterator

import numpy as np
from scipy.sparse import csr_matrix

PADDING = -1
"""Item index that fills a row with fewer than k candidates; its score is -inf."""

CHUNK_CELLS = 8_000_000
"""Cells of one dense score chunk: 32 MB of scores and, of a short list, some megabytes while sorting."""

BLOCK = 32
"""Columns whose maximum is taken first, see `_block_candidates`."""


def align(matrix: csr_matrix, n_items: int) -> csr_matrix:
    """A user x item matrix with exactly `n_items` columns, float32, canonical, without stored zeros.

    Item positions never move and new items are appended, so a matrix with fewer columns is an older one
    (padded with empty columns) and one with more holds items the model has not met (they are dropped).

    Parameters
    ----------
    matrix : csr_matrix [n_users, any]
        Left as it is: the data are copied only where they have to change.
    n_items : int
        The model's number of items.

    Raises
    ------
    ValueError
        If a weight is negative, infinite or NaN.
    """
    matrix = csr_matrix(matrix)
    n_users, n_columns = matrix.shape
    if n_columns > n_items:
        matrix = matrix[:, :n_items]
    aligned = csr_matrix(
        (matrix.data.astype(np.float32, copy=False), matrix.indices, matrix.indptr),
        shape=(n_users, n_items),
        copy=False,
    )
    if not aligned.has_canonical_format:
        aligned = aligned.copy()
        aligned.sum_duplicates()
    if aligned.nnz and not (np.isfinite(aligned.data).all() and aligned.data.min() >= 0):
        raise ValueError("item weights must be finite and not negative: look at how the matrix was built")
    if aligned.nnz and aligned.data.min() == 0:
        aligned = aligned.copy()
        aligned.eliminate_zeros()
    return aligned


def row_chunks(n_rows: int, n_columns: int, cells: int = CHUNK_CELLS) -> Iterator[slice]:
    """Slices over the rows such that a dense rows x columns block stays below `cells` (one row at least)."""
    step = max(1, cells // max(1, n_columns))
    for start in range(0, n_rows, step):
        yield slice(start, min(start + step, n_rows))


def spread_evenly(number: int, most: int) -> np.ndarray:
    """Ascending positions of `number` things, int64: all of them, or `most` evenly spread."""
    if number <= most:
        return np.arange(number)
    return np.unique(np.linspace(0, number - 1, most).astype(np.int64))


def mask_out(scores: np.ndarray, mask: csr_matrix) -> None:
    """Set the scores at the mask's stored cells to -inf, in place."""
    rows = np.repeat(np.arange(mask.shape[0]), np.diff(mask.indptr))
    scores[rows, mask.indices] = -np.inf


def top_k(scores: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """The k best columns of each row, best first; equal scores are ordered by column.

    Parameters
    ----------
    scores : float32 [n, m]
        -inf marks a column that is no candidate.
    k : int
        Any positive number; what a row cannot fill is padded with -1 / -inf.

    Returns
    -------
    items : int32 [n, k]
    values : float32 [n, k]

    Examples
    --------
    >>> top_k(np.array([[1.0, 3.0, 1.0, -np.inf]], dtype=np.float32), 2)[0]
    array([[1, 0]], dtype=int32)
    """
    n_rows, n_columns = scores.shape
    items = np.full((n_rows, k), PADDING, dtype=np.int32)
    values = np.full((n_rows, k), -np.inf, dtype=np.float32)
    if n_rows == 0 or n_columns == 0:
        return items, values
    if n_columns < 4 * BLOCK * (k + 1):
        _select(scores, k, items, values)
        return items, values
    candidates = greatest(scores, k + 1)
    found = np.take_along_axis(scores, candidates, axis=1)
    order = np.lexsort((candidates, -found), axis=1)
    candidates, found = (np.take_along_axis(a, order, axis=1) for a in (candidates, found))
    items[:], values[:] = candidates[:, :k], found[:, :k]
    # A score that is also the next one's may be that of a column outside the candidates; so may -inf.
    level = np.flatnonzero(~(found[:, k - 1] > found[:, k]))
    for rows in (level[s] for s in row_chunks(len(level), n_columns)):
        part_items, part_values = np.full((len(rows), k), PADDING, np.int32), values[rows]
        part_values[:] = -np.inf
        _select(scores[rows], k, part_items, part_values)
        items[rows], values[rows] = part_items, part_values
    return items, values


def greatest(scores: np.ndarray, k: int) -> np.ndarray:
    """Columns of the k greatest scores of each row, in no order; of equal ones any.

    Parameters
    ----------
    scores : float32 [n, m], m >= k, without NaN.

    Returns
    -------
    int64 [n, k]
    """
    n_columns = scores.shape[1]
    block = min(BLOCK, int(np.sqrt(n_columns / k)))
    if block < 2:
        return np.argpartition(scores, n_columns - k, axis=1)[:, n_columns - k :]
    candidates = _block_candidates(scores, k, block)
    found = np.take_along_axis(scores, candidates, axis=1)
    place = np.argpartition(found, found.shape[1] - k, axis=1)[:, found.shape[1] - k :]
    return np.take_along_axis(candidates, place, axis=1)


def _block_candidates(scores: np.ndarray, k: int, block: int) -> np.ndarray:
    """Columns that hold the k greatest scores of each row, int64 [n, block * k + n_columns % block].

    The k greatest of the blocks' maxima tell k blocks outside which no score is greater than all of theirs: one
    fast pass over all the scores, and the sorting is left with few.
    """
    n_rows, n_columns = scores.shape
    n_blocks = n_columns // block
    # Column c is in block c % n_blocks, so that the maximum runs over whole vectors.
    maxima = scores[:, : block * n_blocks].reshape(n_rows, block, n_blocks).max(axis=1)
    blocks = np.argpartition(maxima, n_blocks - k, axis=1)[:, n_blocks - k :]
    inside = (blocks[:, :, None] + np.arange(block) * n_blocks).reshape(n_rows, block * k)
    rest = np.broadcast_to(np.arange(block * n_blocks, n_columns), (n_rows, n_columns % block))
    return np.concatenate([inside, rest], axis=1)


def _select(scores: np.ndarray, k: int, items: np.ndarray, values: np.ndarray) -> None:
    """`top_k` by partitioning whole rows, into `items` and `values`."""
    n_rows, n_columns = scores.shape
    found = min(k, n_columns)
    if found < n_columns:
        best = np.argpartition(scores, n_columns - found, axis=1)[:, n_columns - found :]
        _settle_ties(scores, best)
    else:
        best = np.broadcast_to(np.arange(n_columns), (n_rows, n_columns)).copy()
    best.sort(axis=1)
    best_values = np.take_along_axis(scores, best, axis=1)
    order = np.argsort(-best_values, axis=1, kind="stable")
    items[:, :found] = np.take_along_axis(best, order, axis=1)
    values[:, :found] = np.take_along_axis(best_values, order, axis=1)
    items[np.isneginf(values)] = PADDING


def _settle_ties(scores: np.ndarray, best: np.ndarray) -> None:
    """Where several columns share the last place of a row's selection, keep the lowest columns; in place."""
    k = best.shape[1]
    selected = np.take_along_axis(scores, best, axis=1)
    last = selected.min(axis=1)
    inside = (selected == last[:, None]).sum(axis=1)
    everywhere = (scores == last[:, None]).sum(axis=1)
    for row in np.flatnonzero((everywhere > inside) & ~np.isneginf(last)):
        above = np.flatnonzero(scores[row] > last[row])
        level = np.flatnonzero(scores[row] == last[row])
        best[row] = np.concatenate([above, level[: k - len(above)]])


def best_pairs(
    row: np.ndarray, item: np.ndarray, score: np.ndarray, items: np.ndarray, values: np.ndarray
) -> None:
    """Fill lists, int32 and float32 [n, k] that hold padding, from scored pairs of a row and an item, in any order.

    Best first, equal scores by item; what a row has no pairs for stays as it is.
    """
    order = np.lexsort((item, -score, row))
    row, item, score = row[order], item[order], score[order]
    place = np.arange(len(row)) - np.searchsorted(row, row)
    inside = place < items.shape[1]
    items[row[inside], place[inside]] = item[inside]
    values[row[inside], place[inside]] = score[inside]
