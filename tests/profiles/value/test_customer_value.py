"""The table of values: what is learned of a night's buyers, and what stays empty."""

from datetime import date, timedelta

import numpy as np
import pyarrow as pa
import pytest
from portrait.profiles.value.customer_value import COLUMNS, customer_value

AS_OF = date(2026, 3, 1)


def buyers(number: int, repeat: bool) -> pa.Table:
    """Customers in a row, each bought every ten days since day 300 before; every third stopped 200 days ago."""
    rows = []
    for i in range(number):
        first = AS_OF - timedelta(days=300 + i % 7)
        days = (10 if i % 3 == 0 else 30) + i % 5 if repeat else 1
        last = first + timedelta(days=10 * (days - 1))
        rows.append(
            {
                "customer_id": f"c{number - i:04d}",
                "first_purchase_on": first,
                "last_purchase_on": min(last, AS_OF),
                "interpurchase_days": ((min(last, AS_OF) - first).days / (days - 1)) if days > 1 else None,
                "frequency": days + 1,
                "monetary": days * (20.0 + i % 11),
                "refunded": 5.0 if i == 0 else 0.0,
                "frequency_90d": 0 if i % 3 == 0 else 9,
                "monetary_90d": 0.0 if i % 3 == 0 else 9 * 20.0,
            }
        )
    return pa.Table.from_pylist(rows)


def test_too_few_who_came_back_leave_the_value_empty() -> None:
    table, fitted = customer_value(buyers(49, repeat=True), AS_OF, seed=1)
    assert fitted.parameters == {}
    assert table["p_alive"].null_count == 49
    assert table["purchase_days"].to_pylist()[-1] == 10.0


def test_who_went_silent_is_worth_less_than_who_buys_on() -> None:
    table, fitted = customer_value(buyers(90, repeat=True), AS_OF, seed=1)
    assert table.column_names == ["customer_id", *COLUMNS]
    assert table["customer_id"].to_pylist() == sorted(table["customer_id"].to_pylist())
    assert fitted.parameters["buyers"] == 90
    silent = np.array([(90 - int(c[1:])) % 3 == 0 for c in table["customer_id"].to_pylist()])
    alive, orders, value = (table[c].to_numpy() for c in ("p_alive", "expected_orders_90d", "clv_12m"))
    assert alive[silent].max() < 0.5 < alive[~silent].min()
    assert orders[~silent].mean() == pytest.approx(9, rel=0.25)  # every ten days
    assert value[silent].mean() < value[~silent].mean() / 5
    assert (table["clv_12m_low"].to_numpy() <= table["clv_12m_high"].to_numpy()).all()


def test_a_seed_gives_the_same_values_whatever_the_order_of_rows() -> None:
    rows = buyers(60, repeat=True)
    first, _ = customer_value(rows, AS_OF, seed=1)
    again, _ = customer_value(rows.take(list(range(59, -1, -1))), AS_OF, seed=1)
    assert first.equals(again)
    other, _ = customer_value(rows, AS_OF, seed=2)
    assert not other["clv_12m_high"].equals(first["clv_12m_high"])


def test_one_purchase_day_is_no_interval() -> None:
    table, _ = customer_value(buyers(3, repeat=False), AS_OF, seed=1)
    assert table["purchase_days"].to_pylist() == [1.0, 1.0, 1.0]
