"""RFM worked out by hand."""

from collections.abc import Callable
from datetime import date, timedelta
from typing import Any

import ibis
import pytest
from ibis.expr import types as ir
from portrait.config import FeatureConfig
from portrait.features.engine import Engine
from portrait.features.rfm import VALUE_TYPES, finish, quintile, rfm

AS_OF = date(2026, 3, 31)
CONFIG = FeatureConfig(behaviour_weights={"order_completed": 1.0})
MakeRows = Callable[..., ir.Table]


def buy(customer: str | None, basket: str, days_ago: int, amount: float, **more: Any) -> dict[str, Any]:
    return {
        "customer": customer,
        "event_name": "order_completed",
        "basket": basket,
        "business_date": AS_OF - timedelta(days=days_ago),
        "amount": amount,
        "quantity": 1,
        **more,
    }


def compute(engine: Engine, rows: ir.Table) -> list[dict[str, Any]]:
    return [dict(r) for r in engine.arrow(finish(rfm(rows, CONFIG, AS_OF), AS_OF)).to_pylist()]


STORE = {"event_name": "pos_sale", "channel": "store"}


@pytest.fixture
def found(engine: Engine, make_rows: MakeRows) -> dict[str, dict[str, Any]]:
    rows = make_rows(
        buy("A", "o1", 0, 10, quantity=None),
        buy("A", "o1", 0, 5.5, quantity=2),
        buy("A", "r1", 29, 20, **STORE),
        buy("A", "r2", 30, 7, **STORE),
        buy("A", "o2", 365, 100),
        buy("A", "o2", 5, 2, event_name="order_refunded"),
        buy("A", "r3", 4, 1.25, event_name="pos_return", channel="store"),
        buy("B", "o3", 50, 10),
        buy("C", "o4", 10, 30),
        buy("C", "o5", 10, 30),
        buy("D", "o6", 1, 9, event_name="order_refunded"),
        buy("E", "x", 1, 9, event_name="product_viewed"),
    )
    table = compute(engine, rows)
    return {r["customer"]: r for r in table}


def test_buyers_only(found: dict[str, dict[str, Any]]) -> None:
    assert set(found) == {"A", "B", "C"}


def test_values(found: dict[str, dict[str, Any]]) -> None:
    assert found["A"] == {
        "customer": "A",
        "first_purchase_on": date(2025, 3, 31),
        "last_purchase_on": AS_OF,
        "recency_days": 0,
        "frequency": 4,
        "monetary": 142.5,
        "frequency_30d": 2,  # today and 29 days ago, not 30
        "monetary_30d": 35.5,
        "frequency_90d": 3,
        "monetary_90d": 42.5,
        "frequency_365d": 3,
        "monetary_365d": 42.5,
        "refunded": 3.25,
        "items": 6,  # 1 (not said) + 2 + 1 + 1 + 1
        "interpurchase_days": pytest.approx(365 / 3),  # four days, 365 from first to last
        "store_monetary": 27.0,
        "store_frequency": 2,
        "r_score": 5,
        "f_score": 5,
        "m_score": 5,
        "value_type": "champions",
    }


def test_one_purchase_day_has_no_interval(found: dict[str, dict[str, Any]]) -> None:
    assert found["B"]["interpurchase_days"] is None
    assert (found["C"]["frequency"], found["C"]["interpurchase_days"]) == (2, None)
    assert (found["B"]["refunded"], found["B"]["monetary_30d"], found["B"]["store_monetary"]) == (0, 0, 0)


def test_scores_against_the_other_buyers(found: dict[str, dict[str, Any]]) -> None:
    # recency 0, 50, 10 (mean 20); frequency 4, 1, 2 (mean 2.33); monetary 142.5, 10, 60 (mean 70.83)
    scores = {k: (r["r_score"], r["f_score"], r["m_score"], r["value_type"]) for k, r in found.items()}
    assert scores["B"] == (1, 1, 1, "general_to_win_back")
    assert scores["C"] == (3, 3, 3, "general_to_develop")


def test_equal_values_have_equal_quintiles(engine: Engine) -> None:
    table = ibis.memtable({"n": [1, 1, 1, 2, 2, 5]})
    found = engine.arrow(table.mutate(q=quintile(table.n)).order_by("n"))["q"].to_pylist()
    # percent ranks 0, 0, 0, 0.6, 0.6, 1
    assert found == [1, 1, 1, 4, 4, 5]


def test_value_types(engine: Engine, make_rows: MakeRows) -> None:
    rows = []
    for (recent, frequent, high), name in VALUE_TYPES.items():
        baskets = 3 if frequent else 1
        total = 90 if high else 30
        rows += [buy(name, f"{name}{i}", 0 if recent else 100, total / baskets) for i in range(baskets)]
    found = compute(engine, make_rows(*rows))
    assert {r["customer"]: r["value_type"] for r in found} == {n: n for n in VALUE_TYPES.values()}


def test_equal_buyers_are_all_champions(engine: Engine, make_rows: MakeRows) -> None:
    rows = make_rows(*(buy(c, c, 3, 0.1) for c in "ABC"))
    found = compute(engine, rows)
    assert {r["value_type"] for r in found} == {"champions"}
