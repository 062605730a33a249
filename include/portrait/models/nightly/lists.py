"""A saved model and tonight's data, ready to list items: one way to ask every kind of model."""

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from scipy.sparse import csr_matrix, hstack

from portrait.config import Settings
from portrait.models import load
from portrait.models.base import Recommender
from portrait.models.nightly.inputs import Inputs, Part
from portrait.models.nightly.ranker import is_saved, open_ranker
from portrait.models.reasons import Affinity
from portrait.models.rerank.model import NightlyRecommender
from portrait.run import Run

Listed = tuple[np.ndarray, np.ndarray]
"""items int32 [n, k], -1 where there are fewer; scores float32 [n, k], comparable within a row."""


class Lists(Protocol):
    """The k best items of these rows of tonight's matrices.

    `exclude` and `only` are csr_matrix [n, items]: items never, or alone, to be listed.
    """

    def __call__(
        self, rows: np.ndarray, k: int, exclude: csr_matrix | None = None, only: csr_matrix | None = None
    ) -> Listed: ...

    def affinity(self, bought: csr_matrix) -> Affinity | None:
        """What says which purchase speaks for a listed item."""


@dataclass(frozen=True)
class HistoryLists:
    """Lists of a model that needs a customer's weights alone."""

    model: Recommender
    history: csr_matrix

    def __call__(
        self, rows: np.ndarray, k: int, exclude: csr_matrix | None = None, only: csr_matrix | None = None
    ) -> Listed:
        history = self.history[rows]
        if self.model.n_items > history.shape[1]:
            exclude = _and_beyond(exclude, history.shape, self.model.n_items)
        if only is None:
            return self.model.recommend(history, k, exclude_seen=False, exclude=exclude)
        wanted = only if exclude is None else csr_matrix(only - only.multiply(exclude > 0))
        wanted.eliminate_zeros()
        return self.model.recommend_among(history, wanted, k)

    def affinity(self, bought: csr_matrix) -> Affinity | None:
        return self.model.affinity(bought)


@dataclass(frozen=True)
class RankerLists:
    """Lists of a ranker that looks at tonight's log."""

    model: NightlyRecommender

    def __call__(
        self, rows: np.ndarray, k: int, exclude: csr_matrix | None = None, only: csr_matrix | None = None
    ) -> Listed:
        return self.model.recommend(rows, k, exclude, only)

    def affinity(self, bought: csr_matrix) -> Affinity | None:
        return self.model.affinity()


def _and_beyond(exclude: csr_matrix | None, shape: tuple[int, int], n_items: int) -> csr_matrix:
    """What is excluded, and every item beyond tonight's: an earlier version may know some that are gone since."""
    n_rows, width = shape
    known = csr_matrix(shape, dtype=np.float32) if exclude is None else csr_matrix(exclude)[:, :width]
    return csr_matrix(hstack([known, np.ones((n_rows, n_items - width), dtype=np.float32)]))


@dataclass
class Opener:
    """Opens saved models that list by what was known at the end of a part of tonight's data.

    What one ranker sees is kept for the next: to make it takes longer than to score ten thousand customers.
    """

    settings: Settings
    run: Run
    inputs: Inputs
    part: Part
    ranker: NightlyRecommender | None = None

    def __call__(self, folder: Path) -> Lists:
        """Raises PortraitError if there is no readable model in the folder."""
        if is_saved(folder):
            self.ranker = open_ranker(self.settings, self.run, self.inputs, self.part, folder, self.ranker)
            return RankerLists(self.ranker)
        model = load(folder, self.settings.models.threads, self.settings.models.device)
        return HistoryLists(model, self.inputs.matrix(f"{self.part}_weights"))
