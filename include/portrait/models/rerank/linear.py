"""Linear models of what goes with what: EASE on all that was bought, and its kin for the next basket."""

from dataclasses import dataclass

import numpy as np
from scipy.linalg import cho_factor, cho_solve
from scipy.sparse import csr_matrix

from portrait.errors import PortraitError
from portrait.models.ease import inverted_in_place
from portrait.models.rerank.purchases import Purchases

BYTES_PER_CELL = 12
"""Gram matrix, right-hand side and solution, float32, items x items each."""


@dataclass(frozen=True, eq=False)
class Linear:
    """score = history @ weights over the items `kept`, 0 for all others."""

    history: csr_matrix
    weights: np.ndarray
    kept: np.ndarray
    n_items: int

    def scores(self, rows: np.ndarray) -> np.ndarray:
        """float32 [len(rows), n_items]."""
        found = np.zeros((len(rows), self.n_items), dtype=np.float32)
        found[:, self.kept] = self.history[rows] @ self.weights
        return found


@dataclass(frozen=True, eq=False)
class Moments:
    """X'X and X'Y of every basket Y on the faded history X before it, over the items `kept`."""

    kept: np.ndarray
    half_life: float
    xx: np.ndarray
    xy: np.ndarray


def kept_items(log: Purchases, least: int, most: int) -> np.ndarray:
    """The items bought in `least` baskets or more, the `most` most frequent of them; ascending."""
    count = np.bincount(log.item, minlength=log.n_items)
    kept = np.argsort(-count, kind="stable")[:most]
    return np.sort(kept[count[kept] >= least])


def check_memory(n_items: int, limit_gb: float) -> None:
    """Raise PortraitError where the matrices of so many items would not fit."""
    needed = BYTES_PER_CELL * n_items**2 / 1e9
    if needed > limit_gb:
        raise PortraitError(
            f"model 'nightly': {n_items:,} items need {needed:.1f} GB, memory_limit_gb is {limit_gb:g}; lower "
            "linear_items or raise memory_limit_gb"
        )


def ease(log: Purchases, kept: np.ndarray, regularisation: float, rows: np.ndarray | None = None) -> Linear:
    """Steck, Embarrassingly Shallow Autoencoders for Sparse Data (WWW 2019), on what a customer ever bought.

    `rows`, int [any], are the customers it is learnt from; all, unless given.
    """
    history = log.counts[:, kept]
    history.data[:] = 1
    learnt = history if rows is None else history[rows]
    gram = (learnt.T @ learnt).toarray()
    gram[np.diag_indices_from(gram)] += np.float32(regularisation)
    weights = inverted_in_place(gram.T).T  # symmetric
    weights /= -np.diag(weights)
    weights[np.diag_indices_from(weights)] = 0
    return Linear(history, weights, kept, log.n_items)


def moments(log: Purchases, kept: np.ndarray, half_life: float, deep: int) -> Moments:
    """From the last `deep` baskets of each customer, each on what came before it; `half_life` in baskets."""
    n = len(kept)
    xx, xy = np.zeros((n, n), dtype=np.float32), np.zeros((n, n), dtype=np.float32)
    for age in range(deep):
        before = log.weighted(np.where(log.age > age, np.exp2(-(log.age - age - 1.0) / half_life), 0))[
            :, kept
        ]
        basket = log.basket_from_end(age)[:, kept]
        before.eliminate_zeros()
        rows = np.flatnonzero((np.diff(before.indptr) > 0) & (np.diff(basket.indptr) > 0))
        if not len(rows):
            break
        turned = before[rows].T.tocsr()
        xx += (turned @ before[rows]).toarray()
        xy += (turned @ basket[rows]).toarray()
    return Moments(kept, half_life, xx, xy)


def transition(
    log: Purchases,
    known: Moments,
    regularisation: float,
    labels: csr_matrix | None = None,
    rows: np.ndarray | None = None,
) -> Linear:
    """Ridge regression of the next basket on the faded history: an EASE that foretells and may repeat.

    Parameters
    ----------
    known : Moments
        Of the log's own baskets.
    labels, rows : csr_matrix [customers, items] and int [any], optional
        What was bought after the log, and by whom of those it is to be learnt.
    """
    history = log.weighted(np.exp2(-log.age / known.half_life))[:, known.kept]
    xx, xy = known.xx.copy(), known.xy
    if labels is not None and rows is not None:
        turned = history[rows].T.tocsr()
        xx += (turned @ history[rows]).toarray()
        xy = xy + (turned @ labels[rows][:, known.kept]).toarray()
    xx[np.diag_indices_from(xx)] += np.float32(regularisation)
    return Linear(history, _solve(xx, xy), known.kept, log.n_items)


def _solve(matrix: np.ndarray, right: np.ndarray) -> np.ndarray:
    """matrix^-1 right for a symmetric positive definite matrix, which is overwritten."""
    factor = cho_factor(matrix.T, lower=True, overwrite_a=True, check_finite=False)
    found: np.ndarray = cho_solve(factor, right, check_finite=False)
    return np.ascontiguousarray(found)
