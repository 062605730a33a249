"""Purchase days by category, worked out by hand."""

from datetime import date

import ibis
from portrait.config import load_settings
from portrait.features.repurchase import repurchase


def test_purchase_days_by_category() -> None:
    """Two lines of one day are one purchase day; views, returns and items without a category count for nothing."""
    one, two = date(2026, 1, 1), date(2026, 1, 9)
    said = [
        ("pos_sale", 1, one),
        ("order_completed", 2, one),
        ("pos_sale", 1, two),
        ("product_viewed", 1, date(2026, 1, 20)),
    ]
    said += [("pos_return", 1, date(2026, 1, 21)), ("pos_sale", 3, two), ("pos_sale", 4, two)]  # fmt: skip
    rows = ibis.memtable(
        [{"customer": 7, "event_name": e, "item": i, "business_date": d} for e, i, d in said]
    )
    catalogue = ibis.memtable([{"item": 1, "category": "Milk"}, {"item": 2, "category": "Milk"}, {"item": 3, "category": None}])  # fmt: skip
    table = repurchase(rows, catalogue, load_settings({}).features)
    found = ibis.duckdb.connect().to_pyarrow(table).to_pylist()
    assert found == [{"customer": 7, "category": "Milk", "purchase_days": 2, "first_on": one, "last_on": two}]
