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


def compute(engine: Engine, rows: ir.Table, top: int = 5) -> list[tuple[Any, ...]]:
    product = ibis.memtable(
        [("s1", "x", "b1"), ("s2", "y", "b1"), ("s3", "z", None), ("s4", "z", "b2")],
        schema={"item": "string", "category": "string", "brand": "string"},
    )
    config = FeatureConfig(behaviour_weights=WEIGHTS, half_life_days=60, affinity_top=top)
    weighed = rows.mutate(weight=weight_at(rows, config, date(2026, 1, 1)))
    table = affinity(weighed, product, config).order_by("customer", "dimension", "rank")
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
    total = 0.1 + 0.5 + 0.075
    expected = [
        ("A", "brand", "b1", 1, pytest.approx(1.0), 2, AS_OF),
        ("A", "category", "y", 1, pytest.approx(0.5 / total), 1, AS_OF - timedelta(days=60)),
        ("A", "category", "x", 2, pytest.approx(0.1 / total), 1, AS_OF),
        ("A", "category", "z", 3, pytest.approx(0.075 / total), 1, AS_OF - timedelta(days=120)),
    ]
    assert compute(engine, rows) == expected
    # keeping fewer changes no score
    assert compute(engine, rows, top=2) == expected[:3]


def test_equal_values_are_ranked_by_name(engine: Engine, make_rows: MakeRows) -> None:
    rows = make_rows(event("A", "product_viewed", "s4", 7), event("A", "product_viewed", "s1", 7))
    found = [r[2:5] for r in compute(engine, rows) if r[1] == "category"]
    assert found == [("x", 1, 0.5), ("z", 2, 0.5)]
