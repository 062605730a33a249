"""What is not bought twice, and what leaving it out does."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from portrait.config.tuning import RepurchaseRule
from portrait.models.evaluation import evaluate_lists
from portrait.models.nightly.bought_again import bought_once, cells_of, effect, not_again
from portrait.models.nightly.inputs import inputs_of
from portrait.models.rerank.purchases import Purchases
from scipy.sparse import csr_matrix

Make = Callable[..., Any]

# Items 0 and 1 are of category 0, 2 of category 1, 3 of none.
CATEGORY = np.array([0, 0, 1, -1])
# (customer, day, item)
LOG = [
    *[(c, 0, 0) for c in range(10)], (0, 5, 0),  # of ten buyers one comes back for item 0
    *[(c, 3, 1) for c in range(10)],  # and none for item 1, though all bought of the category before
    *[(c, 0, 2) for c in range(10)], *[(c, 9, 2) for c in range(5)],  # half come back
    *[(c, 0, 3) for c in range(10)],
]  # fmt: skip


def log_of(rows: list[tuple[int, int, int]]) -> Purchases:
    customer, day, item = (np.array(column) for column in zip(*rows, strict=True))
    return Purchases.of(customer, day, item, 10, 4, day)


@pytest.mark.parametrize(
    ("rule", "last", "once"),
    [
        # Category 0: 1 of 20 pairs; category 1: 5 of 10.
        ({"least_share": 0.2}, 10, [True, True, False, False]),
        ({"least_share": 0.05}, 10, [False, False, False, False]),
        ({"least_share": 0.06}, 10, [True, True, False, False]),
        ({"least_share": 0.51}, 10, [True, True, True, False]),
        ({"least_share": 0}, 10, [False] * 4),
        ({"least_share": 0.2, "least_pairs": 21}, 10, [False] * 4),
        # Nobody has come back by day 4; pairs of item 1 are one day old: the ten of item 0 count.
        ({"least_share": 0.2, "after_days": 2, "least_pairs": 10}, 4, [True, True, True, False]),
        ({"least_share": 0.2, "after_days": 2, "least_pairs": 11}, 4, [False] * 4),
    ],
)
def test_a_category_is_bought_once_by_its_share_of_pairs_bought_again(
    rule: dict[str, Any], last: int, once: list[bool]
) -> None:
    chosen = RepurchaseRule.model_validate({"after_days": 0, "least_pairs": 5, **rule})
    assert bought_once(log_of(LOG), CATEGORY, 2, last, chosen).tolist() == once


def test_later_purchases_are_not_looked_at() -> None:
    rule = RepurchaseRule(least_share=0.2, after_days=0, least_pairs=5)
    earlier = [row for row in LOG if row[1] <= 4]
    for n_categories, last in ((2, 4), (2, 3)):
        whole = bought_once(log_of(LOG), CATEGORY, n_categories, last, rule)
        cut = bought_once(log_of(earlier), CATEGORY, n_categories, last, rule)
        assert whole.tolist() == cut.tolist()


def test_items_that_are_not_bought_again_are_not_listed_but_still_wanted() -> None:
    bought = csr_matrix(np.array([[1, 1, 0], [0, 1, 0]], np.float32))
    target = csr_matrix(np.array([[1, 0, 1], [0, 0, 1]], np.float32))
    never = cells_of(bought, np.array([True, False, False]))
    assert never.toarray().tolist() == [[1, 0, 0], [0, 0, 0]]

    def lists(rows: np.ndarray, k: int, exclude: csr_matrix | None) -> np.ndarray:
        """Items in order, but the excluded ones."""
        found = np.full((len(rows), k), -1, np.int32)
        for place in range(len(rows)):
            left_out = exclude[place].indices if exclude is not None else []
            kept = [item for item in range(3) if item not in left_out][:k]
            found[place, : len(kept)] = kept
        return found

    # Customer 0 wants i0 and i2: of the list i0 finds half, of the list i1 nothing; customer 1's list has i0.
    assert evaluate_lists(lists, target, bought, (1,)).value("all", "recall", 1) == 0.25
    assert evaluate_lists(lists, target, bought, (1,), never).value("all", "recall", 1) == 0
    found = effect(lists, target, never, 1)
    assert (found.customers, found.judged, found.without, found.with_all) == (1, 1, 0, 1)
    assert effect(lists, target, cells_of(bought, np.zeros(3, bool)), 1).customers == 0


def test_a_night_leaves_them_out_of_again_and_says_what_that_does(make_nights: Make) -> None:
    nights = make_nights(
        "repeat", recommendations=4, repurchase="{least_share: 0.5, after_days: 0, least_pairs: 4}"
    )
    # The held-out purchases of i0 are its first repeats: by the end of the training window nobody came back.
    bought = [[2.0, 1.0]] * 8
    run = nights.write(1, bought, [[1, 0]] * 6 + [[0, 0]] * 2, validation_weights=[[1, 1]] * 8)
    nights.write_products(("i0", "Sofas"), ("i1", "Tables"))
    inputs = inputs_of(nights.settings, run)
    assert not_again(nights.settings, run, inputs, "train").toarray().tolist() == [[1, 1]] * 8
    # Six of eight have bought i0 again by the night: it may be offered again, i1 may not.
    assert not_again(nights.settings, run, inputs, "full").toarray().tolist() == [[0, 1]] * 8
    nights.train(run)
    nights.evaluate(run)
    nights.promote(run)
    nights.scores(run)
    assert nights.recommended(run, 0, "again") == ["i0"]
    # With them i0 leads all six lists; without them nothing is left to list.
    assert nights.evaluation(run, slot="next", model="repeat")["ndcg@2"] == 0
    assert nights.effects(run) == {"repeat": {"customers": 6, "judged": 6, "without": 0.0, "with_all": 1.0}}
