"""Choosing how much each model counts in a weighted sum of scores."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_matrix

from portrait.models.metrics import ndcg_at_k
from portrait.models.ranking import mask_out, spread_evenly, top_k

STEPS = (0.0, 0.5, 0.7, 0.85, 1.18, 1.4, 2.0)
"""What one weight is multiplied by in turn, the others staying."""
SWEEPS = 4


@dataclass(frozen=True)
class Judge:
    """Customers whose NDCG@k says how good a score matrix is; each has something left to be found."""

    history: csr_matrix
    target: csr_matrix
    k: int
    exclude_seen: bool

    @classmethod
    def of(cls, history: csr_matrix, target: csr_matrix, k: int, exclude_seen: bool, rows: int) -> "Judge":
        """At most `rows` of the customers that have a target (outside their history, if that is excluded)."""
        if exclude_seen:
            target = csr_matrix(target - target.multiply(history > 0))
            target.eliminate_zeros()
        usable = np.flatnonzero((np.diff(target.indptr) > 0) & (np.diff(history.indptr) > 0))
        kept = usable[spread_evenly(len(usable), rows)]
        return cls(history[kept], target[kept], k, exclude_seen)

    def ndcg(self, scores: np.ndarray) -> float:
        """Mean NDCG@k of float [n, n_items] scores, which are changed; 0 without customers."""
        if not len(scores):
            return 0.0
        if self.exclude_seen:
            mask_out(scores, self.history)
        return float(ndcg_at_k(top_k(scores, self.k)[0], self.target, self.k).mean())


def spread(scores: np.ndarray) -> float:
    """Mean over the customers of the standard deviation of their scores; 1 where all are equal."""
    found = float(scores.std(axis=1).mean()) if scores.size else 0.0
    return found if found > 0 else 1.0


def tuned_weights(
    scores: Sequence[np.ndarray], quality: Callable[[np.ndarray], float], sweeps: int = SWEEPS
) -> np.ndarray:
    """Weights >= 0 of a sum of score matrices, by coordinate search from equal ones.

    Parameters
    ----------
    scores : sequence of float32 [n, n_items], of comparable spread
    quality : what is to be greatest, from a new array of the sum (which it may change)
    sweeps : int
        Times that every weight is tried in turn; it ends sooner where a sweep changes nothing.

    Returns
    -------
    float64 [len(scores)], of which at least one is positive.
    """
    weights = np.ones(len(scores))
    best = quality(_sum(scores, weights))
    for _ in range(sweeps if len(scores) > 1 else 0):
        before = weights.copy()
        for position in range(len(weights)):
            others = _sum(scores, np.where(np.arange(len(weights)) == position, 0, weights))
            current = weights[position] or 0.1
            for candidate in (current * step for step in STEPS):
                if candidate == 0 and not weights[np.arange(len(weights)) != position].any():
                    continue
                found = quality(others + scores[position] * np.float32(candidate))
                if found > best:
                    best, weights[position] = found, candidate
        if (weights == before).all():
            break
    return weights


def _sum(scores: Sequence[np.ndarray], weights: np.ndarray) -> np.ndarray:
    total = np.zeros_like(scores[0])
    for matrix, weight in zip(scores, weights, strict=True):
        if weight:
            total += matrix * np.float32(weight)
    return total
