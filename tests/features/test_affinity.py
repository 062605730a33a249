"""Affinity worked out by hand: half-life 60 days."""

from collections.abc import Callable
from datetime import date, timedelta
from typing import Any

import ibis
import pytest
from ibis.expr import types as ir
from portrait.config import FeatureConfig
from portrait.features.affinity import affinity
from portrait.features.engine import Engine
from portrait.features.weight import weight_at

AS_OF = date(2026, 3, 31)
WEIGHTS = {"order_completed": 1.0, "product_added": 0.3, "product_viewed": 0.1}
MakeRows = Callable[..., ir.Table]


def event(customer: str | None, name: str, sku: str, days_ago: int, **more: Any) -> dict[str, Any]:
    day = AS_OF - timedelta(days=days_ago)
    return {"customer": customer, "event_name": name, "item": sku, "business_date": day, **more}


def compute(engine: Engine, rows: ir.Table, *dimensions: str, top: int = 5) -> list[tuple[Any, ...]]:
    """Rows of some dimensions, ordered."""
    product = ibis.memtable(
        [("s1", "x", "b1", 1), ("s2", "y", "b1", 5), ("s3", "z", None, None), ("s4", "z", "b2", 5)],
        schema={"item": "string", "category": "string", "brand": "string", "price_tier": "int32"},
    )
    config = FeatureConfig(behaviour_weights=WEIGHTS, half_life_days=60, affinity_top=top)
    weighed = rows.mutate(weight=weight_at(rows, config, date(2026, 1, 1)))
    table = affinity(weighed, product, config).order_by("customer", "dimension", "rank")
    table = table.filter(table.dimension.isin(dimensions))
    return [tuple(r.values()) for r in engine.arrow(table).to_pylist()]


def test_scores(engine: Engine, make_rows: MakeRows) -> None:
    rows = make_rows(
        event("A", "product_viewed", "s1", 0),  # 0.1
        event("A", "order_completed", "s2", 60, quantity=10),  # 1 * 0.5, whatever the quantity
        event("A", "product_added", "s3", 120),  # 0.3 * 0.25
        event("A", "product_viewed", "unknown", 0),
        event("A", "products_searched", "s1", 0),
        event("A", "order_refunded", "s1", 0),
    )
    x, y, z = 0.1**0.5, 0.5**0.5, 0.075**0.5
    total = x + y + z
    expected = [
        ("A", "brand", "b1", 1, pytest.approx(1.0), 2, AS_OF),
        ("A", "category", "y", 1, pytest.approx(y / total), 1, AS_OF - timedelta(days=60)),
        ("A", "category", "x", 2, pytest.approx(x / total), 1, AS_OF),
        ("A", "category", "z", 3, pytest.approx(z / total), 1, AS_OF - timedelta(days=120)),
    ]
    assert compute(engine, rows, "category", "brand") == expected
    # keeping fewer changes no score
    assert compute(engine, rows, "category", "brand", top=2) == expected[:3]


def test_equal_values_are_ranked_by_name(engine: Engine, make_rows: MakeRows) -> None:
    rows = make_rows(event("A", "product_viewed", "s4", 7), event("A", "product_viewed", "s1", 7))
    found = [r[2:5] for r in compute(engine, rows, "category")]
    assert found == [("x", 1, 0.5), ("z", 2, 0.5)]


def test_many_looks_at_one_product_say_less_than_one_at_many(engine: Engine, make_rows: MakeRows) -> None:
    looks = [event("A", "product_viewed", "s1", 0) for _ in range(4)]  # x: the root of 0.4
    others = [event("A", "product_viewed", sku, 0) for sku in ("s3", "s4")]  # z: twice the root of 0.1
    found = compute(engine, make_rows(*looks, *others, event("A", "product_viewed", "s4", 0)), "category")
    x, z = 0.4**0.5, 0.1**0.5 + 0.2**0.5
    assert [(r[2], r[5]) for r in found] == [("z", 3), ("x", 4)]
    assert [r[4] for r in found] == pytest.approx([z / (x + z), x / (x + z)])


def test_price_bands(engine: Engine, make_rows: MakeRows) -> None:
    rows = make_rows(
        event("A", "order_completed", "s1", 0),  # band 1: 1
        event("A", "product_added", "s2", 0),  # band 5: 0.3 + 0.1
        event("A", "product_viewed", "s4", 0),
        event("A", "order_completed", "s3", 0),  # of no band
    )
    found = compute(engine, rows, "price_band")
    assert [r[2:4] + r[5:] for r in found] == [("1", 1, 1, AS_OF), ("5", 2, 2, AS_OF)]
    fifth = 0.3**0.5 + 0.1**0.5
    assert [r[4] for r in found] == pytest.approx([1 / (1 + fifth), fifth / (1 + fifth)])


def test_channel_store_and_daypart(engine: Engine, make_rows: MakeRows) -> None:
    """Events without a product count, too; half-life 60 days."""
    store = {"channel": "store", "local_hour": 18}
    rows = make_rows(
        event("A", "order_completed", "unknown", 0, store_id="S1", **store),  # 1, evening
        event("A", "order_completed", None, 60, store_id="S2", **store),  # 0.5, evening
        event("A", "product_added", "s1", 0, channel="online", local_hour=5),  # 0.3, night
        event("A", "product_viewed", "s1", 0, channel="online", local_hour=6),  # 0.1, morning
        event("A", "product_viewed", "s1", 0, channel="online"),  # 0.1, at an unknown hour
    )
    assert [(r[1], r[2], r[5]) for r in compute(engine, rows, "channel", "store", "daypart")] == [
        ("channel", "store", 2),
        ("channel", "online", 3),
        ("daypart", "evening", 2),
        ("daypart", "night", 1),  # the third part of the day is left out
        ("store", "S1", 1),
        ("store", "S2", 1),
    ]
    scores = {(r[1], r[2]): r[4] for r in compute(engine, rows, "channel", "store", "daypart")}
    assert scores["channel", "store"] == pytest.approx(1.5 / 2.0)
    assert scores["daypart", "evening"] == pytest.approx(1.5 / 1.9)
    assert scores["store", "S2"] == pytest.approx(0.5 / 1.5)


def test_no_dimension_keeps_more_than_is_asked_for(engine: Engine, make_rows: MakeRows) -> None:
    rows = make_rows(*(event("A", "product_viewed", f"s{i}", i, store_id=f"S{i}") for i in range(1, 5)))
    assert [r[2] for r in compute(engine, rows, "store")] == ["S1", "S2", "S3"]
    assert [r[2] for r in compute(engine, rows, "store", top=1)] == ["S1"]
