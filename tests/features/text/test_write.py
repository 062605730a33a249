"""The text features of a run, from tables to files."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from portrait.config.text import TextConfig
from portrait.features.text import TextResult, load_model, touches, write_text

Write = Callable[..., tuple[Path, TextResult]]


@pytest.fixture
def write(tmp_path: Path, products: pa.Table, queries: pa.Table, config: TextConfig) -> Write:
    """Three customers: one typed 洗发水 (query 25), one touched the first product, one did nothing."""

    def run(
        name: str = "text", products: pa.Table = products, queries: pa.Table = queries
    ) -> tuple[Path, TextResult]:
        place = queries["query"].to_pylist().index("洗发水") if queries.num_rows else None
        asked = np.array([] if place is None else [place], int)
        result = write_text(
            tmp_path / name,
            config,
            3,
            products=products,
            queries=queries,
            customers=pa.array(["c1", "c2", "c3"]),
            searched=touches(np.zeros(len(asked), int), asked, np.ones(len(asked)), (3, queries.num_rows)),
            touched=touches(np.array([1]), np.array([0]), np.array([2.0]), (3, products.num_rows)),
        )
        return tmp_path / name, result

    return run


def test_what_is_written(write: Write, products: pa.Table) -> None:
    folder, result = write()
    assert (result.method, result.items, result.queries, result.customers) == ("fasttext", 360, 36, 2)
    items = pq.read_table(folder / "items.parquet")
    assert items.schema.field("vector").type == pa.list_(pa.float32(), 32)
    assert items["sku"].to_pylist() == products["sku"].to_pylist()
    near = pq.read_table(folder / "neighbours.parquet")
    assert near.column_names == ["sku", "rank", "neighbour", "similarity"]
    assert near.num_rows == 360 * 5
    customers = {
        r["customer_id"]: r["vector"] for r in pq.read_table(folder / "customers.parquet").to_pylist()
    }
    assert list(customers) == ["c1", "c2"]
    np.testing.assert_allclose(customers["c2"], items["vector"][0].as_py(), rtol=1e-6)
    np.testing.assert_allclose(customers["c1"], load_model(folder / "model").embed(["洗发水"])[0], rtol=1e-6)


def test_neighbours_are_mostly_of_the_same_category(write: Write, products: pa.Table) -> None:
    near = pq.read_table(write()[0] / "neighbours.parquet").to_pylist()
    category = {p["sku"]: p["category"] for p in products.to_pylist()}
    same = np.mean([category[n["sku"]] == category[n["neighbour"]] for n in near])
    assert same > 0.9  # by chance 59 of 359


def test_a_rerun_writes_the_same_bytes(write: Write) -> None:
    first, again = write("first")[0], write("again")[0]
    names = [p.relative_to(first) for p in sorted(first.rglob("*")) if p.is_file()]
    assert len(names) == 6
    for name in names:
        assert (first / name).read_bytes() == (again / name).read_bytes(), name


def test_a_product_without_words_is_left_out(write: Write, products: pa.Table) -> None:
    rows = [*products.to_pylist(), {"sku": "bare", "name": "🍎"}]
    folder, result = write(products=pa.Table.from_pylist(rows))
    assert result.items == 360
    near = pq.read_table(folder / "neighbours.parquet")
    named = [*near["sku"].to_pylist(), *near["neighbour"].to_pylist()]
    assert "bare" not in [*named, *pq.read_table(folder / "items.parquet")["sku"].to_pylist()]


def test_a_shop_without_any_text(write: Write, queries: pa.Table) -> None:
    folder, result = write(products=pa.table({"sku": ["a"]}), queries=queries.slice(0, 0))
    assert result == TextResult("tfidf", 0, 0, 0, 0)
    assert pq.read_table(folder / "items.parquet").num_rows == 0
    assert pq.read_table(folder / "neighbours.parquet").num_rows == 0
    assert pq.read_table(folder / "customers.parquet").num_rows == 0
    assert load_model(folder / "model").embed(["rice"]).tolist() == [[0] * 32]


def test_items_of_an_earlier_night_are_taken_over(
    tmp_path: Path, products: pa.Table, queries: pa.Table, config: TextConfig
) -> None:
    """The files are what they would be anew, also where the matrix has other columns than there are products."""
    columns = np.arange(products.num_rows)[::-1] + 2
    touched = touches(np.array([1]), columns[:1], np.array([2.0]), (3, products.num_rows + 2))

    def write(name: str, **more: Any) -> Path:
        write_text(
            tmp_path / name, config, 3, products=products, queries=queries, customers=pa.array(["c1", "c2", "c3"]),
            searched=touches(np.zeros(0, int), np.zeros(0, int), np.zeros(0), (3, queries.num_rows)),
            touched=touched, columns=columns, **more,
        )  # fmt: skip
        return tmp_path / name

    first = write("first")
    model = load_model(first / "model")
    anew, taken = write("anew", model=model), write("taken", model=model, items_of=first)
    for name in ("items.parquet", "neighbours.parquet", "customers.parquet"):
        assert (anew / name).read_bytes() == (taken / name).read_bytes(), name
    (customer,) = pq.read_table(taken / "customers.parquet").to_pylist()
    assert customer["customer_id"] == "c2"
    first_item = pq.read_table(taken / "items.parquet")["vector"][0].as_py()
    np.testing.assert_allclose(customer["vector"], first_item, rtol=1e-6)
