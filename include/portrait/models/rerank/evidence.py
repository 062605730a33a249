"""Candidates of a customer, and everything known of each of them at one moment."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from scipy.sparse import csr_matrix

from portrait.models.base import Recommender
from portrait.models.ranking import greatest, row_chunks, spread_evenly
from portrait.models.rerank.autoencoder import Decoded
from portrait.models.rerank.habits import Columns, Habits, habits
from portrait.models.rerank.linear import Linear, Moments, check_memory, ease, kept_items, moments, transition
from portrait.models.rerank.purchases import Purchases
from portrait.models.rerank.recipe import Recipe
from portrait.models.rerank.side import Declared, Side, Words
from portrait.models.rerank.similar import Similar, binary, recent_share

RECENT = 5
"""Baskets of a similar customer that count as recent."""

COMPARED_WITH = 10
"""A score is also given relative to the customer's score in this place."""

BEHAVIOUR = "weight"
"""The signal that the autoencoder reads, of all behaviour; without it, the log's purchases."""


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
    decoded: Decoded | None
    similar: Similar
    shares: dict[str, csr_matrix]
    side: Side
    declared: Declared | None
    words: Words | None
    popular: np.ndarray

    def read_by(self, autoencoder: Recommender | None) -> "Evidence":
        """The same log, its histories read by another autoencoder."""
        if autoencoder is None or self.decoded is None:
            return replace(self, decoded=None)
        return replace(self, decoded=Decoded(autoencoder, self.decoded.history))

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
        for some in self.parts(rows):
            yield self.chunk(some, label_models)

    def parts(self, rows: np.ndarray) -> list[np.ndarray]:
        """These customers in portions of which `chunk` takes little memory."""
        cells = max(self.log.n_items, len(self.similar.reference))
        return [rows[part] for part in row_chunks(len(rows), cells)]

    def chunk(self, rows: np.ndarray, label_models: list[LabelModels]) -> "Chunk":
        """Candidates of these customers, all at once."""
        near = self.similar.near(rows)
        dense = {name: model.scores(rows) for name, model in self.linear.items()}
        if self.decoded is not None:
            dense["autoencoder"] = self.decoded.scores(rows)
        dense |= {name: _dense(near @ bought) for name, bought in self.shares.items()}
        scored = {n: _Scored.of(scores, self.recipe.candidates_per_model) for n, scores in dense.items()}
        signals = {name: csr_matrix(pairs[rows]) for name, pairs in self.side.signals.items()}
        known = {n: m.scores(rows) for n, m in self.side_models.items()}
        wanted = self._candidates(rows, scored, signals, known)
        local, item = np.nonzero(wanted)
        customer = rows[local]
        columns = self.habits.columns(customer, item)
        for name, scores in scored.items():
            columns |= scores.columns(name, local, item)
        for name, pairs in signals.items():
            columns[f"signal_{name}"] = _stored(pairs, local, item)
        for name, model in self.side_models.items():
            columns |= model.columns(known[name], local, item)
        if self.side.new is not None:
            columns["new"] = self.side.new[item]
            columns["new_rate"] = columns["item_baskets"] / (columns["new"] + 1)
        labelled = []
        for models in label_models:
            found = {"next_popularity": models.popularity[item]}
            found["next_similar"] = _dense(near @ models.bought)[local, item]
            following = _Scored.of(models.transition.scores(rows), COMPARED_WITH)
            found |= following.columns("next_transition", local, item)
            labelled.append(found)
        return Chunk(rows, local, customer, item, columns, labelled)

    @property
    def side_models(self) -> dict[str, Declared | Words]:
        """Those there are of the models that side information makes."""
        found: dict[str, Declared | Words] = {}
        if self.declared is not None:
            found["declared"] = self.declared
        if self.words is not None:
            found["words"] = self.words
        return found

    def _candidates(
        self,
        rows: np.ndarray,
        scored: dict[str, "_Scored"],
        signals: dict[str, csr_matrix],
        known: dict[str, np.ndarray],
    ) -> np.ndarray:
        """bool [len(rows), n_items]: own history, what is popular lately, the best of each model; of who has no history, what
        customers like them buy; and of the items that hardly anybody bought, those that are called like what they touched."""
        wanted = np.zeros((len(rows), self.log.n_items), dtype=bool)
        wanted[:, self.popular] = True
        for pairs in (csr_matrix(self.log.counts[rows]), *signals.values()):
            wanted[_owner(pairs), pairs.indices] = True
        for scores in scored.values():
            np.put_along_axis(wanted, scores.best(self.recipe.candidates_per_model), True, axis=1)
        if self.declared is not None:
            strangers = self._strangers(rows, signals)
            number = min(self.recipe.candidates_per_model, self.log.n_items)
            wanted[strangers[:, None], greatest(known["declared"][strangers], number)] = True
        if self.words is not None and (number := min(self.recipe.fresh, len(self.words.fresh))):
            np.put_along_axis(wanted, self.words.fresh[greatest(known["words"], number)], True, axis=1)
        return wanted

    def _strangers(self, rows: np.ndarray, signals: dict[str, csr_matrix]) -> np.ndarray:
        """int [any]: places of those who did nothing that is known."""
        did = self.log.n_baskets[rows] > 0
        for known in signals.values():
            did |= np.diff(known.indptr) > 0
        return np.flatnonzero(~did)


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

    @property
    def own(self) -> np.ndarray:
        """bool [pairs]: whether the customer bought the item before."""
        return ~np.isnan(self.columns["count"])

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


