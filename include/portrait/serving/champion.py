"""Answers of the model in service, for a customer and the items at hand."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_matrix

from portrait.models import Recommender
from portrait.serving.histories import NOTHING, Histories

NO_CONSENT = "no_consent"
"""Basis of an answer to who does not allow personal recommendations."""
LENGTH = 10
"""Items of an answer, as the article has it."""


@dataclass(frozen=True)
class Question:
    """One customer (None: not known) and the items at hand, as skus."""

    customer_id: str | None
    item_ids: tuple[str, ...]
    impersonal: bool = False
    """Answer with what is popular: neither what they did nor what they have at hand may choose for them."""


@dataclass(frozen=True)
class Answer:
    """What to offer.

    Attributes
    ----------
    items, scores : best first; fewer than ten only where the assortment has no more that are not theirs.
    basis : `history+items`, `history`, `items`, `popularity` when nothing about the customer is known, or `no_consent`: what is
        popular, because the customer does not allow personal recommendations.
    ignored : item ids that the model has never seen.
    """

    items: list[str]
    scores: list[float]
    basis: str
    ignored: list[str]


class Champion:
    """The champion of slot `new` together with a night's histories.

    What the customer has bought, and what is at hand, is never offered back.
    """

    def __init__(
        self,
        version: str,
        model: Recommender,
        histories: Histories | None,
        skus: list[str],
        item_weight: float,
    ) -> None:
        self.version, self._model, self._histories, self._skus = version, model, histories, skus
        self._weight = item_weight
        same = histories is not None and skus is histories.skus
        self._columns = histories.columns if same and histories else {sku: c for c, sku in enumerate(skus)}

    def knows(self, customer_id: str) -> bool:
        """Whether the night has a row for this id."""
        return self._histories is not None and self._histories.row(customer_id) is not NOTHING

    def answer(self, questions: Sequence[Question]) -> list[Answer]:
        """Ten items for each question; one matrix product for all of them."""
        items: list[np.ndarray] = []
        weights: list[np.ndarray] = []
        excluded: list[np.ndarray] = []
        said: list[tuple[str, list[str]]] = []
        for question in questions:
            row = NOTHING
            if self._histories is not None and question.customer_id is not None and not question.impersonal:
                row = self._histories.row(question.customer_id)
            at_hand, ignored = self._known(question.item_ids)
            excluded.append(np.concatenate([row.bought, at_hand]))
            if question.impersonal:
                items.append(NOTHING.items)
                weights.append(NOTHING.weights)
                said.append((NO_CONSENT, ignored))
                continue
            items.append(np.concatenate([row.items, at_hand]))
            weights.append(np.concatenate([row.weights, np.full(len(at_hand), self._weight, np.float32)]))
            said.append((_basis(len(row.items), len(at_hand)), ignored))
        best, scores = self._model.recommend(
            self._matrix(items, weights),
            LENGTH,
            exclude=self._matrix(excluded, [np.ones(len(e), np.float32) for e in excluded]),
        )
        return [
            Answer([self._skus[c] for c in columns[columns >= 0]], values[columns >= 0].tolist(), *what)
            for columns, values, what in zip(best, scores, said, strict=True)
        ]

    def _known(self, item_ids: Sequence[str]) -> tuple[np.ndarray, list[str]]:
        """Columns of the items that the model knows (each once), and the ids of the others."""
        columns: dict[int, None] = {}
        ignored: list[str] = []
        for item_id in item_ids:
            column = self._columns.get(item_id)
            if column is None or column >= self._model.n_items:
                ignored.append(item_id)
            else:
                columns[column] = None
        return np.fromiter(columns, np.int32, len(columns)), ignored

    def _matrix(self, items: list[np.ndarray], values: list[np.ndarray]) -> csr_matrix:
        """Rows of columns and values; a column that comes twice in a row counts with its sum."""
        pointer = np.concatenate([[0], np.cumsum([len(i) for i in items])]).astype(np.int32)
        shape = (len(items), max(len(self._skus), self._model.n_items))
        matrix = csr_matrix((np.concatenate(values), np.concatenate(items), pointer), shape=shape)
        matrix.sum_duplicates()
        return matrix


def _basis(history: int, at_hand: int) -> str:
    if history and at_hand:
        return "history+items"
    return "history" if history else "items" if at_hand else "popularity"
