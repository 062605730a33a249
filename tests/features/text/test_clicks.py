"""Which product answers a search."""

from datetime import UTC, datetime, timedelta

import ibis
import pyarrow as pa
from portrait.features.text.clicks import clicks

START = datetime(2026, 3, 1, 12, tzinfo=UTC)
SCHEMA = pa.schema(
    {
        "customer": pa.int32(),
        "event_name": pa.string(),
        "item": pa.int32(),
        "search_query": pa.string(),
        "occurred_at": pa.timestamp("us", tz="UTC"),
    }
)


def found(*rows: tuple[int | None, int, str | int]) -> list[dict[str, object]]:
    """Clicks of (customer, minute, query or item)."""
    made = [
        {
            "customer": customer,
            "event_name": "products_searched" if isinstance(what, str) else "product_viewed",
            "item": None if isinstance(what, str) else what,
            "search_query": what if isinstance(what, str) else None,
            "occurred_at": START + timedelta(minutes=minute),
        }
        for customer, minute, what in rows
    ]
    table = ibis.memtable(pa.Table.from_pylist(made, schema=SCHEMA))
    result: list[dict[str, object]] = ibis.duckdb.connect().to_pyarrow(clicks(table)).to_pylist()
    return result


def test_the_next_product_answers_the_search() -> None:
    assert found((1, 0, "rice"), (1, 2, 7), (1, 3, 8), (2, 0, "rice"), (2, 10, 7)) == [
        {"query": "rice", "item": 7, "count": 2}
    ]


def test_a_search_that_is_followed_by_another_or_by_nothing_has_no_answer() -> None:
    assert found((1, 0, "ricee"), (1, 1, "rice"), (1, 2, 7), (2, 0, "milk")) == [
        {"query": "rice", "item": 7, "count": 1}
    ]


def test_a_search_and_its_answer_in_the_same_second() -> None:
    assert found((1, 0, 7), (1, 0, "rice")) == [{"query": "rice", "item": 7, "count": 1}]


def test_much_later_or_by_somebody_else_is_no_answer() -> None:
    assert found((1, 0, "rice"), (1, 11, 7), (2, 0, "milk"), (3, 1, 8), (None, 0, "tea"), (None, 1, 9)) == []
