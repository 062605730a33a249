"""The purchase log worked out by hand."""

from collections.abc import Callable
from datetime import date
from pathlib import Path

import pyarrow.parquet as pq
from ibis.expr import types as ir
from portrait.config import FeatureConfig
from portrait.features.engine import Engine
from portrait.features.purchase import purchases

from .conftest import Shop

MakeRows = Callable[..., ir.Table]
CONFIG = FeatureConfig(behaviour_weights={}, purchases=("order_completed", "pos_sale"))


def test_an_item_counts_once_a_day_whatever_the_channel(engine: Engine, make_rows: MakeRows) -> None:
    def row(customer: str, name: str, item: str | None, day: int) -> dict[str, object]:
        return {"customer": customer, "event_name": name, "item": item, "business_date": date(1970, 1, day)}

    rows = make_rows(
        row("0", "order_completed", "a", 3),
        row("0", "pos_sale", "a", 3),
        row("0", "pos_sale", "a", 5),
        row("1", "product_viewed", "b", 3),
        row("1", "pos_return", "b", 4),
        row("1", "pos_sale", None, 4),
    )
    found = engine.arrow(purchases(rows, CONFIG).order_by("day")).to_pylist()
    assert found == [
        {"customer": "0", "day": 2, "item": "a"},
        {"customer": "0", "day": 4, "item": "a"},
    ]


def test_a_night_writes_it_by_position(shop: Shop, tmp_path: Path) -> None:
    day = date(2026, 3, 1)
    bought = {"event_name": "order_completed", "quantity": 1, "unit_price": 3, "order_id": "o1"}
    shop.events(day, {"account_id": "a1", "sku": "s1", **bought}, {"account_id": "a1", "sku": "s2"})
    shop.night(day)
    folder = shop.folder(day) / "matrix"
    (row,) = pq.read_table(folder / "purchases.parquet").to_pylist()
    skus = pq.read_table(folder / "items.parquet").to_pylist()
    assert skus[row["item"]]["sku"] == "s1"
    assert row["day"] == (day - date(1970, 1, 1)).days
