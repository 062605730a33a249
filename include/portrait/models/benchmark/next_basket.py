"""The next basket: who buys what when they come again, repeat purchases included.

Protocol and metrics of Li, Jullien, Ariannezhad, de Rijke, A Next Basket Recommendation Reality Check (TOIS 2023).
"""

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from scipy.sparse import csr_matrix

from portrait.models.base import Recommender
from portrait.models.benchmark.baskets import Baskets, Keyset, read_baskets, read_keysets
from portrait.models.benchmark.report import Figure, Row
from portrait.models.benchmark.request import ModelRequest, Options
from portrait.models.benchmark.strong import configured
from portrait.models.benchmark.top_frequency import TopFrequency
from portrait.models.metrics import hit_rate_at_k, hits_at_k, n_relevant, recall_at_k
from portrait.models.rerank.purchases import Purchases
from portrait.models.tifu_knn import faded_by_group

log = logging.getLogger(__name__)

K = 10
SHOWN_FROM_VALIDATION = f"NDCG@{K}"


class BasketModel(Protocol):
    """What this protocol asks of a model."""

    params: dict[str, Any]

    def fit(self, baskets: Baskets, keyset: Keyset, seed: int) -> None:
        """Learn from everybody's history and the future baskets of the customers to train on."""
        ...

    def lists(self, rows: np.ndarray, k: int) -> np.ndarray:
        """int [len(rows), k]: items for these customers, best first, -1 = none."""
        ...


class FromMatrix:
    """A `Recommender` on what everybody bought before; repeats are allowed, future baskets are not looked at."""

    def __init__(self, model: Recommender) -> None:
        self.model, self.params = model, model.lasting_params

    def fit(self, baskets: Baskets, keyset: Keyset, seed: int) -> None:
        """TIFU-KNN compares with the customers to train on, as published; the others learn from all histories."""
        self.histories = history_matrix(self.model.name, baskets.history)
        known = self.histories[keyset.train] if self.model.name == "tifu_knn" else self.histories
        validation = self.histories[keyset.validation], baskets.future[keyset.validation]
        self.model.fit(known, validation if len(keyset.validation) else None, seed)

    def lists(self, rows: np.ndarray, k: int) -> np.ndarray:
        return self.model.recommend(self.histories[rows], k, exclude_seen=False)[0]


def history_matrix(model: str, log: Purchases) -> csr_matrix:
    """Baskets that held an item, float32 [customers, items]; for TIFU-KNN faded as in its paper."""
    if model == "tifu_knn":
        return log.weighted(faded_by_group(log.basket, log.n_baskets[log.customer]))
    return log.counts


def run(folder: Path, requests: Sequence[ModelRequest], options: Options) -> Iterator[Row]:
    """Fit and judge each model on every keyset; a figure is the mean over keysets of the mean over test customers.

    Beside the registered models it knows `p_topfreq`, `gp_topfreq` and `nightly`. `Repeat` and `Explore` are the
    recall of the items that the customer had and had not bought before, over the customers who have any. The
    standard errors are those of the customers; keysets share customers, which they leave out of account.
    """
    models = [_configured(request, options) for request in requests]
    baskets = read_baskets(folder)
    keysets = read_keysets(folder, baskets.users, options.keysets)
    log.info(
        "%s: %d customers, %d items, %d keysets",
        folder.name,
        len(baskets.users),
        len(baskets.items),
        len(keysets),
    )
    for request, model in zip(requests, models, strict=True):
        tests, validations, seconds = [], [], 0.0
        for keyset in keysets:
            started = time.monotonic()
            model.fit(baskets, keyset, options.seed)
            seconds += time.monotonic() - started
            tests.append(judge(model, baskets, keyset.test))
            if len(keyset.validation):
                figure = judge(model, baskets, keyset.validation)[SHOWN_FROM_VALIDATION]
                validations.append({SHOWN_FROM_VALIDATION: figure})
            log.info("%s, %s: %s", request.name, keyset.name, {n: str(f) for n, f in tests[-1].items()})
        yield Row(request.name, _mean(tests), _mean(validations), seconds, model.params)


def judge(model: BasketModel, baskets: Baskets, rows: np.ndarray) -> dict[str, Figure]:
    """Recall@10, NDCG@10, PHR@10, and recall of repeated and of new items, over the customers of `rows`."""
    lists = model.lists(rows, K)
    relevant = baskets.future[rows]
    repeated = csr_matrix(relevant.multiply(baskets.history.counts[rows] > 0))
    repeated.eliminate_zeros()
    explored = csr_matrix(relevant - repeated)
    explored.eliminate_zeros()
    return {
        f"Recall@{K}": _figure(recall_at_k(lists, relevant, K)),
        f"NDCG@{K}": _figure(basket_ndcg(lists, relevant, K)),
        f"PHR@{K}": _figure(hit_rate_at_k(lists, relevant, K)),
        f"Repeat@{K}": _figure(recall_at_k(lists, repeated, K)),
        f"Explore@{K}": _figure(recall_at_k(lists, explored, K)),
    }


def basket_ndcg(recommended: np.ndarray, relevant: csr_matrix, k: int) -> np.ndarray:
    """NDCG as the Reality Check's code has it: the ideal list is as long as the basket, also beyond k.

    Lower than `metrics.ndcg_at_k` for baskets of more than k items. float64 [n]; NaN for an empty basket.
    """
    gain = hits_at_k(recommended, relevant, k) @ (1 / np.log2(np.arange(2, k + 2)))
    count = n_relevant(relevant)
    longest = int(np.nanmax(count, initial=1))
    ideal = np.concatenate([[np.nan], np.cumsum(1 / np.log2(np.arange(2, longest + 2)))])
    return np.asarray(gain / ideal[np.nan_to_num(count).astype(int)])


def _figure(values: np.ndarray) -> Figure:
    """Mean over the customers for whom the metric is defined."""
    known = values[~np.isnan(values)]
    if not len(known):
        return Figure(float("nan"))
    return Figure(
        float(known.mean()), float(known.std(ddof=1) / np.sqrt(len(known))) if len(known) > 1 else None
    )


def _mean(figures: Sequence[dict[str, Figure]]) -> dict[str, Figure]:
    """The mean over keysets of each figure, with the error of a mean of independent ones."""
    found: dict[str, Figure] = {}
    for name in figures[0] if figures else ():
        values = [f[name].value for f in figures]
        errors = [f[name].standard_error for f in figures]
        known = [e for e in errors if e is not None]
        error = float(np.sqrt(np.square(known).sum()) / len(known)) if len(known) == len(errors) else None
        found[name] = Figure(float(np.mean(values)), error)
    return found


def _nightly(params: dict[str, Any], options: Options) -> BasketModel:
    from portrait.models.benchmark.nightly import NightlyBaskets

    return NightlyBaskets(params, options)


OWN: dict[str, Callable[[dict[str, Any], Options], BasketModel]] = {
    "p_topfreq": lambda params, options: TopFrequency(filled=False),
    "gp_topfreq": lambda params, options: TopFrequency(filled=True),
    "nightly": _nightly,
}
"""Models that need baskets, not a matrix."""


def _configured(request: ModelRequest, options: Options) -> BasketModel:
    if request.name in OWN:
        return OWN[request.name](request.params, options)
    return FromMatrix(configured(request, options))
