"""Each rule against values worked out by hand."""

from datetime import date
from typing import Any

import ibis
import pyarrow as pa
import pytest
from ibis.expr import types as ir
from portrait.profiles import rules

AS_OF = date(2026, 3, 1)


def table_of(kinds: dict[str, str], *rows: tuple[Any, ...]) -> ir.Table:
    """A table of these rows; `i` numbers them."""
    schema = ibis.schema({"i": "int64", **kinds})
    data = [dict(zip(schema.names, (i, *row), strict=True)) for i, row in enumerate(rows)]
    return ibis.memtable(pa.Table.from_pylist(data, schema.to_pyarrow()))


def column(data: list[Any], kind: str) -> tuple[ir.Table, ir.Value]:
    table = table_of({"x": kind}, *((v,) for v in data))
    return table, table["x"]


def result_of(table: ir.Table, expression: ir.Value) -> list[Any]:
    found = ibis.duckdb.connect().to_pyarrow(table.mutate(result=expression).order_by("i"))
    return found["result"].to_pylist()


@pytest.mark.parametrize(
    ("birth_date", "expected"),
    [
        (date(1990, 3, 1), 36),  # the birthday itself
        (date(1990, 3, 2), 35),  # a day before it
        (date(2026, 3, 1), 0),
        (date(2004, 2, 29), 22),  # a leap-day child turns a year older on 1 March
        (None, None),
    ],
)
def test_age(birth_date: date | None, expected: int | None) -> None:
    table, x = column([birth_date], "date")
    assert result_of(table, rules.age(x, AS_OF)) == [expected]


def test_age_of_a_leap_day_child_on_28_february() -> None:
    table, x = column([date(2004, 2, 29)], "date")
    assert result_of(table, rules.age(x, date(2026, 2, 28))) == [21]


@pytest.mark.parametrize(
    ("birth_date", "kept"),
    [
        (date(1990, 3, 1), True),
        (date(2026, 3, 2), False),  # not born yet
        (date(1900, 1, 1), False),  # a form's default: 126 years
        (date(1920, 3, 2), True),  # 105
        (date(1920, 3, 1), False),  # 106
    ],
)
def test_plausible_birth_date(birth_date: date, kept: bool) -> None:
    table, x = column([birth_date], "date")
    found = result_of(table, rules.plausible_birth_date(x, AS_OF).cast("string"))
    assert found == [str(birth_date) if kept else None]


def test_age_band() -> None:
    table, x = column([0, 17, 18, 24, 25, 34, 35, 44, 45, 54, 55, 64, 65, 105, None], "int32")
    assert result_of(table, rules.age_band(x)) == [
        *["under 18"] * 2,
        *["18-24"] * 2,
        *["25-34"] * 2,
        *["35-44"] * 2,
        *["45-54"] * 2,
        *["55-64"] * 2,
        *["65+"] * 2,
        None,
    ]


def test_channels() -> None:
    table = table_of({"receipts": "int32", "events": "int32"}, (2, 5), (1, 0), (0, 1), (0, 0), (None, None))
    found = result_of(table, rules.channels(table["receipts"], table["events"]))
    assert found == ["both", "store", "online", "none", "none"]


def test_expected_interval_is_the_customers_own_else_the_median_and_at_least_a_week() -> None:
    # The median of 2, 20, 40 is 20; 2 is raised to a week.
    table, x = column([2.0, 20.0, 40.0, None], "float64")
    assert result_of(table, rules.expected_interval(x)) == [7.0, 20.0, 40.0, 20.0]


def test_expected_interval_where_nobody_came_twice() -> None:
    table, x = column([None, None], "float64")
    assert result_of(table, rules.expected_interval(x)) == [30.0, 30.0]


@pytest.mark.parametrize(
    ("first", "last", "interval", "expected"),
    [
        (None, None, None, "prospect"),
        (date(2026, 1, 30), date(2026, 1, 30), 7.0, "new"),  # 30 days ago, one purchase day
        (date(2026, 1, 29), date(2026, 1, 29), 10.0, "dormant"),  # 31 days ago: 3.1 intervals
        (date(2026, 1, 1), date(2026, 2, 14), 10.0, "active"),  # 15 days: exactly 1.5 intervals
        (date(2026, 1, 1), date(2026, 2, 13), 10.0, "at_risk"),  # 16 days
        (date(2026, 1, 1), date(2026, 1, 30), 10.0, "at_risk"),  # 30 days: exactly 3
        (date(2026, 1, 1), date(2026, 1, 29), 10.0, "dormant"),  # 31 days
        (date(2025, 12, 1), date(2025, 12, 31), 10.0, "dormant"),  # 60 days: exactly 6
        (date(2025, 12, 1), date(2025, 12, 30), 10.0, "lost"),  # 61 days
        (date(2025, 1, 1), date(2026, 1, 1), 60.0, "active"),  # 59 days, but they come every 60
        (date(2026, 2, 27), date(2026, 3, 1), 7.0, "active"),  # new to the shop, but came twice
    ],
)
def test_lifecycle(first: date | None, last: date | None, interval: float | None, expected: str) -> None:
    table = table_of({"first": "date", "last": "date", "interval": "float64"}, (first, last, interval))
    found = rules.lifecycle(table["first"], table["last"], table["interval"], AS_OF, ibis.literal(0))
    assert result_of(table, found) == [expected]


