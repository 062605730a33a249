"""How good the vectors are on the simulated retailer, whose categories are known. `benchmarks/text.py` has more."""

from collections import Counter

import numpy as np
import pyarrow as pa
import pytest
from portrait.config.text import TextConfig
from portrait.features.text import neighbours, product_vectors, train_text
from portrait.simulate import Retailer
from portrait.simulate.assortment import build_assortment
from portrait.simulate.categories import DEPARTMENTS

PRODUCTS = 400


@pytest.fixture(scope="module")
def shop() -> tuple[pa.Table, pa.Table]:
    """Products, and each of their four queries as often as products have it."""
    assortment = build_assortment(Retailer(products=PRODUCTS))
    counts = Counter(assortment.queries.to_pylist())
    queries = pa.table({"query": list(counts), "count": list(counts.values())})
    return assortment.table.select(["sku", "name", "name_zh", "category_2", "category_3"]), queries


@pytest.mark.parametrize("method", ["fasttext", "tfidf"])
def test_names_alone_tell_the_category(shop: tuple[pa.Table, pa.Table], method: str) -> None:
    products, queries = shop
    names = products.select(["name", "name_zh"])
    model = train_text(names, queries, TextConfig(method=method), seed=7)
    assert model.method == method
    near = neighbours(products["sku"], product_vectors(model, names), np.full(PRODUCTS, -1), 10)
    category = dict(zip(products["sku"].to_pylist(), products["category_2"].to_pylist(), strict=True))
    same = [category[r["sku"]] == category[r["neighbour"]] for r in near.to_pylist()]
    sizes = np.array(list(Counter(category.values()).values()))
    chance = (sizes * (sizes - 1)).sum() / (PRODUCTS * (PRODUCTS - 1))
    assert np.mean(same) > 20 * chance


def test_queries_find_products_named_only_in_the_other_language(shop: tuple[pa.Table, pa.Table]) -> None:
    """Half of the products are named in one language alone. R-precision over the kinds of product."""
    products, queries = shop
    english = np.arange(PRODUCTS) % 4 == 0
    chinese = np.arange(PRODUCTS) % 4 == 1
    named = pa.table(
        {
            "name": pa.array(products["name"].to_pylist(), mask=chinese),
            "name_zh": pa.array(products["name_zh"].to_pylist(), mask=english),
        }
    )
    model = train_text(named, queries, TextConfig(), seed=7)
    vectors, kind = product_vectors(model, named), np.array(products["category_3"].to_pylist())
    leaves = [leaf for d in DEPARTMENTS for s in d.shelves for leaf in s.leaves]
    for among, query in ((english, "zh"), (chinese, "name")):
        found = []
        for leaf in leaves:
            relevant = kind[among] == leaf.name
            order = np.argsort(-(vectors[among] @ model.embed([getattr(leaf, query)])[0]))
            found += [relevant[order[: relevant.sum()]].mean()] if relevant.any() else []
        assert np.mean(found) > 0.4, query
