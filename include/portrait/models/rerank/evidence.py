"""Candidates of a customer, and everything known of each of them at one moment."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_matrix

from portrait.errors import PortraitError
from portrait.models.ranking import row_chunks
from portrait.models.rerank.habits import Columns, Habits, habits
from portrait.models.rerank.linear import Linear, Moments, check_memory, ease, kept_items, moments, transition
from portrait.models.rerank.purchases import Purchases
from portrait.models.rerank.recipe import Recipe
from portrait.models.rerank.similar import Similar, binary, recent_share

RECENT = 5
"""Baskets of a similar customer that count as recent."""

COMPARED_WITH = 10
"""A score is also given relative to the customer's score in this place."""


Signals = dict[str, csr_matrix]
"""Name -> float32 [customers, items]: what else is known of some pairs, each a candidate and a column.

For instance the weight of views and carts, or the best scores of an autoencoder; as of the log's end.
"""


@dataclass(frozen=True, eq=False)
class LabelModels:
    """Models of the baskets that came next, learnt from some customers, for the judgement of others.

    A ranker may only see what these say of customers whose own next baskets they do not know.

    Attributes
    ----------
    popularity : float32 [n_items], share of those customers who had the item next.
    transition : the linear model of the next basket, with theirs among its examples.
    bought : float32 [reference customers, n_items], their next baskets; empty rows for all others.
    """

    popularity: np.ndarray
    transition: Linear
    bought: csr_matrix


@dataclass(frozen=True, eq=False)
class Evidence:
    """All that a log tells; immutable, and blind to what comes after the log."""

    recipe: Recipe
    log: Purchases
    habits: Habits
    moments: Moments
    linear: dict[str, Linear]
    similar: Similar
    shares: dict[str, csr_matrix]
    signals: Signals
    popular: np.ndarray

    def label_models(self, labels: csr_matrix, rows: np.ndarray) -> LabelModels:
        """Learnt from the next baskets of the customers `rows`."""
        chosen = np.zeros(self.log.n_customers, dtype=np.float32)
        chosen[rows] = 1
        bought = csr_matrix(labels.multiply(chosen[:, None]).astype(np.float32))
        bought.eliminate_zeros()
        return LabelModels(
            popularity=np.asarray(bought.sum(axis=0), dtype=np.float32).ravel() / max(len(rows), 1),
            transition=transition(self.log, self.moments, self.recipe.regularisation, labels, rows),
            bought=bought[self.similar.reference],
        )

    def chunks(self, rows: np.ndarray, label_models: list[LabelModels]) -> Iterator["Chunk"]:
        """Candidates of these customers, some customers at a time."""
        for part in row_chunks(len(rows), max(self.log.n_items, len(self.similar.reference))):
            yield self._chunk(rows[part], label_models)

    def _chunk(self, rows: np.ndarray, label_models: list[LabelModels]) -> "Chunk":
        near = self.similar.near(rows)
        dense = {name: model.scores(rows) for name, model in self.linear.items()}
        dense.update({name: _dense(near @ bought) for name, bought in self.shares.items()})
        local, item = np.nonzero(self._candidates(rows, dense))
        customer = rows[local]
        columns = self.habits.columns(customer, item)
        for name, scores in dense.items():
            columns.update(_score_columns(name, scores, local, item))
        for name, known in self.signals.items():
            columns[f"signal_{name}"] = _stored(known[rows])[local, item]
        labelled = []
        for models in label_models:
            found = {"next_popularity": models.popularity[item]}
            found["next_similar"] = _dense(near @ models.bought)[local, item]
            found.update(_score_columns("next_transition", models.transition.scores(rows), local, item))
            labelled.append(found)
        return Chunk(rows, local, customer, item, columns, labelled)

    def _candidates(self, rows: np.ndarray, dense: dict[str, np.ndarray]) -> np.ndarray:
        """bool [len(rows), n_items]: own history, what is popular lately, and the best of each model."""
        wanted = np.zeros((len(rows), self.log.n_items), dtype=bool)
        wanted[:, self.popular] = True
        for known in (self.log.counts, *self.signals.values()):
            wanted |= ~np.isnan(_stored(known[rows]))
        best = min(self.recipe.candidates_per_model, self.log.n_items)
        for scores in dense.values():
            top = np.argpartition(scores, self.log.n_items - best, axis=1)[:, self.log.n_items - best :]
            np.put_along_axis(wanted, top, True, axis=1)
        return wanted


