"""Families of purchases, worked out by hand, on both engines: intervals, basket, price, stores."""

import math
from collections.abc import Callable
from typing import Any

import pytest

Row = dict[str, Any]
Compute = Callable[..., dict[int, Row]]


def buy(customer: int, days_ago: int, basket: int, amount: float | None = 10.0, **more: Any) -> Row:
    event = "pos_sale" if "store_id" in more else "order_completed"
    return {
        "customer": customer, "event_name": event, "days_ago": days_ago, "basket": basket,
        "amount": amount, "quantity": 1.0, **more,
    }  # fmt: skip


def test_intervals(compute: Compute) -> None:
    found = compute(
        "intervals",
        [
            # Days 40, 30, 28, 8 ago: gaps 10, 2, 20. Two baskets on one day are one purchase day.
            buy(1, 40, 1), buy(1, 30, 2), buy(1, 30, 3, store_id="s"), buy(1, 28, 4), buy(1, 8, 5),
            buy(2, 9, 6), buy(2, 4, 7),
            buy(3, 5, 8),
            {"customer": 4, "event_name": "product_viewed"},
        ],
    )  # fmt: skip
    assert set(found) == {1, 2, 3}
    mean = 32 / 3
    spread = math.sqrt(((10 - mean) ** 2 + (2 - mean) ** 2 + (20 - mean) ** 2) / 2)
    assert found[1] == {
        "purchase_days": 4,
        "interval_mean_days": pytest.approx(mean),
        "interval_sd_days": pytest.approx(spread),
        "interval_p25_days": 6.0,  # half way from 2 to 10
        "interval_p50_days": 10.0,
        "interval_p75_days": 15.0,
    }
    assert found[2] == {
        "purchase_days": 2, "interval_mean_days": 5.0, "interval_sd_days": None,
        "interval_p25_days": 5.0, "interval_p50_days": 5.0, "interval_p75_days": 5.0,
    }  # fmt: skip
    assert found[3].pop("purchase_days") == 1
    assert set(found[3].values()) == {None}


def test_basket(compute: Compute) -> None:
    found = compute(
        "basket",
        [
            # Basket 1: 30.25 of 3 pieces and items 5, 6; basket 2: 4 of 1; the store's basket 1: 100 of 4.
            buy(1, 3, 1, 10.25, item=5, quantity=2.0), buy(1, 3, 1, 15.0, item=6, quantity=None),
            buy(1, 3, 1, 5.0, item=5, quantity=0.0),
            buy(1, 2, 2, 4.0, item=5),
            buy(1, 1, 1, 100.0, item=7, quantity=4.0, store_id="s"),
            buy(1, 1, 9, 55.0, item=8, event_name="order_refunded"),
            buy(2, 1, 10, None, item=None),
        ],
    )  # fmt: skip
    assert found[1] == {
        "basket_amount_mean": pytest.approx(134.25 / 3),
        "basket_amount_median": 30.25,
        "basket_amount_max": 100.0,
        "basket_pieces_mean": pytest.approx(8 / 3),
        "basket_pieces_median": 3.0,
        "basket_pieces_max": 4.0,
        "basket_items_mean": pytest.approx(4 / 3),
        "distinct_items": 3,
    }
    assert found[2] == {
        "basket_amount_mean": None, "basket_amount_median": None, "basket_amount_max": None,
        "basket_pieces_mean": 1.0, "basket_pieces_median": 1.0, "basket_pieces_max": 1.0,
        "basket_items_mean": 0.0, "distinct_items": 0,
    }  # fmt: skip


def test_price(compute: Compute) -> None:
    catalogue = (
        {"item": 1, "price_tier": 1}, {"item": 3, "price_tier": 3},
        {"item": 5, "price_tier": 5}, {"item": 9, "price_tier": None},
    )  # fmt: skip
    found = compute(
        "price",
        [
            buy(1, 9, 1, 10.0, item=1, discount=0.0, store_id="s"),
            buy(1, 9, 1, 30.0, item=5, discount=10.0, store_id="s"),
            buy(1, 8, 2, 40.0, item=3),
            buy(1, 8, 2, 20.0, item=9),
            buy(1, 7, 3, 25.0, item=5, event_name="order_refunded"),
            buy(2, 7, 4, 10.0, item=9, event_name="pos_return", channel="store", discount=3.0),
            buy(3, 7, 5, 10.0, item=4),
            buy(3, 6, 5, 30.0, item=4, event_name="order_refunded"),
        ],
        catalogue,
    )  # fmt: skip
    assert found[1] == {
        "price_tier_mean": 3.0,
        "dearest_tier_share": 30 / 80,
        "cheapest_tier_share": 10 / 80,
        "discount_share": 10 / 50,  # online lines know no discount
        "return_rate": 0.25,
    }
    assert set(found[2].values()) == {None}  # returned only
    assert found[3] == {
        "price_tier_mean": None, "dearest_tier_share": None, "cheapest_tier_share": None,
        "discount_share": None, "return_rate": 1.0,
    }  # fmt: skip


def test_stores(compute: Compute) -> None:
    found = compute(
        "stores",
        [
            buy(1, 5, 1, store_id="b"), buy(1, 5, 1, store_id="b"), buy(1, 4, 2, store_id="b"),
            buy(1, 3, 3, store_id="a"), buy(1, 3, 4, store_id="c", event_name="pos_return"),
            buy(1, 2, 5, store_id="c"),
            buy(2, 2, 6, store_id="z"),
            buy(3, 2, 7),
        ],
    )  # fmt: skip
    assert found == {
        1: {"store_count": 3, "main_store": "b", "main_store_share": 2 / 5},  # c has two as well
        2: {"store_count": 1, "main_store": "z", "main_store_share": 1.0},
    }
