"""Expectations worked out by hand.

User 0 is recommended 1, 2, 3 and wants 2, 3, 7 (two hits, at places 2 and 3); user 1 gets 5 and nothing else
and wants 5; user 2 wants 0 and gets three others; user 3 wants nothing.
"""

from collections.abc import Callable

import numpy as np
import pytest
from portrait.models.metrics import (
    average_precision_at_k,
    coverage_at_k,
    f1_at_k,
    hit_rate_at_k,
    hits_at_k,
    ndcg_at_k,
    novelty_at_k,
    popularity_bias_at_k,
    precision_at_k,
    recall_at_k,
    reciprocal_rank_at_k,
)
from scipy.sparse import csr_matrix

LISTS = np.array([[1, 2, 3], [5, -1, -1], [1, 2, 3], [1, 2, 3]], dtype=np.int32)
RELEVANT = csr_matrix((np.ones(5), ([0, 0, 0, 1, 2], [2, 3, 7, 5, 0])), shape=(4, 8))
NAN = np.nan
D2, D3 = 1 / np.log2(3), 1 / np.log2(4)


@pytest.mark.parametrize(
    ("metric", "k", "expected"),
    [
        (average_precision_at_k, 3, [(1 / 2 + 2 / 3) / 3, 1, 0, NAN]),
        (average_precision_at_k, 1, [0, 1, 0, NAN]),
        (reciprocal_rank_at_k, 3, [1 / 2, 1, 0, NAN]),
        (reciprocal_rank_at_k, 1, [0, 1, 0, NAN]),
        (recall_at_k, 1, [0, 1, 0, NAN]),
        (recall_at_k, 2, [1 / 3, 1, 0, NAN]),
        (recall_at_k, 3, [2 / 3, 1, 0, NAN]),
        (precision_at_k, 2, [1 / 2, 1 / 2, 0, NAN]),
        (precision_at_k, 3, [2 / 3, 1 / 3, 0, NAN]),
        (f1_at_k, 2, [2 / 5, 2 / 3, 0, NAN]),  # p 1/2, r 1/3: 2 (1/6) / (5/6)
        (f1_at_k, 3, [2 / 3, 1 / 2, 0, NAN]),
        (hit_rate_at_k, 1, [0, 1, 0, NAN]),
        (hit_rate_at_k, 3, [1, 1, 0, NAN]),
        (ndcg_at_k, 1, [0, 1, 0, NAN]),
        (ndcg_at_k, 2, [D2 / (1 + D2), 1, 0, NAN]),  # .387
        (ndcg_at_k, 3, [(D2 + D3) / (1 + D2 + D3), 1, 0, NAN]),  # .531
    ],
)
def test_by_hand(metric: Callable[..., np.ndarray], k: int, expected: list[float]) -> None:
    values = metric(LISTS, RELEVANT, k)
    assert values.dtype == np.float64
    np.testing.assert_allclose(values, expected)


@pytest.mark.parametrize(("k", "expected"), [(1, 0), (2, 1 / 2), (3, 2 / 3)])
def test_truncated_recall(k: int, expected: float) -> None:
    """Three relevant items: the denominator is min(k, 3), as in Liang et al."""
    assert recall_at_k(LISTS, RELEVANT, k, truncated=True)[0] == pytest.approx(expected)


def test_coverage() -> None:
    """Items 1, 2, 3 and 5 of eight; at 1 only 1 and 5."""
    assert coverage_at_k(LISTS, 8, 3) == 4 / 8
    assert coverage_at_k(LISTS, 8, 1) == 2 / 8


def test_stored_zeros_and_foreign_columns_are_no_hits() -> None:
    """Column 9 of row 0 must not be read as column 1 of row 1."""
    relevant = csr_matrix((np.array([0.0, 1.0]), ([0, 1], [1, 1])), shape=(2, 8))
    assert not hits_at_k(np.array([[1, 9], [2, -1]]), relevant, 2).any()


def test_shapes_must_agree() -> None:
    with pytest.raises(ValueError, match="cannot judge lists"):
        ndcg_at_k(LISTS, RELEVANT, 4)
    with pytest.raises(ValueError, match="cannot judge lists"):
        ndcg_at_k(LISTS[:2], RELEVANT, 2)


def test_novelty_and_popularity_bias_by_hand() -> None:
    buyers = np.array([8, 4, 0, 1])
    lists = np.array([[0, 1], [2, -1]], dtype=np.int32)
    # Of eight customers: 0 bit, 1 bit, and 3 bits for the item that nobody bought.
    assert novelty_at_k(lists, buyers, 8, 2) == pytest.approx(4 / 3)
    assert novelty_at_k(lists, buyers, 8, 1) == pytest.approx(3 / 2)
    # Ranks from the least bought: item 2, 3, 1, 0.
    assert popularity_bias_at_k(lists, buyers, 2) == pytest.approx((4 + 3 + 1) / 12)
    assert np.isnan(novelty_at_k(np.full((1, 2), -1), buyers, 8, 2))
    assert np.isnan(popularity_bias_at_k(np.full((1, 2), -1), buyers, 2))