def evidence(
    log: Purchases,
    recipe: Recipe,
    side: Side | None = None,
    autoencoder: Recommender | None = None,
    seed: int = 0,
    threads: int = 0,
    device: str = "auto",
) -> Evidence:
    """Everything that the recipe asks for, from one log.

    Parameters
    ----------
    autoencoder : Recommender, optional
        Trained on an earlier log; without it, one is trained on this, by the seed.

    Raises
    ------
    PortraitError
        If side information is not of the log's shape, or the linear models would not fit into memory.
    """
    side = (side or Side()).checked(log)
    told = side.profile if recipe.declared else None
    behaviour = csr_matrix(side.signals.get(BEHAVIOUR, log.counts))
    kept = kept_items(log, recipe.linear_least, recipe.linear_items)
    check_memory(len(kept), recipe.memory_limit_gb)
    reference = spread_evenly(log.n_customers, recipe.reference_customers)
    decoded = None
    if recipe.autoencoder:
        decoded = (
            Decoded(autoencoder, behaviour)
            if autoencoder is not None
            else Decoded.trained(recipe, behaviour, seed, threads, device)
        )
    some = spread_evenly(log.n_customers, recipe.linear_customers)
    theirs = log if len(some) == log.n_customers else log.where(np.isin(log.customer, some))
    known = moments(theirs, kept, recipe.half_life, recipe.deep)
    lately = np.bincount(log.item[log.age == 0], minlength=log.n_items)
    return Evidence(
        recipe=recipe,
        log=log,
        habits=habits(log),
        moments=known,
        linear={
            "ease": ease(log, kept, recipe.regularisation, some),
            "transition": transition(log, known, recipe.regularisation),
        },
        decoded=decoded,
        similar=Similar(binary(log), reference, recipe.neighbours),
        shares={
            "similar_last": log.basket_from_end(0)[reference],
            "similar_recent": recent_share(log, RECENT)[reference],
        },
        side=side,
        declared=Declared.of(log, told) if told is not None else None,
        words=Words(behaviour, side.text, _fresh(log, side, recipe)) if side.text is not None else None,
        popular=np.argsort(-lately, kind="stable")[: recipe.popular],
    )


def _fresh(log: Purchases, side: Side, recipe: Recipe) -> np.ndarray:
    """Items on sale that too few baskets held for the linear models."""
    bought = np.bincount(log.item, minlength=log.n_items)
    there = bought > 0
    for known in side.signals.values():
        there |= known.getnnz(axis=0) > 0
    if side.new is not None:
        there |= ~np.isnan(side.new)
    return np.flatnonzero(there & (bought < recipe.linear_least))


def _dense(scores: csr_matrix) -> np.ndarray:
    return np.asarray(scores.toarray(), dtype=np.float32)


def _owner(known: csr_matrix) -> np.ndarray:
    """int [nnz]: the row of each stored cell."""
    return np.repeat(np.arange(known.shape[0]), np.diff(known.indptr))


def _stored(known: csr_matrix, local: np.ndarray, item: np.ndarray) -> np.ndarray:
    """float32 [pairs]: the cells of pairs in order, every stored one among them; NaN where nothing is stored."""
    width = np.int64(known.shape[1])
    found = np.full(len(local), np.nan, dtype=np.float32)
    found[np.searchsorted(local * width + item, _owner(known) * width + known.indices)] = known.data
    return found


@dataclass(frozen=True, eq=False)
class _Scored:
    """A model's scores of all items, float32 [customers, items], and the columns of each customer's greatest."""

    scores: np.ndarray
    top: np.ndarray

    @classmethod
    def of(cls, scores: np.ndarray, most: int) -> "_Scored":
        """`most` greatest scores will be asked for."""
        return cls(scores, greatest(scores, min(max(most, COMPARED_WITH), scores.shape[1])))

    def best(self, number: int) -> np.ndarray:
        """int [customers, number]: columns of the greatest scores."""
        if number >= self.top.shape[1]:
            return self.top
        among = greatest(np.take_along_axis(self.scores, self.top, axis=1), number)
        return np.take_along_axis(self.top, among, axis=1)

    def columns(self, name: str, local: np.ndarray, item: np.ndarray) -> Columns:
        """A score, and how it compares with the best ones of the same customer."""
        place = max(self.top.shape[1] - COMPARED_WITH, 0)
        level = np.partition(np.take_along_axis(self.scores, self.top, axis=1), place, axis=1)[:, place]
        value = self.scores[local, item]
        return {name: value, f"{name}_relative": value / (level[local] + np.float32(1e-6))}
