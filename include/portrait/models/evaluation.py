"""How good a fitted model is: on a time-based holdout, against another model, and as papers measure it."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from scipy.sparse import csr_matrix
from scipy.stats import bootstrap

from portrait.models.base import Pair, Recommender
from portrait.models.metrics import (
    average_precision_at_k,
    coverage_at_k,
    f1_at_k,
    hit_rate_at_k,
    ndcg_at_k,
    novelty_at_k,
    popularity_bias_at_k,
    precision_at_k,
    recall_at_k,
    reciprocal_rank_at_k,
)
from portrait.models.ranking import align

logger = logging.getLogger(__name__)

PerUser = Callable[[np.ndarray, csr_matrix, int], np.ndarray]
ListsOf = Callable[[np.ndarray, int, csr_matrix | None], np.ndarray]

RANKING_METRICS: dict[str, PerUser] = {
    "recall": recall_at_k,
    "precision": precision_at_k,
    "f1": f1_at_k,
    "ndcg": ndcg_at_k,
    "hit_rate": hit_rate_at_k,
    "map": average_precision_at_k,
    "mrr": reciprocal_rank_at_k,
}
KEPT = ("ndcg", "recall")
"""Metrics whose values of each user are kept, for comparisons and for groups of users."""


@dataclass(frozen=True)
class Metric:
    """One figure: the mean over `n_users` of a per-user metric (NaN where there is no user)."""

    task: str
    metric: str
    k: int
    value: float
    standard_error: float
    n_users: int


@dataclass(frozen=True)
class Evaluation:
    """All figures of one model, and the per-user NDCG behind them for a paired comparison."""

    metrics: list[Metric] = field(default_factory=list)
    per_user: dict[tuple[str, str, int], np.ndarray] = field(default_factory=dict)
    """(task, metric of `KEPT`, k) -> float64 [n_users of the task], in the order of `users`."""
    users: dict[str, np.ndarray] = field(default_factory=dict)
    """task -> int [n_users], ascending: the rows that have a target in it."""

    @property
    def ndcg(self) -> dict[tuple[str, int], np.ndarray]:
        """(task, k) -> float64 [n_users of the task]."""
        return {(task, k): values for (task, name, k), values in self.per_user.items() if name == "ndcg"}

    def value(self, task: str, metric: str, k: int) -> float:
        """The figure of one metric.

        Raises
        ------
        KeyError
            If it was not computed.
        """
        for m in self.metrics:
            if (m.task, m.metric, m.k) == (task, metric, k):
                return m.value
        raise KeyError((task, metric, k))


@dataclass(frozen=True)
class Comparison:
    """Mean of challenger minus champion over the same users, with a 95 % bootstrap interval."""

    difference: float
    low: float
    high: float
    n_users: int


def evaluate(
    model: Recommender,
    history: csr_matrix,
    target: csr_matrix,
    bought: csr_matrix,
    ks: Sequence[int] = (10, 20),
) -> Evaluation:
    """`evaluate_lists` of a model that ranks by a customer's history alone.

    Parameters
    ----------
    model : fitted Recommender
    history : csr_matrix [n, n_items]
        Behaviour weights before the cut-off.
    """
    if history.shape[0] != target.shape[0]:
        raise ValueError(f"rows differ: {history.shape}, {target.shape}")
    history = csr_matrix(history)

    def lists(rows: np.ndarray, k: int, exclude: csr_matrix | None) -> np.ndarray:
        return model.recommend(history[rows], k, exclude_seen=False, exclude=exclude)[0]

    return evaluate_lists(lists, target, bought, ks)


def evaluate_lists(
    lists: ListsOf,
    target: csr_matrix,
    bought: csr_matrix,
    ks: Sequence[int] = (10, 20),
    never: csr_matrix | None = None,
) -> Evaluation:
    """Judge lists made from what was known before a cut-off by what was bought after it.

    Three tasks, each over the users who have a target in it:

    - `all`: any purchase; nothing but `never` is excluded. What the next basket holds.
    - `new`: purchases of items not bought before; these are excluded from the lists.
    - `again`: purchases of items bought before, found by the lists of `all`. Recall only.

    Parameters
    ----------
    lists : (rows int [m], k, exclude csr_matrix [m, any] or None) -> int [m, k]
        The k best items of these rows, best first, -1 where there are fewer.
    target : csr_matrix [n, n_items]
        Purchases in the holdout window (any positive value). Its columns are the catalogue that coverage
        is a share of; items the model has not met count as relevant.
    bought : csr_matrix [n, n_items]
        Purchases before the cut-off.
    ks : sequence of int
        List lengths.
    never : csr_matrix [n, n_items], optional
        Bought before and not offered again; purchases of it still count as something to find.

    Returns
    -------
    Evaluation
        Per task and k: recall (of all relevant items), precision, f1, ndcg, hit_rate, map, mrr; and of the lists
        as a whole coverage, novelty (bits) and popularity_bias (see `metrics`).

    Raises
    ------
    ValueError
        If the matrices have different numbers of rows.
    """
    if target.shape[0] != bought.shape[0]:
        raise ValueError(f"rows differ: {target.shape}, {bought.shape}")
    n_items = target.shape[1]
    target, bought = align(target, n_items), csr_matrix(bought)
    before = align(bought, n_items) > 0
    again = csr_matrix(target.multiply(before))
    again.eliminate_zeros()
    new = csr_matrix(target - again)
    new.eliminate_zeros()

    result = Evaluation()
    users = np.flatnonzero(np.diff(target.indptr))
    found = lists(users, max(ks), None if never is None else never[users])
    result.users["all"] = users
    _judge(result, "all", found, target[users], ks, RANKING_METRICS)
    _catalogue(result, "all", found, bought, n_items, ks)
    repeaters = np.diff(again[users].indptr) > 0
    result.users["again"] = users[repeaters]
    _judge(result, "again", found[repeaters], again[users[repeaters]], ks, {"recall": recall_at_k})

    users = np.flatnonzero(np.diff(new.indptr))
    found = lists(users, max(ks), bought[users])
    result.users["new"] = users
    _judge(result, "new", found, new[users], ks, RANKING_METRICS)
    _catalogue(result, "new", found, bought, n_items, ks)
    return result


def compare(
    champion_scores: np.ndarray, challenger_scores: np.ndarray, seed: int = 0, resamples: int = 2000
) -> Comparison:
    """Paired bootstrap (percentile) of the mean difference, challenger minus champion.

    Parameters
    ----------
    champion_scores, challenger_scores : float [n]
        A per-user metric of both models on the same users in the same order, e.g. `Evaluation.ndcg[...]`.

    Returns
    -------
    Comparison
        With fewer than two users nothing is known: the interval is infinite.

    Raises
    ------
    ValueError
        If the two are not of the same length.
    """
    if champion_scores.shape != challenger_scores.shape:
        raise ValueError(f"not the same users: {champion_scores.shape} and {challenger_scores.shape}")
    difference = np.asarray(challenger_scores, dtype=np.float64) - champion_scores
    n = len(difference)
    if n < 2:
        return Comparison(float(difference.sum()), -np.inf, np.inf, n)
    low, high = bootstrap_interval(difference, seed, resamples)
    return Comparison(float(difference.mean()), low, high, n)


def bootstrap_interval(values: np.ndarray, seed: int, resamples: int) -> tuple[float, float]:
    """95 % of the mean of at least two values (percentile bootstrap); memory does not grow with their number."""
    found = bootstrap(
        (values,),
        np.mean,
        n_resamples=resamples,
        batch=max(1, 5_000_000 // len(values)),
        method="percentile",
        rng=np.random.default_rng(seed),
    ).confidence_interval
    return float(found.low), float(found.high)


def strong_generalisation(
    model: Recommender,
    train: csr_matrix | None,
    fold_in: csr_matrix,
    held_out: csr_matrix,
    ks: Sequence[int] = (20, 50, 100),
    validation: Pair | None = None,
    seed: int = 0,
) -> Evaluation:
    """Liang et al. (2018): judged on customers never seen in training, some of whose items are folded in.

    Fits the model on `train` (None: it is fitted already), ranks the items outside `fold_in`, and judges by
    `held_out`. Task `held_out`; ndcg, and recall with the truncated denominator min(k, relevant items).
    """
    if train is not None:
        model.fit(train, validation, seed)
    users = np.flatnonzero(np.diff(csr_matrix(held_out).indptr))
    fold_in, held_out = csr_matrix(fold_in)[users], csr_matrix(held_out)[users]
    lists, _ = model.recommend(fold_in, max(ks), exclude_seen=True)
    result = Evaluation()
    metrics: dict[str, PerUser] = {"ndcg": ndcg_at_k, "recall": _truncated_recall}
    result.users["held_out"] = users
    _judge(result, "held_out", lists, held_out, ks, metrics)
    _catalogue(result, "held_out", lists, fold_in, held_out.shape[1], ks)
    return result


def _truncated_recall(recommended: np.ndarray, relevant: csr_matrix, k: int) -> np.ndarray:
    return recall_at_k(recommended, relevant, k, truncated=True)


def _judge(
    result: Evaluation,
    task: str,
    lists: np.ndarray,
    relevant: csr_matrix,
    ks: Sequence[int],
    metrics: dict[str, PerUser],
) -> None:
    """Add one task's figures; every row of `relevant` has an item."""
    n = len(lists)
    if n == 0:
        logger.warning("task %r: no user has a target in the holdout window", task)
    for k in ks:
        for name, per_user in metrics.items():
            values = per_user(lists, relevant, k)
            mean = float(values.mean()) if n else np.nan
            error = float(values.std(ddof=1) / np.sqrt(n)) if n > 1 else np.nan
            result.metrics.append(Metric(task, name, k, mean, error, n))
            if name in KEPT:
                result.per_user[task, name, k] = values


def _catalogue(
    result: Evaluation, task: str, lists: np.ndarray, bought: csr_matrix, n_items: int, ks: Sequence[int]
) -> None:
    """Add how much of the catalogue the lists show, and how popular that is by what was bought before."""
    cells = align(bought, n_items)
    buyers = np.bincount(cells.indices, minlength=n_items)
    n, n_users = len(lists), cells.shape[0]
    for k in ks:
        figures = {
            "coverage": coverage_at_k(lists, n_items, k) if n else np.nan,
            "novelty": novelty_at_k(lists, buyers, n_users, k),
            "popularity_bias": popularity_bias_at_k(lists, buyers, k),
        }
        result.metrics.extend(Metric(task, name, k, value, np.nan, n) for name, value in figures.items())
