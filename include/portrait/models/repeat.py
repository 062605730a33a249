"""Repeat: everybody gets what they themselves buy most (GP-TopFreq)."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from scipy.sparse import csr_matrix

from portrait.models.base import Pair, Recommender, parameter


@dataclass(kw_only=True, eq=False)
class Repeat(Recommender):
    """Personal recency-weighted frequency; popularity orders the ties and fills the rest.

    score(user, item) = history weight + tie_break * popularity(item) / popularity(most popular item)

    Most of what is bought in a shop was bought before, which makes this the honest bar for retail.
    "GP-TopFreq" in Li et al., A Next Basket Recommendation Reality Check (2023). With `exclude_seen` only
    the popular tail is left, so ask for its lists with `exclude_seen=False`.

    Parameters
    ----------
    tie_break : float
        Weight of popularity, in units of the history's weights; keep it below the smallest weight that
        should go before an item the customer never touched.
    """

    name: ClassVar[str] = "repeat"
    tie_break: float = parameter(1e-3, low=0)

    def _fit(self, train: csr_matrix, validation: Pair | None, seed: int) -> None:
        """Nothing beyond the prior: the personal part is the history itself."""

    def _scores(self, history: csr_matrix) -> np.ndarray:
        scores = np.tile(self.prior_ * np.float32(self.tie_break / self.prior_.max()), (history.shape[0], 1))
        rows = np.repeat(np.arange(history.shape[0]), np.diff(history.indptr))
        scores[rows, history.indices] += history.data
        return scores

    def affinity(self, bought: csr_matrix) -> None:
        """No other item counts."""
