"""Several views of the same customers, each of which may be missing."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
from scipy.sparse import csr_matrix, vstack

from portrait.models.events import Events
from portrait.models.ranking import align

VIEWS = ("basket", "events", "interest", "features")


@dataclass(frozen=True)
class Views:
    """What is known of n customers. Of the last three, each is there for all rows or None.

    Attributes
    ----------
    basket : csr [n, n_items], behaviour weights; an empty row is no basket.
    events : their sequences; an empty one is none.
    interest : float32 [n, t], text-interest vectors of length 1; a row of zeros is none.
    features : float32 [n, d], preprocessed; NaN nowhere.
    observed : bool [n, d], whether a feature is one of theirs rather than imputed; a row of False has no features.
    """

    basket: csr_matrix
    events: Events | None = None
    interest: np.ndarray | None = None
    features: np.ndarray | None = None
    observed: np.ndarray | None = None

    def __post_init__(self) -> None:
        n = self.basket.shape[0]
        for name in ("events", "interest", "features", "observed"):
            value = getattr(self, name)
            if value is not None and len(value) != n:
                raise ValueError(f"views of different customers: {name} has {len(value)} rows, basket {n}")
        if (self.features is None) != (self.observed is None):
            raise ValueError("features and observed come together")

    def __len__(self) -> int:
        return int(self.basket.shape[0])

    def present(self, view: str) -> np.ndarray:
        """Bool [n]: who has something in a view."""
        if view == "basket":
            return np.asarray(np.diff(self.basket.indptr) > 0)
        if view == "events":
            return (
                np.asarray(self.events.lengths > 0) if self.events is not None else np.zeros(len(self), bool)
            )
        found = self.interest if view == "interest" else self.observed
        return np.asarray(found.any(axis=1)) if found is not None else np.zeros(len(self), bool)

    @property
    def known(self) -> np.ndarray:
        """Bool [n]: who has something in any view."""
        return np.logical_or.reduce([self.present(view) for view in VIEWS])

    def take(self, rows: np.ndarray | slice) -> Self:
        """Some customers, in this order."""
        at = np.arange(len(self))[rows]
        return replace(
            self,
            basket=self.basket[at],
            events=self.events.take(at) if self.events is not None else None,
            interest=self.interest[at] if self.interest is not None else None,
            features=self.features[at] if self.features is not None else None,
            observed=self.observed[at] if self.observed is not None else None,
        )

    def within(self, n_items: int) -> Self:
        """The same for a model of `n_items` items: later ones are unknown to it."""
        events = self.events.within(n_items) if self.events is not None else None
        return replace(self, basket=align(self.basket, n_items), events=events)

    def only(self, views: Sequence[str]) -> Self:
        """The others are missing for everyone."""
        kept = (
            self
            if "basket" in views
            else replace(self, basket=csr_matrix(self.basket.shape, dtype=np.float32))
        )
        if "features" not in views:
            kept = replace(kept, features=None, observed=None)
        gone = {name: None for name in ("events", "interest") if name not in views}
        return replace(kept, **gone) if gone else kept

    @classmethod
    def joined(cls, parts: Sequence["Views"]) -> "Views":
        """Customers of several, one after the other; all have the same views."""

        def arrays(name: str) -> np.ndarray | None:
            found = [getattr(p, name) for p in parts]
            return None if found[0] is None else np.concatenate(found)

        events = [p.events for p in parts if p.events is not None]
        return Views(
            csr_matrix(vstack([p.basket for p in parts], format="csr")),
            Events.joined(events) if events else None,
            arrays("interest"),
            arrays("features"),
            arrays("observed"),
        )
