"""Customer 0: {a}, {a, b}, {c}, {a}; customer 1: {b}, {a, b}. Items a, b, c, d = 0, 1, 2, 3; d is never bought."""

import numpy as np
import pytest
from portrait.models.rerank.habits import Habits, habits
from portrait.models.rerank.purchases import Purchases

LINES = np.array(
    [
        (0, 0, 0, 10),
        (0, 1, 0, 12),
        (0, 1, 1, 12),
        (0, 2, 2, 20),
        (0, 3, 0, 25),
        (1, 0, 1, 11),
        (1, 1, 0, 15),
        (1, 1, 1, 15),
    ]
).T


@pytest.fixture(scope="module")
def found() -> Habits:
    return habits(Purchases.of(*LINES[:3], n_customers=3, n_items=4, day=LINES[3]))


def value(found: Habits, name: str, customer: int, item: int) -> float:
    return float(found.columns(np.array([customer]), np.array([item]))[name][0])


@pytest.mark.parametrize(
    ("name", "customer", "item", "expected"),
    [
        ("count", 0, 0, 3),
        ("since", 0, 0, 0),  # in the last basket
        ("first", 0, 0, 3),
        ("interval", 0, 0, 1.5),  # bought at ages 3, 2, 0
        ("faded_1", 0, 0, 1 / 8 + 1 / 4 + 1),
        ("recent", 0, 0, 2),  # of the last three baskets
        ("since_days", 0, 0, 1),  # day 25, today is 26
        ("share", 0, 0, 3 / 4),
        ("due_own", 0, 0, 1 / 1.5),
        ("since", 0, 1, 2),
        ("count", 1, 1, 2),
        ("interval", 1, 1, 1),
        ("count", 0, 3, np.nan),
        ("count", 2, 0, np.nan),
    ],
)
def test_pair(found: Habits, name: str, customer: int, item: int, expected: float) -> None:
    assert value(found, name, customer, item) == pytest.approx(expected, nan_ok=True)


@pytest.mark.parametrize(
    ("name", "customer", "expected"),
    [
        ("baskets", 0, 4),
        ("basket_size", 0, 5 / 4),
        ("last_size", 1, 2),
        ("distinct", 0, 3),
        ("customer_repeat", 0, 1 - 3 / 5),
        ("customer_loyal", 0, 1 / 3),  # of three items, a was bought again
        ("idle_days", 1, 11),
        ("baskets", 2, 0),
        ("basket_size", 2, np.nan),
    ],
)
def test_customer(found: Habits, name: str, customer: int, expected: float) -> None:
    assert value(found, name, customer, 0) == pytest.approx(expected, nan_ok=True)


@pytest.mark.parametrize(
    ("name", "item", "expected"),
    [
        ("item_baskets", 0, 4),
        ("item_buyers", 0, 2),
        ("item_last", 0, 2),
        ("trend", 0, 2 / 4),
        ("item_recent", 2, 1),
        ("item_again", 0, 1 / 2),
        ("item_rate", 0, 2 / 3),  # bought again twice, in three baskets after the first purchase
        ("item_interval", 0, 1.5),
        ("item_rate", 1, 1 / 3),  # again once; two baskets of customer 0 and one of customer 1 came after
        ("item_basket_size", 2, 1),
        ("item_basket_size", 1, (2 + 1 + 2) / 3),
        ("item_buyer_baskets", 1, (4 + 2 + 2) / 3),
        ("item_baskets", 3, 0),
        ("item_again", 3, np.nan),
    ],
)
def test_item(found: Habits, name: str, item: int, expected: float) -> None:
    assert value(found, name, 2, item) == pytest.approx(expected, nan_ok=True)


def test_an_empty_log_knows_nothing() -> None:
    none = np.empty(0, dtype=np.int64)
    columns = habits(Purchases.of(none, none, none, 2, 2)).columns(np.array([1]), np.array([1]))
    assert columns["item_baskets"].tolist() == [0]
    assert np.isnan(columns["count"]).all()
