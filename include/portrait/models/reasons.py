"""Why an item is recommended: what of a customer's purchases speaks most for it.

Lists are explained after they are made, a chunk of customers at a time, whatever model made them. What says how much one
item speaks for another (an `Affinity`) is the model's own where it has item weights or item vectors, and purchases in
common where it has not.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import numpy as np
from scipy.sparse import csr_matrix

from portrait.models.ranking import spread_evenly

AGAIN, ITEM, CATEGORY, POPULAR = range(4)
KINDS = ("again", "item", "category", "popular")
"""Names of the four, in the order of preference."""

NONE = -1
PAIRS = 2_000_000
"""Recommended and bought items that are compared at once."""
DEEPEST = 50
"""Bought items of a customer that are looked at, the ones of greatest weight."""
COMPARED_CUSTOMERS = 100_000
"""Customers, evenly spread, whose purchases in common are counted."""
CHANCE = 2.0
"""Standard deviations of the cosine of two random vectors, up to which two items are not called alike."""


class Affinity(Protocol):
    """How much bought items speak for recommended ones; nothing above 0 is no reason.

    Attributes
    ----------
    n_items : items that it knows, the first ones.
    """

    @property
    def n_items(self) -> int: ...

    def __call__(self, bought: np.ndarray, weight: np.ndarray, recommended: np.ndarray) -> np.ndarray:
        """float32 [n, k, h] for `bought` int [n, h] with `weight` float32 [n, h], and `recommended` int [n, k]."""


@dataclass(frozen=True, eq=False)
class WeightAffinity:
    """Contribution to a linear score: the history's weight times the model's, float32 [items kept, items kept].

    Attributes
    ----------
    place : int32 [n_items], the row and column of each item in `weights`, -1 for none; None: its own number.
    """

    weights: np.ndarray
    place: np.ndarray | None = None

    @property
    def n_items(self) -> int:
        return len(self.weights) if self.place is None else len(self.place)

    def __call__(self, bought: np.ndarray, weight: np.ndarray, recommended: np.ndarray) -> np.ndarray:
        source = bought if self.place is None else self.place[bought]
        target = recommended if self.place is None else self.place[recommended]
        found = self.weights[source[:, None, :], target[:, :, None]] * weight[:, None, :]
        if self.place is not None:
            found[(source < 0)[:, None, :] | (target < 0)[:, :, None]] = 0
        return np.asarray(found, dtype=np.float32)


@dataclass(frozen=True, eq=False)
class SparseAffinity:
    """As `WeightAffinity`, of weights csr [n_items, n_items] whose row is the recommended item."""

    weights: csr_matrix

    @property
    def n_items(self) -> int:
        return int(self.weights.shape[1])

    def __call__(self, bought: np.ndarray, weight: np.ndarray, recommended: np.ndarray) -> np.ndarray:
        return self._cells[recommended[:, :, None], bought[:, None, :]] * weight[:, None, :]

    @cached_property
    def _cells(self) -> "Lookup":
        return Lookup(self.weights)


class VectorAffinity:
    """Cosine of item vectors, less what two random ones of their length would easily have.

    Parameters
    ----------
    vectors : float32 [n_items, d]
    """

    def __init__(self, vectors: np.ndarray) -> None:
        length = np.linalg.norm(vectors, axis=1, keepdims=True)
        self.unit = (vectors / np.where(length > 0, length, 1)).astype(np.float32)
        self.least = np.float32(CHANCE / np.sqrt(vectors.shape[1]))
        self.n_items = len(vectors)

    def __call__(self, bought: np.ndarray, weight: np.ndarray, recommended: np.ndarray) -> np.ndarray:
        import torch

        ours = torch.from_numpy(self.unit[recommended])
        theirs = torch.from_numpy(self.unit[bought])
        found: np.ndarray = torch.bmm(ours, theirs.transpose(1, 2)).numpy()
        return found - self.least


def affinity_of(model: Any, bought: csr_matrix) -> Affinity:
    """Of any model: cosines of the item vectors it ranks by, else purchases in common."""
    decoder = getattr(model, "_linear_decoder", lambda: None)()
    if decoder is not None:
        return VectorAffinity(decoder.weight.detach().cpu().numpy())
    return common_purchases(bought)


def common_purchases(bought: csr_matrix) -> Affinity:
    """Shrunk cosine of the items' columns (`item_knn`), of at most `COMPARED_CUSTOMERS` customers."""
    from portrait.models.item_knn import ItemKnn

    buyers = np.flatnonzero(np.diff(bought.indptr))
    if not len(buyers):
        return SparseAffinity(csr_matrix((bought.shape[1],) * 2, dtype=np.float32))
    some = csr_matrix(bought[buyers[spread_evenly(len(buyers), COMPARED_CUSTOMERS)]], dtype=np.float32)
    some.data[:] = 1
    return SparseAffinity(ItemKnn(neighbours=DEEPEST).fit(some).similarity_)


@dataclass(frozen=True)
class Reasons:
    """A reason for each place of some lists.

    Attributes
    ----------
    kind : int8 [n, k], one of `AGAIN`, `ITEM`, `CATEGORY`, `POPULAR`.
    of : int32 [n, k]
        The item bought before (`AGAIN`: the recommended one itself), or the category; -1 where it is just popular.
    """

    kind: np.ndarray
    of: np.ndarray


