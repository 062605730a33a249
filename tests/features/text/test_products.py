"""Neighbours of products."""

import numpy as np
import pyarrow as pa
import pytest
from portrait.config.text import TextConfig
from portrait.features.text import TextModel, neighbours, product_categories, product_vectors, train_text
from portrait.features.text import products as module


def around(*degrees: float) -> np.ndarray:
    """Vectors at these angles."""
    angle = np.radians(degrees)
    return np.column_stack([np.cos(angle), np.sin(angle)]).astype(np.float32)


def test_neighbours_in_order_of_similarity() -> None:
    found = neighbours(pa.array(["a", "b", "c", "d"]), around(0, 60, 20, 180), np.full(4, -1), 2)
    assert found.select(["sku", "rank", "neighbour"]).to_pydict() == {
        "sku": ["a", "a", "b", "b", "c", "c", "d", "d"],
        "rank": [1, 2] * 4,
        "neighbour": ["c", "b", "c", "a", "a", "b", "b", "c"],
    }
    expected = np.cos(np.radians([20, 60, 40, 60, 20, 40, 120, 160]))
    np.testing.assert_allclose(found["similarity"].to_numpy(), expected, atol=1e-5)


def test_the_category_breaks_ties_then_the_order() -> None:
    vectors = around(0, 30, 30, -30, 30)
    found = neighbours(pa.array(list("abcde")), vectors, np.array([1, 2, 1, 1, -1]), 4)
    assert found["neighbour"].to_pylist()[:4] == ["c", "d", "b", "e"]
    # A category that is not known is nobody's.
    assert found["neighbour"].to_pylist()[-4:] == ["b", "c", "a", "d"]


def test_products_without_a_vector_have_no_neighbours_and_are_none() -> None:
    vectors = around(0, 10, 20)
    vectors[1] = 0
    found = neighbours(pa.array(["a", "b", "c"]), vectors, np.zeros(3, int), 20)
    assert found.select(["sku", "neighbour"]).to_pydict() == {"sku": ["a", "c"], "neighbour": ["c", "a"]}


@pytest.mark.parametrize("vectors", [np.zeros((0, 2), np.float32), around(0), np.zeros((3, 2), np.float32)])
def test_nothing_to_compare(vectors: np.ndarray) -> None:
    skus = pa.array([str(i) for i in range(len(vectors))], pa.string())
    assert neighbours(skus, vectors, np.zeros(len(vectors), int), 20).num_rows == 0


def test_blocks_do_not_change_the_result(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(300, 8)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    category = rng.integers(0, 5, 300)
    skus = pa.array([f"s{i}" for i in range(300)])
    whole = neighbours(skus, vectors, category, 7)
    similarity = np.rint((vectors @ vectors.T).astype(np.float64) * 1e5)
    np.fill_diagonal(similarity, -np.inf)
    for i in (0, 150, 299):
        order = np.lexsort((np.arange(300), category != category[i], -similarity[i]))[:7]
        assert whole["neighbour"].to_pylist()[7 * i : 7 * i + 7] == [f"s{j}" for j in order]
    monkeypatch.setattr(module, "BLOCK", 1000)
    assert neighbours(skus, vectors, category, 7).equals(whole)


def test_a_new_product_has_neighbours_of_its_category(model: TextModel, products: pa.Table) -> None:
    """Nobody touched it, training did not see it, its brand is new."""
    new = {
        "sku": "new",
        "name": "Zephyr oolong 900 g",
        "name_zh": "乌龙茶",
        "brand": "Zephyr",
        "category": "Tea",
    }
    extended = pa.Table.from_pylist([*products.to_pylist(), new])
    vectors = product_vectors(model, extended)
    found = neighbours(extended["sku"], vectors, product_categories(extended), 10)
    own = found.filter(pa.compute.equal(found["sku"], "new"))["neighbour"].to_pylist()
    names = {p["sku"]: p["name"] for p in products.to_pylist()}
    assert len(own) == 10
    assert all("oolong" in names[sku] for sku in own)


def test_categories_are_numbered() -> None:
    table = pa.table({"category_1": ["x", "x", None], "category_2": ["y", None, None]})
    y, x, none = product_categories(table).tolist()
    assert none == -1
    assert len({x, y, none}) == 3
    assert product_categories(pa.table({"sku": ["a"]})).tolist() == [-1]


def test_a_product_known_by_its_category_alone() -> None:
    products = pa.table(
        {
            "sku": ["a", "b", "c"],
            "name": ["green tea", "whole milk", None],
            "category": ["Tea", "Milk", "Tea"],
        }
    )
    model = train_text(
        products,
        pa.table({"query": pa.array([], pa.string()), "count": pa.array([], pa.int64())}),
        TextConfig(),
        0,
    )
    found = neighbours(products["sku"], product_vectors(model, products), product_categories(products), 1)
    assert found["neighbour"].to_pylist()[2] == "a"
