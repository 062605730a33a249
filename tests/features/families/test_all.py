"""What holds of every family: documented, the same on both engines, in any order, and between nights."""

from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from ibis.expr import types as ir
from portrait.config import FeatureConfig
from portrait.contracts import EVENT_NAMES
from portrait.features.activity import activity
from portrait.features.engine import Engine
from portrait.features.families import FAMILIES, finish
from portrait.features.families.documented import FEATURES, page
from portrait.features.families.wide import features_at, side_by_side
from portrait.features.rfm import COLUMNS

from .conftest import AS_OF, CATALOGUE, WEIGHTS, rows_of

CONFIG = FeatureConfig(behaviour_weights=WEIGHTS)
Read = Callable[[Engine, pa.Table], ir.Table]
# None of these ages enters or leaves a window of 30, 90 or 365 days within five days.
AGES = (0, 3, 20, 30, 50, 84, 90, 300, 365, 500)


def crowd(seed: int, size: int = 400) -> list[dict[str, Any]]:
    """Random rows of twelve customers; every order and receipt line has an amount of cents."""
    random = np.random.default_rng(seed)
    made = []
    for number in range(size):
        event = str(random.choice([*EVENT_NAMES, "pos_sale", "pos_return"]))
        bought = event.startswith(("order", "pos"))
        made.append(
            {
                "customer": int(random.integers(12)),
                "event_name": event,
                "days_ago": int(random.choice(AGES)),
                "hour": int(random.integers(24)),
                "item": None if event == "products_searched" else int(random.integers(25)),
                "basket": number // 3 if bought else None,
                "quantity": float(random.integers(1, 9)) / 3 if bought else None,
                "amount": int(random.integers(1, 99_999)) / 100 if bought else None,
                "discount": int(random.integers(0, 99)) / 100 if event == "pos_sale" else None,
                "rating": float(random.integers(1, 6)) if event == "product_reviewed" else None,
                "store_id": f"s{random.integers(4)}" if event.startswith("pos") else None,
            }
        )
    return made


def catalogue() -> pa.Table:
    known = [
        {
            "item": n,
            "category": f"c{n % 5}" if n % 7 else None,
            "brand": f"b{n % 6}" if n % 5 else None,
            "price_tier": 1 + n % 5 if n % 4 else None,
        }
        for n in range(23)
    ]
    return pa.Table.from_pylist(known, schema=CATALOGUE)


def computed(
    engine: Engine, rows: ir.Table, known: ir.Table, family: str, as_of: date = AS_OF
) -> list[dict[str, Any]]:
    found = engine.arrow(finish(FAMILIES[family](rows, known, CONFIG, as_of), AS_OF)).to_pylist()
    return sorted(found, key=lambda r: r["customer"])


def test_engines_agree_row_by_row(duckdb_engine: Engine, spark_engine: Engine, read: Read) -> None:
    rows = rows_of(crowd(1))
    sides = [(e, read(e, rows), read(e, catalogue())) for e in (duckdb_engine, spark_engine)]
    for family in FAMILIES:
        on_duckdb, on_spark = (computed(e, r, c, family) for e, r, c in sides)
        assert len(on_duckdb) == 12
        for one, other in zip(on_duckdb, on_spark, strict=True):
            numbers = {c for c, v in one.items() if isinstance(v, float) and other[c] is not None}
            assert {c: one[c] for c in numbers} == pytest.approx({c: other[c] for c in numbers}, abs=1e-7), (
                family
            )
            assert {c: one[c] for c in one.keys() - numbers} == {
                c: other[c] for c in other.keys() - numbers
            }, family


def test_order_of_rows_changes_no_bit(duckdb_engine: Engine, read: Read) -> None:
    rows = rows_of(crowd(2, 5000))
    shuffled = rows.take(np.random.default_rng(0).permutation(rows.num_rows))
    known = read(duckdb_engine, catalogue())
    for family in FAMILIES:
        one, other = (
            computed(duckdb_engine, read(duckdb_engine, t), known, family) for t in (rows, shuffled)
        )
        assert one == other, family


def test_values_change_only_when_an_event_enters_or_leaves_a_window(
    duckdb_engine: Engine, read: Read
) -> None:
    rows, known = read(duckdb_engine, rows_of(crowd(3))), read(duckdb_engine, catalogue())
    for family in FAMILIES:
        tonight = computed(duckdb_engine, rows, known, family)
        assert computed(duckdb_engine, rows, known, family, AS_OF + timedelta(days=5)) == tonight, family
    # Those 84 days old leave the window of 90 one day later: the test would see a window.
    assert computed(duckdb_engine, rows, known, "behaviour", AS_OF + timedelta(days=6)) != computed(
        duckdb_engine, rows, known, "behaviour"
    )


def test_finish_counts_days(engine: Engine, read: Read) -> None:
    dates = {
        "customer": [1, 2],
        "last_visit_on": [date(2026, 3, 1), None],
        "first_visit_on": [date(2026, 1, 1)] * 2,
    }
    found = engine.arrow(finish(read(engine, pa.table(dates)), AS_OF)).to_pylist()
    assert found == [
        {"customer": 1, "days_since_visit": 30, "first_visit_on": date(2026, 1, 1)},
        {"customer": 2, "days_since_visit": None, "first_visit_on": date(2026, 1, 1)},
    ]


def test_side_by_side(duckdb_engine: Engine, read: Read) -> None:
    one, other = ({"customer": [1, 3], "a": [5, 6]}, {"customer": [2, 3], "b": [7, 8]})
    everyone, *tables = (read(duckdb_engine, pa.table(t)) for t in ({"customer": [1, 2, 3]}, one, other))
    found = duckdb_engine.arrow(side_by_side(everyone, tables).order_by("customer")).to_pydict()
    assert found == {"customer": [1, 2, 3], "a": [5, None, 6], "b": [None, 7, 8]}


def test_features_at_see_nothing_later(duckdb_engine: Engine, read: Read) -> None:
    """All that is dated after a day may change without a feature of that day changing."""
    known, day = read(duckdb_engine, catalogue()), AS_OF - timedelta(days=40)
    rows = crowd(5)
    later = [
        {**r, "amount": 9e9, "item": 1, "event_name": "pos_sale"} if r["days_ago"] < 40 else r for r in rows
    ]
    assert later != rows
    one, other = (
        duckdb_engine.arrow(features_at(read(duckdb_engine, rows_of(r)), known, CONFIG, day)).sort_by(
            "customer"
        )
        for r in (rows, later)
    )
    assert one.equals(other)
    assert one.column_names == ["customer", *(f.name for f in FEATURES)]


def test_every_column_is_documented(duckdb_engine: Engine, read: Read) -> None:
    rows, known = read(duckdb_engine, rows_of(crowd(4, 50))), read(duckdb_engine, catalogue())
    columns = {n: finish(f(rows, known, CONFIG, AS_OF), AS_OF).columns for n, f in FAMILIES.items()}
    columns |= {"rfm": ("customer", *COLUMNS), "activity": activity(rows, AS_OF).columns}
    documented = {n: ("customer", *(f.name for f in FEATURES if f.family == n)) for n in columns}
    assert {n: tuple(c) for n, c in columns.items()} == documented
    names = [f.name for f in FEATURES]
    assert len(set(names)) == len(names)


def test_the_page_is_up_to_date() -> None:
    written = Path(__file__).parents[3] / "docs" / "features.md"
    assert written.read_text(encoding="utf-8") == page()
