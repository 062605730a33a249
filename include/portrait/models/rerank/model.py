"""The nightly recommender as a whole: learn from logs and what was bought after them, then order candidates."""

import json
import logging
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self

import numpy as np
from scipy.sparse import csr_matrix, load_npz, save_npz, vstack

from portrait.drafts import draft_of
from portrait.errors import PortraitError
from portrait.models import load
from portrait.models.base import Recommender
from portrait.models.ranking import PADDING, best_pairs, row_chunks, spread_evenly
from portrait.models.reasons import Affinity, WeightAffinity
from portrait.models.rerank.evidence import Evidence, LabelModels, evidence
from portrait.models.rerank.purchases import Purchases
from portrait.models.rerank.ranker import Ranker, fit_ranker
from portrait.models.rerank.recipe import NAME, Recipe
from portrait.models.rerank.side import Side
from portrait.models.workers import workers

log = logging.getLogger(__name__)

FORMAT = 3
METADATA_FILE = "nightly.json"
LABELS_FILE = "labels.npz"
FOLDS_FILE = "folds.npy"
AUTOENCODER_FOLDER = "autoencoder"
UNTRAINED = -1
"""Fold of a customer who was not trained on."""
KEPT_CUSTOMERS = 200_000
"""Scores of so many customers' candidates are kept (12 bytes each): lists of new and of repeated items, and of fewer customers,
are cut from the same order, which costs much more than the cutting."""
KEPT_CELLS = 500
"""About what a customer's candidates are, for the size of a chunk."""