def reasons(
    lists: np.ndarray,
    weights: csr_matrix,
    bought: csr_matrix,
    affinity: Affinity | None,
    category: np.ndarray,
) -> Reasons:
    """The first of these that holds for a customer and a recommended item.

    1. It was bought before.
    2. Something was bought that speaks for it: what does so most.
    3. The customer looked at, or bought, its category.
    4. It is popular.

    Parameters
    ----------
    lists : int32 [n, k], -1 at the padding (whose reason is `POPULAR`).
    weights : csr float32 [n, n_items], what the customer did.
    bought : csr [n, n_items], positive where bought.
    affinity : Affinity, optional
        None for lists that no purchase speaks for.
    category : int [n_items], -1 for none.

    Raises
    ------
    ValueError
        If the rows differ.
    """
    n, k = lists.shape
    if not n == weights.shape[0] == bought.shape[0]:
        raise ValueError(f"rows differ: {n} lists, weights {weights.shape}, bought {bought.shape}")
    kind = np.full((n, k), POPULAR, dtype=np.int8)
    of = np.full((n, k), NONE, dtype=np.int32)
    step = max(1, PAIRS // (max(k, 1) * DEEPEST))
    for start in range(0, n, step):
        rows = slice(start, min(start + step, n))
        _explain(lists[rows], weights[rows], bought[rows], affinity, category, kind[rows], of[rows])
    return Reasons(kind, of)


def _explain(
    lists: np.ndarray,
    weights: csr_matrix,
    bought: csr_matrix,
    affinity: Affinity | None,
    category: np.ndarray,
    kind: np.ndarray,
    of: np.ndarray,
) -> None:
    """`reasons` of one chunk, into `kind` and `of`; the weakest reason first, so that a better one replaces it."""
    there = lists >= 0
    item = np.where(there, lists, 0)
    row = np.broadcast_to(np.arange(len(lists))[:, None], lists.shape)

    def settle(holds: np.ndarray, reason: int, what: np.ndarray) -> None:
        kind[holds], of[holds] = reason, what[holds]

    theirs = category[item]
    settle(there & (theirs >= 0) & _touched(weights, category, row, theirs), CATEGORY, theirs)
    if affinity is not None:
        held, weight = heaviest(weights[:, : affinity.n_items], bought[:, : affinity.n_items], DEEPEST)
        if held.shape[1]:
            value = affinity(np.where(held >= 0, held, 0), weight, item)
            value[np.broadcast_to((held < 0)[:, None, :], value.shape)] = 0
            best = value.argmax(axis=2)
            speaks = np.take_along_axis(value, best[:, :, None], axis=2)[:, :, 0] > 0
            settle(there & speaks, ITEM, np.take_along_axis(held, best, axis=1))
    settle(there & (Lookup(bought)[row, item] > 0), AGAIN, item)


def heaviest(weights: csr_matrix, bought: csr_matrix, most: int) -> tuple[np.ndarray, np.ndarray]:
    """The bought items of greatest weight of each row, descending: int32 and float32 [n, up to `most`].

    Items -1, and weight 0, fill the rows up. What was bought and weighs nothing any more is left out.
    """
    cells = csr_matrix(weights.multiply(bought > 0))
    cells.eliminate_zeros()
    counts = np.diff(cells.indptr)
    owner = np.repeat(np.arange(cells.shape[0]), counts)
    order = np.lexsort((cells.indices, -cells.data, owner))
    place = np.arange(len(owner)) - np.repeat(cells.indptr[:-1], counts)
    kept = place < most
    width = min(most, int(counts.max(initial=0)))
    items = np.full((cells.shape[0], width), NONE, dtype=np.int32)
    values = np.zeros(items.shape, dtype=np.float32)
    items[owner[kept], place[kept]] = cells.indices[order][kept]
    values[owner[kept], place[kept]] = cells.data[order][kept]
    return items, values


class Lookup:
    """Values of a sparse matrix at many cells, 0 where nothing is stored."""

    def __init__(self, matrix: csr_matrix) -> None:
        matrix = matrix if matrix.has_sorted_indices else matrix.sorted_indices()
        rows = np.repeat(np.arange(matrix.shape[0], dtype=np.int64), np.diff(matrix.indptr))
        self.width = np.int64(matrix.shape[1])
        self.stored = rows * self.width + matrix.indices
        self.data = matrix.data

    def __getitem__(self, cells: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
        """float32 of the shape that rows and columns broadcast to."""
        asked = cells[0].astype(np.int64) * self.width + cells[1]
        if not len(self.stored):
            return np.zeros(asked.shape, dtype=np.float32)
        place = np.minimum(np.searchsorted(self.stored, asked), len(self.stored) - 1)
        return np.where(self.stored[place] == asked, self.data[place], 0).astype(np.float32)


def _touched(weights: csr_matrix, category: np.ndarray, row: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Bool like `wanted`: whether the customer of each row has weight in a category."""
    width = int(category.max(initial=-1)) + 1
    if not width:
        return np.zeros(wanted.shape, dtype=bool)
    owner = np.repeat(np.arange(weights.shape[0]), np.diff(weights.indptr))
    theirs = category[weights.indices]
    seen = np.zeros((weights.shape[0], width), dtype=bool)
    known = theirs >= 0
    seen[owner[known], theirs[known]] = True
    return np.asarray(seen[row, np.maximum(wanted, 0)])