@pytest.mark.parametrize(
    ("seen", "expected"),
    [
        (date(2026, 2, 1), "at_risk"),  # bought 61 days ago, but looked around 28 days ago
        (date(2026, 1, 10), "dormant"),  # 50 days
        (date(2025, 12, 30), "lost"),
        (None, "lost"),
    ],
)
def test_who_still_looks_around_has_not_gone(seen: date | None, expected: str) -> None:
    table = table_of(
        {"first": "date", "last": "date", "seen": "date"}, (date(2025, 12, 1), date(2025, 12, 30), seen)
    )
    found = rules.lifecycle(
        table["first"], table["last"], ibis.literal(10.0), AS_OF, ibis.literal(0), table["seen"]
    )
    assert result_of(table, found) == [expected]


@pytest.mark.parametrize(
    ("frequency", "days30", "days90", "days365", "expected"),
    [
        (5, 1, 1, 5, 60),  # one purchase lately, the others over 90 days ago
        (5, 1, 1, 1, 335),  # the others over a year ago
        (5, 0, 2, 2, 275),
        (5, 1, 2, 2, 275),
        (5, 1, 2, 5, 0),  # bought all along
        (2, 2, 2, 2, 0),  # nothing before the silence: a new customer
        (5, 0, 0, 0, 0),  # silent still
    ],
)
def test_silence(frequency: int, days30: int, days90: int, days365: int, expected: int) -> None:
    kinds = dict.fromkeys(("frequency", "frequency_30d", "frequency_90d", "frequency_365d"), "int32")
    table = table_of(kinds, (frequency, days30, days90, days365))
    assert result_of(table, rules.silence(table)) == [expected]


@pytest.mark.parametrize(
    ("silence", "expected"),
    [(59, "active"), (60, "returned"), (335, "returned")],
)
def test_who_is_active_after_three_intervals_of_silence_has_returned(silence: int, expected: str) -> None:
    table = table_of({"first": "date", "last": "date"}, (date(2025, 1, 1), AS_OF))
    found = rules.lifecycle(table["first"], table["last"], ibis.literal(20.0), AS_OF, ibis.literal(silence))
    assert result_of(table, found) == [expected]


def test_aipl_stage() -> None:
    kinds = {
        **dict.fromkeys(("frequency_365d", "carts_30d", "searches_30d", "views_30d"), "int32"),
        "first_seen_on": "date",
    }
    table = table_of(
        kinds,
        (3, 0, 0, 0, AS_OF),
        (2, 9, 9, 9, AS_OF),
        (0, 1, 0, 0, AS_OF),
        (0, 0, 1, 0, AS_OF),
        (None, None, None, 3, AS_OF),
        (0, 0, 0, 2, AS_OF),
        (None, None, None, None, None),
    )
    stages = ["loyal", "purchased", *["interested"] * 3, "aware", None]
    assert result_of(table, rules.aipl_stage(table)) == stages


def test_thirds_are_those_of_the_known_values() -> None:
    table, x = column([None, 3.0, 1.0, None, 2.0], "float64")
    assert result_of(table, rules.third(x)) == [None, "high", "low", None, "mid"]


def test_daypart_is_the_greatest_share() -> None:
    kinds = dict.fromkeys(("night_share", "morning_share", "afternoon_share", "evening_share"), "float64")
    table = table_of(kinds, (0.1, 0.2, 0.3, 0.4), (0.0, 0.5, 0.5, 0.0), (None, None, None, None))
    assert result_of(table, rules.daypart(table)) == ["evening", "morning", None]


@pytest.mark.parametrize(
    ("baskets", "expected"),
    [
        ([5.0], ["mid"]),
        ([5.0, 9.0], ["low", "high"]),
        ([1.0, 2.0, 3.0], ["low", "mid", "high"]),
        ([1.0, 1.0, 3.0], ["low", "low", "high"]),  # ties are equal
        ([4.0, 4.0, 4.0], ["mid", "mid", "mid"]),
        ([6.0, 1.0, 4.0, 2.0, 5.0, 3.0], ["high", "low", "mid", "low", "high", "mid"]),
    ],
)
def test_spending_tier(baskets: list[float], expected: list[str]) -> None:
    table, x = column(baskets, "float64")
    assert result_of(table, rules.spending_tier(x)) == expected


def test_average_basket_and_store_share() -> None:
    kinds = {"monetary": "float64", "frequency": "int32", "store": "float64"}
    table = table_of(kinds, (30.0, 4, 7.5), (0.0, 0, 0.0), (50.0, 2, 60.0))
    assert result_of(table, rules.average_basket(table["monetary"], table["frequency"])) == [7.5, None, 25.0]
    # Returned goods can make the store's part exceed the whole; a share stays within 0 and 1.
    assert result_of(table, rules.store_share(table["store"], table["monetary"])) == [0.25, None, 1.0]


def test_home_store_is_the_registered_one_first() -> None:
    table = table_of({"a": "string", "b": "string"}, ("s1", "s2"), (None, "s3"), (None, None))
    assert result_of(table, rules.home_store(table["a"], table["b"])) == ["s1", "s3", None]


def test_favourites_are_the_values_of_rank_one() -> None:
    table = table_of(
        {"customer_id": "string", "dimension": "string", "value": "string", "rank": "int32"},
        ("a", "category", "Tea", 2),
        ("a", "category", "Dairy", 1),
        ("a", "brand", "Alp", 1),
        ("b", "brand", "Oak", 1),
    )
    found = ibis.duckdb.connect().to_pyarrow(rules.favourites(table, "category"))
    assert found.to_pylist() == [{"customer_id": "a", "favourite_category": "Dairy"}]
