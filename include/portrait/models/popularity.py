"""Popularity: everybody gets what everybody buys (G-TopFreq)."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from scipy.sparse import csr_matrix

from portrait.models.base import Pair, Recommender


@dataclass(kw_only=True, eq=False)
class Popularity(Recommender):
    """Rank by an item's share of all weight in training; the score is that share.

    The weights carry recency, so this is what is popular now rather than what ever was. The bar that any
    personal model must pass; "G-TopFreq" in Li et al., A Next Basket Recommendation Reality Check (2023).
    """

    name: ClassVar[str] = "popularity"

    def _fit(self, train: csr_matrix, validation: Pair | None, seed: int) -> None:
        """Nothing beyond the prior that every model learns."""

    def _scores(self, history: csr_matrix) -> np.ndarray:
        return np.tile(self.prior_, (history.shape[0], 1))

    def affinity(self, bought: csr_matrix) -> None:
        """No other item counts."""