@dataclass(frozen=True, eq=False)
class Chunk:
    """Candidate pairs of the customers `rows`, in their order, then that of the items.

    `local` is the place of a pair's customer in `rows`; `labelled` has the columns of each label model.
    """

    rows: np.ndarray
    local: np.ndarray
    customer: np.ndarray
    item: np.ndarray
    columns: Columns
    labelled: list[Columns]

    def matrix(self, label_model: int | None, kept: np.ndarray | None = None) -> tuple[np.ndarray, list[str]]:
        """float32 [pairs, columns] and the columns' names, with those of one label model (None: without)."""
        columns = dict(self.columns)
        if label_model is not None:
            columns.update(self.labelled[label_model])
        names = sorted(columns)
        part = slice(None) if kept is None else kept
        table = np.empty((len(self.item[part]), len(names)), dtype=np.float32)
        for place, name in enumerate(names):
            table[:, place] = columns[name][part]
        return table, names


def evidence(log: Purchases, recipe: Recipe, signals: Signals | None = None) -> Evidence:
    """Everything that the recipe asks for, from one log.

    Raises
    ------
    PortraitError
        If a signal is not of the log's shape, or the linear models would not fit into memory.
    """
    for name, known_pairs in (signals or {}).items():
        if known_pairs.shape != (log.n_customers, log.n_items):
            raise PortraitError(
                f"signal '{name}' is {known_pairs.shape}, the log is of {(log.n_customers, log.n_items)}"
            )
    kept = kept_items(log, recipe.linear_least, recipe.linear_items)
    check_memory(len(kept), recipe.memory_limit_gb)
    reference = _reference(log.n_customers, recipe.reference_customers)
    known = moments(log, kept, recipe.half_life, recipe.deep)
    lately = np.bincount(log.item[log.age == 0], minlength=log.n_items)
    return Evidence(
        recipe=recipe,
        log=log,
        habits=habits(log),
        moments=known,
        linear={
            "ease": ease(log, kept, recipe.regularisation),
            "transition": transition(log, known, recipe.regularisation),
        },
        similar=Similar(binary(log), reference, recipe.neighbours),
        shares={
            "similar_last": log.basket_from_end(0)[reference],
            "similar_recent": recent_share(log, RECENT)[reference],
        },
        signals={name: csr_matrix(known_pairs) for name, known_pairs in (signals or {}).items()},
        popular=np.argsort(-lately, kind="stable")[: recipe.popular],
    )


def _reference(n_customers: int, most: int) -> np.ndarray:
    """Rows compared with, ascending: all, or so many spread evenly."""
    if n_customers <= most:
        return np.arange(n_customers)
    return np.unique(np.linspace(0, n_customers - 1, most).astype(np.int64))


def _dense(scores: csr_matrix) -> np.ndarray:
    return np.asarray(scores.toarray(), dtype=np.float32)


def _stored(known: csr_matrix) -> np.ndarray:
    """float32 of the same shape, NaN where nothing is stored."""
    found = np.full(known.shape, np.nan, dtype=np.float32)
    found[np.repeat(np.arange(known.shape[0]), np.diff(known.indptr)), known.indices] = known.data
    return found


def _score_columns(name: str, scores: np.ndarray, local: np.ndarray, item: np.ndarray) -> Columns:
    """A score, and how it compares with the best ones of the same customer."""
    place = max(scores.shape[1] - COMPARED_WITH, 0)
    level = np.partition(scores, place, axis=1)[:, place]
    value = scores[local, item]
    return {name: value, f"{name}_relative": value / (level[local] + np.float32(1e-6))}
