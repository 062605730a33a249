import numpy as np
import pytest
from portrait.errors import PortraitError
from portrait.models.rerank.purchases import Purchases

LINES = [  # customer, order number, item, day; unordered, one line twice
    (1, 7, 0, 40),
    (0, 5, 2, 30),
    (0, 2, 1, 10),
    (0, 5, 1, 30),
    (0, 2, 1, 10),
    (0, 9, 1, 50),
]


def log(lines: list[tuple[int, int, int, int]] = LINES) -> Purchases:
    customer, order, item, day = np.array(lines).T
    return Purchases.of(customer, order, item, n_customers=3, n_items=3, day=day)


def rows(purchases: Purchases) -> list[tuple[int, int, int]]:
    return list(
        zip(purchases.customer.tolist(), purchases.basket.tolist(), purchases.item.tolist(), strict=True)
    )


def test_sorted_numbered_and_without_repeats() -> None:
    assert rows(log()) == [(0, 0, 1), (0, 1, 1), (0, 1, 2), (0, 2, 1), (1, 0, 0)]
    assert log().day is not None
    assert log().day.tolist() == [10, 30, 30, 50, 40]  # type: ignore[union-attr]


def test_counted_from_the_end() -> None:
    """Customer 0 has three baskets, customer 1 one, customer 2 none."""
    assert log().n_baskets.tolist() == [3, 1, 0]
    assert log().age.tolist() == [2, 1, 1, 0, 0]


def test_matrices() -> None:
    assert log().counts.toarray().tolist() == [[0, 3, 1], [1, 0, 0], [0, 0, 0]]
    weights = np.array([1.0, 2.0, 4.0, 8.0, 16.0])
    assert log().weighted(weights).toarray().tolist() == [[0, 11, 4], [16, 0, 0], [0, 0, 0]]
    assert log().basket_from_end(1).toarray().tolist() == [[0, 1, 1], [0, 0, 0], [0, 0, 0]]


def test_earlier_logs() -> None:
    assert rows(log().without_last(1)) == [(0, 0, 1), (0, 1, 1), (0, 1, 2)]
    assert rows(log().before(40)) == [(0, 0, 1), (0, 1, 1), (0, 1, 2)]
    assert rows(log().before(10)) == []
    assert log().before(10).n_baskets.tolist() == [0, 0, 0]


def test_bought_in_a_window() -> None:
    """Day 30 to 40: customer 0 had items 1 and 2, customer 1 item 0. Item 1 of day 10 and 30 counts once."""
    assert log().bought_between(30, 40).toarray().tolist() == [[0, 1, 1], [1, 0, 0], [0, 0, 0]]
    assert log().bought_between(10, 30).toarray().tolist() == [[0, 1, 1], [0, 0, 0], [0, 0, 0]]
    assert log().bought_between(31, 39).nnz == 0


def test_a_cut_log_is_the_log_of_the_earlier_lines() -> None:
    """Nothing of a later basket stays behind."""
    early = log([line for line in LINES if line[3] < 45])
    cut = log().before(45)
    assert rows(cut) == rows(early)
    assert cut.n_baskets.tolist() == early.n_baskets.tolist()


def test_refused() -> None:
    one, two = np.array([0]), np.array([0, 1])
    with pytest.raises(PortraitError, match=r"of one length, not \[1, 2\]"):
        Purchases.of(one, one, two, 1, 2)
    with pytest.raises(PortraitError, match=r"item 3\.\.3 outside 0\.\.2"):
        Purchases.of(one, one, np.array([3]), 1, 3)
    with pytest.raises(PortraitError, match="has no days"):
        Purchases.of(one, one, one, 1, 1).before(5)
    with pytest.raises(PortraitError, match="has no days"):
        Purchases.of(one, one, one, 1, 1).bought_between(1, 5)