@dataclass(eq=False)
class NightlyRecommender:
    """Orders a customer's candidates by rankers that learnt what was bought after a log.

    With `folds` of 2 or more the rankers also see models of the next baskets themselves, each cross-fitted: the
    label models of a fold learn from the customers of all other folds, its ranker from the fold's own. That is
    for logs whose customers are not on one calendar (a benchmark's numbered baskets). Where days are known set
    `folds=1`: next baskets of other customers are then in the future, too.

    Columns of a log are blind to what comes after it. `observe` a later log to recommend from it. The autoencoder is trained on the
    log that is learnt from and stays as it is: it reads later histories, too.
    """

    recipe: Recipe = field(default_factory=Recipe)
    threads: int = 0
    device: str = "auto"
    seed: int = 0
    rankers: list[Ranker] = field(default_factory=list)
    labels: csr_matrix | None = None
    folds: np.ndarray | None = None
    autoencoder: Recommender | None = None
    evidence: Evidence | None = None
    label_models: list[LabelModels] = field(default_factory=list)
    kept: "_Kept | None" = None

    def fit(
        self,
        purchases: Purchases,
        labels: csr_matrix,
        rows: np.ndarray,
        seed: int = 0,
        side: Side | None = None,
    ) -> Self:
        """Learn from a log and what some customers bought after it.

        Parameters
        ----------
        purchases : Purchases
            The log; nothing in it may be later than the labels.
        labels : csr_matrix [n_customers, n_items]
            Positive where the item was bought next.
        rows : int [any]
            Customers to learn from; labels of all others are not looked at. Nor do they learn from customers
            without any label, who teach no order.
        side : Side, optional
            What else was known at the log's end; `observe` wants the same.

        Raises
        ------
        PortraitError
            If the shapes differ, the log is empty, or too few customers have a label.
        """
        if not len(purchases):
            raise PortraitError(
                f"model '{NAME}': nothing was bought before the days that it learns from; load more history or take shorter windows"
            )
        known = evidence(purchases, self.recipe, side, seed=seed, threads=self.threads, device=self.device)
        return self.learn(known, labels, rows, seed)

    def learn(self, known: Evidence, labels: csr_matrix, rows: np.ndarray, seed: int = 0) -> Self:
        """`fit` on evidence that is there already; it depends on the log and the recipe alone.

        Raises
        ------
        PortraitError
            If the shapes differ, or too few customers have a label.
        """
        shape = known.log.n_customers, known.log.n_items
        if labels.shape != shape:
            raise PortraitError(f"model '{NAME}': labels are {labels.shape}, the log is of {shape}")
        labels = _of_rows(labels, rows)
        rows = np.flatnonzero(np.diff(labels.indptr))
        rows = rows[spread_evenly(len(rows), self.recipe.learning_customers)]
        self.seed, self.labels = seed, _of_rows(labels, rows)
        if len(rows) < 2 * self.recipe.folds:
            raise PortraitError(
                f"model '{NAME}': {len(rows)} customers bought something after the log; {2 * self.recipe.folds} are "
                "the least to learn from: take a longer window or fewer folds"
            )
        random = np.random.default_rng(seed)
        self.folds = np.full(shape[0], UNTRAINED, dtype=np.int8)
        self.folds[rows] = random.permutation(np.arange(len(rows)) % self.recipe.folds)
        self.autoencoder = known.decoded.model if known.decoded is not None else None
        self._look_at(known)
        self.rankers = []
        for fold in range(self.recipe.folds):
            table, label, customer, names = self._examples(fold, random)
            self.rankers.append(
                fit_ranker(table, label, customer, names, self.recipe, seed + fold, self.threads)
            )
            log.info("ranker %d of %d: %d examples", fold + 1, self.recipe.folds, len(label))
        return self

    def observe(self, purchases: Purchases, side: Side | None = None) -> Self:
        """Recommend from this log from now on; the rankers stay as they are."""
        self._look_at(evidence(purchases, self.recipe, side, self.autoencoder))
        return self

    def observe_as(self, other: "NightlyRecommender") -> bool:
        """`observe` what another model observes, without making its evidence again; False where the recipes differ."""
        if other.evidence is None or other.recipe != self.recipe:
            return False
        self._look_at(other.evidence.read_by(self.autoencoder))
        return True

    def _look_at(self, known: Evidence) -> None:
        self.evidence, self.kept = known, None
        self.label_models = []
        if self.recipe.folds > 1 and self.labels is not None and self.folds is not None:
            for fold in range(self.recipe.folds):
                others = np.flatnonzero((self.folds != fold) & (self.folds != UNTRAINED))
                self.label_models.append(known.label_models(self.labels, others))

    def recommend(
        self, rows: np.ndarray, k: int, exclude: csr_matrix | None = None, only: csr_matrix | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """The k best items for each of these customers of the observed log, best first.

        Parameters
        ----------
        rows : int [n]
        exclude, only : csr_matrix [n, n_items], optional
            Items never, or alone, to be recommended: what was bought, for lists of new and of repeated items.

        Returns
        -------
        items : int32 [n, k]
            -1 where there are fewer candidates.
        scores : float32 [n, k]
            -inf at the padding. Comparable within a row only.

        Raises
        ------
        PortraitError
            If the model is not fitted, or no log was observed since it was loaded.
        """
        if not self.rankers or self.evidence is None:
            raise PortraitError(f"model '{NAME}' is not ready: call fit(), or load() and observe()")
        rows = np.asarray(rows)
        items = np.full((len(rows), k), PADDING, dtype=np.int32)
        values = np.full((len(rows), k), -np.inf, dtype=np.float32)
        done = 0
        for local, item, score, count in self._scored(rows):
            part = slice(done, done + count)
            allowed = np.ones(len(score), dtype=bool)
            if exclude is not None:
                allowed &= ~_holds(exclude[part], local, item)
            if only is not None:
                allowed &= _holds(only[part], local, item)
            best_pairs(local[allowed], item[allowed], score[allowed], items[part], values[part])
            done = part.stop
        return items, values

    def _scored(self, rows: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray, int]]:
        """Of some customers at a time: place among them, item and score of every candidate, and how many they are."""
        if len(rows) > KEPT_CUSTOMERS:
            yield from self._fresh(rows)
            return
        if self.kept is None or not self.kept.has(rows):
            parts = [
                csr_matrix((score, (local, item)), shape=(count, self._log.n_items))
                for local, item, score, count in self._fresh(rows)
            ]
            self.kept = _Kept.of(rows, parts, self._log)
        for some in row_chunks(len(rows), KEPT_CELLS):
            cells = self.kept.of_customers(rows[some])
            local = np.repeat(np.arange(cells.shape[0]), np.diff(cells.indptr))
            yield local, cells.indices, cells.data, cells.shape[0]

    def _fresh(self, rows: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray, int]]:
        assert self.evidence is not None
        known = self.evidence

        def scored(some: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, int]:
            chunk = known.chunk(some, self.label_models)
            score = np.zeros(len(chunk.item))
            for fold, ranker in enumerate(self.rankers):
                table, names = chunk.matrix(fold if self.label_models else None)
                score += ranker.scores(table, chunk.local, chunk.own, names, threads=1)
            return chunk.local, chunk.item, score, len(chunk.rows)

        # Portions side by side rather than each by several threads: half of the work has no threads of its own.
        with ThreadPoolExecutor(workers().cores(self.threads)) as pool:
            yield from pool.map(scored, known.parts(rows))

    @property
    def _log(self) -> Purchases:
        assert self.evidence is not None
        return self.evidence.log

    def affinity(self) -> Affinity:
        """How much a bought item speaks for another: the weights of the linear model of what goes with what."""
        if self.evidence is None:
            raise PortraitError(f"model '{NAME}' is not ready: call fit(), or load() and observe()")
        linear = self.evidence.linear["ease"]
        place = np.full(linear.n_items, -1, dtype=np.int32)
        place[linear.kept] = np.arange(len(linear.kept))
        return WeightAffinity(linear.weights, place)

    def _examples(
        self, fold: int, random: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, list[str]]:
        """Candidates of a fold's customers: those bought, and some of those that were not."""
        assert self.evidence is not None
        assert self.labels is not None
        assert self.folds is not None
        tables, labels, customers = [], [], []
        names: list[str] = []
        models = self.label_models[fold : fold + 1]
        for chunk in self.evidence.chunks(np.flatnonzero(self.folds == fold), models):
            bought = _holds(self.labels[chunk.rows], chunk.local, chunk.item)
            chance = np.where(chunk.own, min(1.0, 2 * self.recipe.negatives), self.recipe.negatives)
            kept = bought | (random.random(len(bought)) < chance)
            # A customer none of whose purchases is a candidate teaches no order.
            kept &= np.isin(chunk.customer, chunk.customer[bought])
            table, names = chunk.matrix(0 if models else None, kept)
            tables.append(table)
            labels.append(bought[kept])
            customers.append(chunk.customer[kept])
        return np.concatenate(tables), np.concatenate(labels), np.concatenate(customers), names

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write rankers, autoencoder and labels as a folder; the log is not in it."""
        if not self.rankers or self.labels is None or self.folds is None:
            raise PortraitError(f"model '{NAME}' is not fitted: call fit() first")
        folder = Path(path)
        folder.mkdir(parents=True, exist_ok=True)
        save_npz(folder / LABELS_FILE, self.labels)
        np.save(folder / FOLDS_FILE, self.folds)
        content: dict[str, Any] = {"format": FORMAT, "seed": self.seed, "params": asdict(self.recipe)}
        content["rankers"] = [{"names": r.names, "texts": r.texts()} for r in self.rankers]
        if self.autoencoder is not None:
            self.autoencoder.save(folder / AUTOENCODER_FOLDER)
        with draft_of(folder / METADATA_FILE) as draft:
            draft.write_text(json.dumps(content), encoding="utf-8")

    @classmethod
    def load(cls, path: str | os.PathLike[str], threads: int = 0, device: str = "auto") -> Self:
        """Read what `save` wrote; `observe` a log before recommending.

        Raises
        ------
        PortraitError
            If there is no such model in the folder.
        """
        folder = Path(path)
        try:
            content = json.loads((folder / METADATA_FILE).read_text(encoding="utf-8"))
            labels, folds = csr_matrix(load_npz(folder / LABELS_FILE)), np.load(folder / FOLDS_FILE)
        except (OSError, ValueError) as error:
            raise PortraitError(f"{folder} holds no readable nightly model ({error}); train one") from error
        if content.get("format") != FORMAT:
            raise PortraitError(f"{folder}: format {content.get('format')}, this version reads {FORMAT}")
        model = cls(
            Recipe.of(content["params"]), threads, device, content["seed"], labels=labels, folds=folds
        )
        if model.recipe.autoencoder:
            model.autoencoder = load(folder / AUTOENCODER_FOLDER, threads, device)
        model.rankers = [Ranker.of_texts(r["names"], r["texts"]) for r in content["rankers"]]
        return model


@dataclass(frozen=True, eq=False)
class _Kept:
    """Scores of the candidates of some customers of a log: csr float64 [customers kept, n_items], zeros stored."""

    place: np.ndarray
    scores: csr_matrix

    @classmethod
    def of(cls, rows: np.ndarray, parts: list[csr_matrix], log: Purchases) -> Self:
        place = np.full(log.n_customers, -1, dtype=np.int64)
        place[rows] = np.arange(len(rows))
        return cls(place, csr_matrix(vstack(parts)) if parts else csr_matrix((0, log.n_items)))

    def has(self, rows: np.ndarray) -> bool:
        return bool((self.place[rows] >= 0).all())

    def of_customers(self, rows: np.ndarray) -> csr_matrix:
        return csr_matrix(self.scores[self.place[rows]])


def _of_rows(labels: csr_matrix, rows: np.ndarray) -> csr_matrix:
    """1 where a customer of `rows` has a positive label."""
    chosen = np.zeros(labels.shape[0], dtype=np.float32)
    chosen[rows] = 1
    found = csr_matrix((labels > 0).multiply(chosen[:, None]), dtype=np.float32)
    found.eliminate_zeros()
    return found


def _holds(matrix: csr_matrix, row: np.ndarray, column: np.ndarray) -> np.ndarray:
    """bool [pairs]: whether the matrix has a stored cell there."""
    matrix = csr_matrix(matrix)
    width = np.int64(matrix.shape[1])
    stored = np.repeat(np.arange(matrix.shape[0]), np.diff(matrix.indptr)) * width + matrix.indices
    return np.isin(row * width + column, stored)
