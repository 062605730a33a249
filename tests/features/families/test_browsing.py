"""Families of everything a customer does, worked out by hand, on both engines: channels, rhythm, diversity, behaviour."""

import math
from collections.abc import Callable
from datetime import date
from typing import Any

import pytest

Row = dict[str, Any]
Compute = Callable[..., dict[int, Row]]


def do(customer: int, event_name: str, days_ago: int = 0, **more: Any) -> Row:
    return {"customer": customer, "event_name": event_name, "days_ago": days_ago, **more}


def test_channels(compute: Compute) -> None:
    found = compute(
        "channels",
        [
            do(1, "product_viewed", 40, item=1),
            do(1, "order_completed", 20, item=2, amount=30.0, basket=1),
            do(1, "pos_sale", 10, item=1, amount=10.0, basket=2, store_id="s"),
            do(1, "pos_return", 3, item=1, amount=10.0, basket=3, store_id="s"),
            do(2, "products_searched", 7),
            do(3, "pos_sale", 2, amount=5.0, basket=4, store_id="s"),
        ],
    )
    assert found[1] == {
        "online_event_share": 0.5,
        "online_spend_share": 0.75,
        "last_online_event_on": date(2026, 3, 11),
        "last_store_event_on": date(2026, 3, 28),
        "last_online_purchase_on": date(2026, 3, 11),
        "last_store_purchase_on": date(2026, 3, 21),
        "showrooming_share": 1.0,  # viewed 30 days before, to the hour
    }
    assert found[2] == {
        "online_event_share": 1.0, "online_spend_share": None,
        "last_online_event_on": date(2026, 3, 24), "last_store_event_on": None,
        "last_online_purchase_on": None, "last_store_purchase_on": None, "showrooming_share": None,
    }  # fmt: skip
    assert found[3]["online_spend_share"] == 0.0
    assert found[3]["showrooming_share"] is None  # no line with a known item


def test_showrooming(compute: Compute) -> None:
    store = {"basket": 1, "amount": 1.0, "store_id": "s"}
    rows = [
        do(1, "product_viewed", 12, item=1), do(1, "product_viewed", 11, item=1),
        do(1, "pos_sale", 10, item=1, **store),  # viewed twice counts once
        do(1, "pos_sale", 10, item=1, **store),  # each line
        do(1, "product_viewed", 10, item=2, hour=13), do(1, "pos_sale", 10, item=2, hour=12, **store),  # later
        do(1, "product_viewed", 10, item=3, hour=12), do(1, "pos_sale", 10, item=3, hour=12, **store),
        do(1, "product_viewed", 15, item=4, hour=11), do(1, "pos_sale", 10, item=4, hour=12, **store),  # 5 d 1 h
        do(1, "product_added", 11, item=5), do(1, "pos_sale", 10, item=5, **store),
        do(1, "product_viewed", 11, item=6), do(1, "order_completed", 10, item=6, basket=7, amount=1.0),
        do(2, "product_viewed", 11, item=7), do(3, "pos_sale", 10, item=7, **store),
    ]  # fmt: skip
    found = compute("channels", rows, showrooming_days=5)
    assert found[1]["showrooming_share"] == pytest.approx(3 / 6)
    assert found[2]["showrooming_share"] is None
    assert found[3]["showrooming_share"] == 0.0
    assert compute("channels", rows)[1]["showrooming_share"] == pytest.approx(4 / 6)


def test_rhythm(compute: Compute) -> None:
    # 31 March 2026 is a Tuesday; 2, 3 and 30 days before are Sunday 29, Saturday 28 and Sunday 1.
    hours = (0, 5, 6, 11, 12, 17, 18, 23)
    rows = [do(1, "product_viewed", local_hour=h) for h in hours]
    rows += [do(2, "product_viewed", d, local_hour=6) for d in (2, 3, 30)]
    rows += [do(2, "pos_sale", 4, local_hour=None, store_id="s")]
    found = compute("rhythm", rows, paydays=(1, 27))
    assert found[1] == {
        "night_share": 0.25, "morning_share": 0.25, "afternoon_share": 0.25, "evening_share": 0.25,
        "weekend_share": 0.0, "payday_share": 0.0,
    }  # fmt: skip
    assert found[2] == {
        "night_share": 0.0, "morning_share": 1.0, "afternoon_share": 0.0, "evening_share": 0.0,
        "weekend_share": 0.75, "payday_share": 0.5,
    }  # fmt: skip


def test_diversity(compute: Compute) -> None:
    catalogue = (
        {"item": 1, "category": "tea", "brand": "x"}, {"item": 2, "category": "tea", "brand": None},
        {"item": 3, "category": "rice", "brand": "y"}, {"item": 4, "category": None, "brand": None},
    )  # fmt: skip
    found = compute(
        "diversity",
        [
            # Weights: tea 1 + 0.1 x 2 = 1.2, rice 0.3; brand x 1.1, y 0.3.
            do(1, "order_completed", item=1), do(1, "product_viewed", item=1), do(1, "product_viewed", item=2),
            *(do(1, "product_viewed", item=3) for _ in range(3)),
            do(1, "product_added", item=3),  # neither viewed nor bought
            do(1, "product_viewed", item=4), do(1, "product_viewed", item=99), do(1, "product_viewed"),
            do(2, "product_viewed", item=2),
            do(3, "product_viewed", item=4),
        ],
        catalogue,
    )  # fmt: skip

    def entropy(*weights: float) -> float:
        shares = [w / sum(weights) for w in weights]
        return -sum(p * math.log(p) for p in shares)

    assert found == {
        1: {
            "category_count": 2, "brand_count": 2,
            "category_entropy": pytest.approx(entropy(1.2, 0.3), abs=1e-6),
            "brand_entropy": pytest.approx(entropy(1.1, 0.3), abs=1e-6),
        },
        2: {"category_count": 1, "brand_count": 0, "category_entropy": 0.0, "brand_entropy": None},
    }  # fmt: skip


def test_behaviour(compute: Compute) -> None:
    found = compute(
        "behaviour",
        [
            do(1, "product_viewed", 89), do(1, "product_viewed", 90), do(1, "product_viewed", 0),
            do(1, "product_viewed", 500), do(1, "products_searched", 10), do(1, "products_searched", 100),
            do(1, "product_added", 5), do(1, "order_completed", 5, basket=1), do(1, "order_completed", 5, basket=1),
            do(1, "pos_sale", 5, basket=2, store_id="s"),
            do(1, "product_favorited", 91), do(1, "product_shared", 1),
            do(1, "product_reviewed", 3, rating=5.0), do(1, "product_reviewed", 2, rating=2.0),
            do(1, "product_reviewed", 2),
            do(2, "order_completed", 1, basket=3),
            do(3, "pos_sale", 1, basket=4, store_id="s"),
        ],
    )  # fmt: skip
    assert found[1] == {
        "views_90d": 2, "searches_90d": 1, "carts_90d": 1, "favourites_90d": 0, "shares_90d": 1, "reviews_90d": 3,
        "views_total": 4, "searches_total": 2, "carts_total": 1, "favourites_total": 1, "shares_total": 1,
        "reviews_total": 3, "rating_mean": 3.5,
        "search_to_view": 2.0, "view_to_cart": 0.25, "cart_to_purchase": 2.0,
    }  # fmt: skip
    assert set(found) == {1, 2}
    assert [found[2][c] for c in ("rating_mean", "search_to_view", "view_to_cart", "cart_to_purchase")] == [
        None
    ] * 4
    assert found[2]["views_total"] == 0
