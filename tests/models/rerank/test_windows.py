"""A shop with a weekly habit: everybody buys one of two items of theirs in turn, and once something else."""

import numpy as np
import pytest
from portrait.errors import PortraitError
from portrait.models.rerank.purchases import Purchases
from portrait.models.rerank.recipe import Recipe
from portrait.models.rerank.side import Side
from portrait.models.rerank.windows import fit_window
from scipy.sparse import csr_matrix

N_CUSTOMERS, N_ITEMS, WEEKS = 100, 30, 8
SMALL = Recipe(popular=3, candidates_per_model=3, linear_least=1, neighbours=5, rounds=30, negatives=1.0)


def shop(weeks: int = WEEKS) -> Purchases:
    """On day 7w each customer buys the first (w even) or the second of their two items; on day 3 a third."""
    random = np.random.default_rng(1)
    own = np.argsort(random.random((N_CUSTOMERS, N_ITEMS)), axis=1)[:, :3]
    customer = np.tile(np.arange(N_CUSTOMERS), weeks + 1)
    day = np.r_[np.repeat(7 * np.arange(weeks), N_CUSTOMERS), np.full(N_CUSTOMERS, 3)]
    item = np.r_[np.concatenate([own[:, week % 2] for week in range(weeks)]), own[:, 2]]
    return Purchases.of(customer, day, item, N_CUSTOMERS, N_ITEMS, day)


def test_foretells_the_next_week() -> None:
    """Known to day 48 (week 6 was day 42, an even one): the second item comes next, on day 49."""
    log = shop()
    items, _ = fit_window(log, 48, 7, SMALL, threads=1).recommend(np.arange(N_CUSTOMERS), 1)
    assert (items[:, 0] == log.bought_between(49, 49).indices).mean() > 0.95


def test_later_days_change_nothing() -> None:
    rows = np.arange(N_CUSTOMERS)
    found = [fit_window(shop(weeks), 41, 7, SMALL, threads=1).recommend(rows, 4) for weeks in (6, 8)]
    for one, other in zip(*found, strict=True):
        np.testing.assert_array_equal(one, other)


def test_what_else_is_known_is_asked_for_by_day() -> None:
    asked = []

    def views(day: int) -> Side:
        asked.append(day)
        return Side({"views": csr_matrix((N_CUSTOMERS, N_ITEMS), dtype=np.float32)})

    fit_window(shop(), 48, 7, SMALL, threads=1, side=views)
    assert asked == [41, 48]


def test_an_empty_window() -> None:
    with pytest.raises(PortraitError, match="0 customers bought something after the log"):
        fit_window(shop(), 48, 3, SMALL)
