"""What is not bought twice: learned a category, and left out of the lists of who has it."""

import logging
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from scipy.sparse import csr_matrix, diags

from portrait.config import Settings
from portrait.config.tuning import RepurchaseRule
from portrait.models.evaluation import ListsOf
from portrait.models.metrics import ndcg_at_k
from portrait.models.nightly.categories import categories_of
from portrait.models.nightly.inputs import Inputs, Part
from portrait.models.nightly.ranker import last_day, read_purchases
from portrait.models.ranking import align, spread_evenly
from portrait.models.rerank.purchases import Purchases
from portrait.run import Run

log = logging.getLogger(__name__)

JUDGED_CUSTOMERS = 5_000
"""Customers, evenly spread, by whom the effect of leaving items out is measured."""


def bought_once(
    log_: Purchases, category: np.ndarray, n_categories: int, last: int, rule: RepurchaseRule
) -> np.ndarray:
    """Bool [n_items]: items of categories of which hardly anybody buys the same item again.

    Of the pairs of a customer and an item of the category, first bought `after_days` before the last day or earlier,
    a share below `least_share` was bought on a later day, too. Categories with fewer than `least_pairs` such pairs, and
    items without a category, are taken for bought again.

    Parameters
    ----------
    log_ : Purchases with days; what comes after `last` is not looked at.
    category : int [n_items], -1 for none.
    last : day number.
    """
    if not rule.least_share or not n_categories:
        return np.zeros(log_.n_items, dtype=bool)
    assert log_.day is not None
    known = log_.day <= last
    pair = log_.customer[known].astype(np.int64) * log_.n_items + log_.item[known]
    day = log_.day[known]
    order = np.lexsort((day, pair))
    pair, day = pair[order], day[order]
    starts = np.flatnonzero(np.r_[True, pair[1:] != pair[:-1]]) if len(pair) else np.empty(0, np.int64)
    ends = np.r_[starts[1:], len(pair)].astype(np.int64) - 1 if len(pair) else starts
    theirs = category[pair[starts] % log_.n_items]
    could = (theirs >= 0) & (last - day[starts] >= rule.after_days)
    did = could & (day[ends] > day[starts])
    chances = np.bincount(theirs[could], minlength=n_categories)
    times = np.bincount(theirs[did], minlength=n_categories)
    once = (chances >= rule.least_pairs) & (times < rule.least_share * chances)
    return np.asarray(np.r_[once, False][category])


def not_again(settings: Settings, run: Run, inputs: Inputs, part: Part) -> csr_matrix:
    """csr [customers, items]: what was bought by the end of a part of tonight's data and is not bought again.

    Learned from the purchases of that part alone: the evaluation knows nothing of its held-out days.
    """
    bought = inputs.matrix(f"{part}_bought")
    rule = settings.models.repurchase
    if not rule.least_share:
        return csr_matrix(bought.shape, dtype=np.float32)
    categories = categories_of(settings, run, inputs)
    once = bought_once(
        read_purchases(inputs), categories.of_item, len(categories.names), last_day(settings, run, part), rule
    )
    names = categories.names[np.unique(categories.of_item[once])]
    log.info("%s: not bought again: %s", part, ", ".join(names) or "nothing")
    return cells_of(bought, once)


def cells_of(matrix: csr_matrix, columns: np.ndarray) -> csr_matrix:
    """The stored cells of some columns (bool [columns]), the others empty."""
    found = csr_matrix(matrix @ diags(columns.astype(np.float32)))
    found.eliminate_zeros()
    return found


@dataclass(frozen=True)
class Effect:
    """NDCG of the next purchases, repeats allowed, of customers from whose lists something is left out.

    Attributes
    ----------
    customers : who have something to find and bought something that is not bought again.
    judged : of them (`JUDGED_CUSTOMERS` at most).
    without, with_all : mean NDCG of the lists without those items, and of those with them.
    """

    customers: int
    judged: int
    without: float | None
    with_all: float | None

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def effect(lists: ListsOf, target: csr_matrix, never: csr_matrix, k: int) -> Effect:
    """What leaving out `never` does to the lists of the customers whom it concerns."""
    concerned = np.flatnonzero((np.diff(target.indptr) > 0) & (np.diff(never.indptr) > 0))
    if not len(concerned):
        return Effect(0, 0, None, None)
    rows = concerned[spread_evenly(len(concerned), JUDGED_CUSTOMERS)]
    wanted = align(target[rows], target.shape[1])
    means = [float(ndcg_at_k(lists(rows, k, exclude), wanted, k).mean()) for exclude in (never[rows], None)]
    return Effect(len(concerned), len(rows), *means)
