import logging

import numpy as np
import pytest
from portrait.models import create
from portrait.models.evaluation import Evaluation, compare, evaluate, strong_generalisation
from scipy.sparse import csr_matrix

TRAIN = csr_matrix([[5.0, 4.0, 3.0, 2.0, 1.0]])
"""Popularity ranks the items 0, 1, 2, 3, 4."""

# What each user had bought, and buys in the holdout window:
#   0: had 0, buys 0 and 2 (one again, one new)
#   1: had 0 and 1, buys 1 (again only)
#   2: had nothing, buys 4 (new only)
#   3: had 3, buys nothing: in no task
BOUGHT = csr_matrix([[1, 0, 0, 0, 0], [1, 1, 0, 0, 0], [0, 0, 0, 0, 0], [0, 0, 0, 1, 0]], dtype=float)
TARGET = csr_matrix([[1, 0, 1, 0, 0], [0, 1, 0, 0, 0], [0, 0, 0, 0, 1], [0, 0, 0, 0, 0]], dtype=float)


@pytest.fixture
def result() -> Evaluation:
    return evaluate(create("popularity").fit(TRAIN), BOUGHT, TARGET, BOUGHT, ks=(1, 2))


@pytest.mark.parametrize(
    ("task", "metric", "k", "expected", "n_users"),
    [
        # lists of `all`: 0, 1 for everybody
        ("all", "recall", 1, (1 / 2 + 0 + 0) / 3, 3),
        ("all", "recall", 2, (1 / 2 + 1 + 0) / 3, 3),
        ("all", "precision", 2, (1 / 2 + 1 / 2 + 0) / 3, 3),
        ("all", "hit_rate", 2, 2 / 3, 3),
        ("all", "coverage", 2, 2 / 5, 3),
        # lists of `new`: user 0 gets 1, 2 (0 was bought) and wants 2; user 2 gets 0, 1 and wants 4
        ("new", "recall", 1, 0, 2),
        ("new", "recall", 2, 1 / 2, 2),
        ("new", "ndcg", 2, (1 / np.log2(3)) / 2, 2),
        ("new", "coverage", 2, 3 / 5, 2),
        # `again`: user 0 wants 0, user 1 wants 1
        ("again", "recall", 1, 1 / 2, 2),
        ("again", "recall", 2, 1, 2),
    ],
)
def test_tasks(result: Evaluation, task: str, metric: str, k: int, expected: float, n_users: int) -> None:
    assert result.value(task, metric, k) == pytest.approx(expected)
    (found,) = [m for m in result.metrics if (m.task, m.metric, m.k) == (task, metric, k)]
    assert found.n_users == n_users


def test_per_user_ndcg(result: Evaluation) -> None:
    assert result.ndcg["new", 2].tolist() == pytest.approx([1 / np.log2(3), 0])
    assert len(result.ndcg["all", 1]) == 3


def test_standard_error(result: Evaluation) -> None:
    """Recalls 1 and 0: standard deviation 1/sqrt 2, by sqrt 2."""
    (found,) = [m for m in result.metrics if (m.task, m.metric, m.k) == ("new", "recall", 2)]
    assert found.standard_error == pytest.approx(0.5)


def test_viewed_items_may_be_recommended() -> None:
    """User viewed 0 without buying it: it is still `new`, and a hit when it is bought."""
    viewed, nothing = csr_matrix([[1.0, 0, 0, 0, 0]]), csr_matrix((1, 5))
    found = evaluate(create("popularity").fit(TRAIN), viewed, viewed, nothing, ks=(1,))
    assert found.value("new", "recall", 1) == 1
    assert np.isnan(found.value("again", "recall", 1))


def test_an_item_the_model_has_not_met_counts_as_missed() -> None:
    newer = csr_matrix([[1.0, 0, 0, 0, 0, 1.0]])
    found = evaluate(create("popularity").fit(TRAIN), csr_matrix((1, 6)), newer, csr_matrix((1, 6)), ks=(5,))
    assert found.value("all", "recall", 5) == 1 / 2


def test_an_empty_window_is_said(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        found = evaluate(create("popularity").fit(TRAIN), BOUGHT, csr_matrix((4, 5)), BOUGHT, ks=(1,))
    assert "no user has a target" in caplog.text
    assert np.isnan(found.value("all", "ndcg", 1))
    assert found.ndcg["all", 1].shape == (0,)
    assert compare(found.ndcg["all", 1], found.ndcg["all", 1]).n_users == 0


def test_rows_must_agree() -> None:
    with pytest.raises(ValueError, match="rows differ"):
        evaluate(create("popularity").fit(TRAIN), BOUGHT[:2], TARGET, BOUGHT)


def test_strong_generalisation() -> None:
    """User 0 folds in item 0 and holds out 1 and 2; user 1 holds out 4; user 2 holds out nothing."""
    fold_in = csr_matrix([[1, 0, 0, 0, 0], [0, 1, 0, 0, 0], [1, 0, 0, 0, 0]], dtype=float)
    held_out = csr_matrix([[0, 1, 1, 0, 0], [0, 0, 0, 0, 1], [0, 0, 0, 0, 0]], dtype=float)
    found = strong_generalisation(create("popularity"), TRAIN, fold_in, held_out, ks=(1, 2))
    assert found.value("held_out", "recall", 1) == (1 + 0) / 2  # truncated: one place, one hit
    assert found.value("held_out", "ndcg", 2) == (1 + 0) / 2


def test_compare_finds_a_difference() -> None:
    random = np.random.default_rng(0)
    champion = random.random(400)
    better = compare(champion, champion + 0.1 + 0.05 * random.standard_normal(400), seed=1)
    assert better.difference == pytest.approx(0.1, abs=0.01)
    # the normal interval is 0.1 +- 1.96 * 0.05 / 20
    assert better.high - better.low == pytest.approx(2 * 1.96 * 0.05 / 20, rel=0.1)
    assert better.low > 0


def test_compare_is_paired_and_deterministic() -> None:
    """The users differ far more than the models: unpaired, a gain of .01 would drown."""
    champion = np.linspace(0, 1, 101)
    found = compare(champion, champion + 0.01, seed=3)
    assert (found.difference, found.low, found.high) == pytest.approx((0.01, 0.01, 0.01))
    noisy = champion + np.random.default_rng(1).normal(0, 0.1, 101)
    assert compare(champion, noisy, seed=3) == compare(champion, noisy, seed=3)


def test_compare_of_one_user_knows_nothing() -> None:
    found = compare(np.array([0.2]), np.array([0.5]))
    assert (found.low, found.high, found.n_users) == (-np.inf, np.inf, 1)


def test_compare_needs_the_same_users() -> None:
    with pytest.raises(ValueError, match="not the same users"):
        compare(np.zeros(3), np.zeros(4))
