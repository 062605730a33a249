"""The literature's frequency baselines for the next basket, with the tie order of their published code."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from portrait.models.benchmark.baskets import Baskets, Keyset
from portrait.models.ranking import top_k


@dataclass(eq=False)
class TopFrequency:
    """P-TopFreq: what the customer bought most often. GP-TopFreq: then what everybody bought most often.

    Equally frequent items stand in the order in which the file first names them. Li et al., A Next Basket
    Recommendation Reality Check (2023).
    """

    filled: bool
    """Whether the list goes on with everybody's items."""
    params: dict[str, Any] = field(default_factory=dict)
    baskets: Baskets | None = None

    def fit(self, baskets: Baskets, keyset: Keyset, seed: int) -> None:
        """Nothing is learnt from the keyset: histories are known of everybody."""
        self.baskets = baskets

    def lists(self, rows: np.ndarray, k: int) -> np.ndarray:
        """int32 [n, k]; -1 where a customer has fewer items and the list is not filled."""
        assert self.baskets is not None
        log = self.baskets.history
        counts, first = log.counts[rows], log.weighted(self.baskets.first_seen + 1.0)[rows]
        scores = np.full(counts.shape, -np.inf, dtype=np.float32)
        if self.filled:
            everybody = np.bincount(log.item, minlength=log.n_items)
            place = np.empty(log.n_items)
            place[np.argsort(-everybody, kind="stable")] = np.arange(log.n_items)
            scores[:] = 1 - (place + 1) / (log.n_items + 1)
        owner = np.repeat(np.arange(len(rows)), np.diff(counts.indptr))
        seen = first.data / counts.data
        order = np.lexsort((seen, owner))
        tie = np.empty(len(order))
        tie[order] = np.arange(len(order)) - counts.indptr[owner[order]]
        scores[owner, counts.indices] = 1 + counts.data - tie / (log.n_items + 1)
        return top_k(scores, k)[0]
