"""A saved model and tonight's data, ready to list items: one way to ask every kind of model."""

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from scipy.sparse import csr_matrix

from portrait.config import Settings
from portrait.models import load
from portrait.models.base import Recommender
from portrait.models.nightly import ranker
from portrait.models.nightly.inputs import Inputs, Part
from portrait.models.ranking import PADDING
from portrait.models.reasons import Affinity
from portrait.models.rerank.model import NightlyRecommender
from portrait.run import Run

DEPTH = 10
"""Lists of some items only are read out of lists so many times as long, where a model cannot be asked for them."""

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
        depth = k if only is None else min(DEPTH * k, only.shape[1])
        items, scores = self.model.recommend(self.history[rows], depth, exclude_seen=False, exclude=exclude)
        return (items, scores) if only is None else _of(only, items, scores, k)

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


def open_lists(settings: Settings, run: Run, inputs: Inputs, part: Part, folder: Path) -> Lists:
    """The model saved in a folder, listing by what was known at the end of a part of tonight's data.

    Raises
    ------
    PortraitError : if there is no readable model in the folder.
    """
    if ranker.is_saved(folder):
        return RankerLists(ranker.open_ranker(settings, run, inputs, part, folder))
    return HistoryLists(load(folder, settings.models.threads), inputs.matrix(f"{part}_weights"))


def _of(only: csr_matrix, items: np.ndarray, scores: np.ndarray, k: int) -> Listed:
    """The first k of each list that are in a row of `only`."""
    width = only.shape[1]
    rows = np.repeat(np.arange(len(items)), items.shape[1])
    known = (items >= 0) & (items < width)
    asked = np.where(known, items, 0).ravel()
    wanted = csr_matrix((np.ones(only.nnz, bool), only.indices, only.indptr), shape=only.shape)
    hit = np.asarray(wanted[rows, asked]).reshape(items.shape) & known
    # A stable sort moves the hits to the front and keeps their order.
    order = np.argsort(~hit, axis=1, kind="stable")[:, :k]
    kept = np.take_along_axis(hit, order, axis=1)
    return (
        np.where(kept, np.take_along_axis(items, order, axis=1), PADDING),
        np.where(kept, np.take_along_axis(scores, order, axis=1), -np.inf),
    )
