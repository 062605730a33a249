"""What is known of customers and items beside the purchases: for those who bought nothing, and what nobody bought."""

from dataclasses import dataclass, field
from typing import Self

import numpy as np
from scipy.sparse import csr_matrix, diags

from portrait.errors import PortraitError
from portrait.models.rerank.purchases import Purchases

Signals = dict[str, csr_matrix]
"""Name -> float32 [customers, items]: what else is known of some pairs, each a candidate and a column.

For instance the weight of views and carts, as of the log's end.
"""

PRIOR = 500.0
"""Of the ridge regression, in customers: what a part of the profile says counts half where so many have it."""


@dataclass(frozen=True, eq=False)
class Side:
    """Known at the end of a log; all of it may be missing.

    Attributes
    ----------
    signals : of pairs.
    profile : float32 [n_customers, d], what customers declared (0 or 1, or anything of that size); a row of zeros is nothing.
    text : float32 [n_items, t], of length 1; zeros where there is none.
    new : float32 [n_items], days since an item came on sale that is new in the shop; NaN for all others. What is not new is on
        sale where the log or a signal has it.
    """

    signals: Signals = field(default_factory=dict)
    profile: csr_matrix | None = None
    text: np.ndarray | None = None
    new: np.ndarray | None = None

    def checked(self, log: Purchases) -> Self:
        """Raises PortraitError where something is not of the log's customers or items."""
        shape = (log.n_customers, log.n_items)
        for name, known in self.signals.items():
            if known.shape != shape:
                raise PortraitError(f"signal '{name}' is {known.shape}, the log is of {shape}")
        for name, rows, wanted in (
            ("profile", self.profile, log.n_customers),
            ("text", self.text, log.n_items),
            ("new", self.new, log.n_items),
        ):
            if rows is not None and rows.shape[0] != wanted:
                raise PortraitError(f"side information '{name}' has {rows.shape[0]} rows, the log {wanted}")
        return self


@dataclass(frozen=True, eq=False)
class Words:
    """How alike the words of an item and of what a customer touched are, of items that hardly anybody bought.

    Of all others the purchases say more: told of them as well, the trees learn less (docs/models.md).

    Attributes
    ----------
    history : float32 [n_customers, n_items], what was touched.
    text : float32 [n_items, t]
    fresh : int [f], ascending: items on sale of which the models of purchases know nothing.
    """

    history: csr_matrix
    text: np.ndarray
    fresh: np.ndarray

    def scores(self, rows: np.ndarray) -> np.ndarray:
        """float32 [len(rows), f]: cosines; 0 where either has no words."""
        interest = np.asarray(self.history[rows] @ self.text, dtype=np.float32)
        interest /= np.maximum(np.linalg.norm(interest, axis=1, keepdims=True), 1e-9)
        found: np.ndarray = interest @ self.text[self.fresh].T
        return found

    def columns(self, scores: np.ndarray, local: np.ndarray, item: np.ndarray) -> dict[str, np.ndarray]:
        """Of pairs; NaN where the item is not fresh."""
        found = np.full(len(item), np.nan, dtype=np.float32)
        place = np.full(self.text.shape[0], -1)
        place[self.fresh] = np.arange(len(self.fresh))
        asked = place[item] >= 0
        found[asked] = scores[local[asked], place[item[asked]]]
        return {"words": found}


@dataclass(frozen=True, eq=False)
class Declared:
    """What customers who declared the same buy: shares of the items, by ridge regression on the profile.

    Attributes
    ----------
    profile : float32 [n_customers, d], less the buyers' mean where a customer declared anything; else zeros.
    weights : float32 [d, n_items], what the profile adds to `average`.
    average : float32 [n_items], shares of the items: every buyer counts once.
    """

    profile: np.ndarray
    weights: np.ndarray
    average: np.ndarray

    @classmethod
    def of(cls, log: Purchases, profile: csr_matrix) -> Self:
        known = np.diff(profile.indptr) > 0
        counts = log.counts
        buyers = np.flatnonzero((np.diff(counts.indptr) > 0) & known)
        total = np.asarray(counts.sum(axis=1), dtype=np.float64).ravel()
        share = csr_matrix(diags(1 / np.maximum(total, 1)) @ counts)
        everyone = max(int((total > 0).sum()), 1)
        average = np.asarray(share.sum(axis=0)).ravel() / everyone
        centred = profile.toarray().astype(np.float32, copy=False)
        centred[known] -= centred[buyers].mean(axis=0, dtype=np.float64) if len(buyers) else np.float32(0)
        x = centred[buyers]
        gram = (x.T @ x).astype(np.float64) + PRIOR * np.eye(x.shape[1])
        moment = (share[buyers].T @ x).T - np.outer(x.sum(axis=0), average)
        weights = np.linalg.solve(gram, moment)
        return cls(centred, weights.astype(np.float32), average.astype(np.float32))

    def scores(self, rows: np.ndarray) -> np.ndarray:
        """float32 [len(rows), n_items]: expected shares."""
        found: np.ndarray = self.profile[rows] @ self.weights + self.average
        return found

    def columns(self, scores: np.ndarray, local: np.ndarray, item: np.ndarray) -> dict[str, np.ndarray]:
        """Of pairs: the share, and how many times the average it is (NaN where nobody bought the item)."""
        share = scores[local, item]
        with np.errstate(divide="ignore", invalid="ignore"):
            return {"declared": share, "declared_lift": share / self.average[item]}
