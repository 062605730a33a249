"""What trained vectors know."""

import itertools
import logging
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from portrait.config.text import TextConfig
from portrait.features.text import TextModel, has_vector, product_vectors, train_text

from .conftest import CATEGORIES

NOTHING = pa.table({"query": pa.array([], pa.string()), "count": pa.array([], pa.int64())})


def best(model: TextModel, products: pa.Table, query: str, k: int = 10) -> list[dict[str, str]]:
    """The products most like a query."""
    similarity = product_vectors(model, products) @ model.embed([query])[0]
    return products.take(np.argsort(-similarity)[:k]).to_pylist()


def test_the_method_is_what_was_asked_for(fasttext: TextModel, tfidf: TextModel) -> None:
    assert (fasttext.method, tfidf.method) == ("fasttext", "tfidf")


@pytest.mark.parametrize("query", ["shampoo", "洗发水", "Wok", "炒锅", "oolong", "乌龙茶"])
def test_a_query_finds_products_named_with_it(model: TextModel, products: pa.Table, query: str) -> None:
    names = {en for things in CATEGORIES.values() for en, zh in things if query.lower() in (en, zh)}
    (name,) = names
    assert all(name in p["name"] for p in best(model, products, query))


def test_clicks_teach_words_that_no_product_has(products: pa.Table, config: TextConfig) -> None:
    queries = pa.table({"query": ["breakfast"], "count": [500]})
    milk = [i for i, p in enumerate(products.to_pylist()) if p["category"] == "Milk"]
    clicks = pa.table({"query": [0] * len(milk), "product": milk, "count": [20] * len(milk)})
    for method in ("fasttext", "tfidf"):
        changed = config.model_copy(update={"method": method})
        model = train_text(products, queries, changed, 3, clicks)
        assert model.method == method
        assert {p["category"] for p in best(model, products, "breakfast")} == {"Milk"}, method


def test_a_mistyped_word_is_understood_from_its_pieces(fasttext: TextModel, products: pa.Table) -> None:
    assert "shampo" not in fasttext.words
    assert all("shampoo" in p["name"] for p in best(fasttext, products, "shampo"))


def test_what_was_never_seen_has_no_vector(model: TextModel) -> None:
    texts = ["zzqxv", "🍎🍊", "", None, "的", "ß̸͓͝ñ̵̛#", "жжж"]
    vectors = model.embed(texts)
    assert not has_vector(vectors).any()
    assert np.isfinite(vectors).all()


def test_vectors_have_length_one(model: TextModel, products: pa.Table) -> None:
    vectors = product_vectors(model, products)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)


def test_a_rare_word_weighs_more(model: TextModel) -> None:
    """Of 360 products 90 are of the brand Lotus, 20 are shampoo."""
    weight = dict(zip(model.words, model.weights.tolist(), strict=True))
    assert weight["shampoo"] == pytest.approx(np.log(361 / 21) + 1, rel=1e-6)
    assert weight["lotus"] == pytest.approx(np.log(361 / 91) + 1, rel=1e-6)
    assert model.rare == pytest.approx(np.log(361) + 1)


@pytest.mark.parametrize("method", ["fasttext", "tfidf"])
def test_the_same_seed_gives_the_same_vectors(
    products: pa.Table, queries: pa.Table, config: TextConfig, method: str, request: pytest.FixtureRequest
) -> None:
    first: TextModel = request.getfixturevalue(method)
    again = train_text(products, queries, config.model_copy(update={"method": method}), seed=3)
    assert again.words == first.words
    np.testing.assert_array_equal(again.vectors, first.vectors)
    np.testing.assert_array_equal(again.embed(["shampo"]), first.embed(["shampo"]))


def test_another_process_gives_the_same_vectors(fasttext: TextModel) -> None:
    """Python's own hash of strings differs from process to process."""
    code = (
        "from conftest import asked, shop, SETTINGS;"
        "from portrait.features.text import train_text;"
        "print(train_text(shop(), asked(), SETTINGS, 3).vectors.tobytes().hex())"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONHASHSEED": "12345"},  # whose other words may choose the kernels of BLAS
        cwd=Path(__file__).parent,
        check=True,
    )
    assert done.stdout.strip() == fasttext.vectors.tobytes().hex()


def test_a_small_corpus_is_trained_by_tfidf(
    products: pa.Table, queries: pa.Table, config: TextConfig, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        model = train_text(products.slice(0, 40), queries, config, seed=3)
    assert model.method == "tfidf"
    assert "too few for fasttext (min_words is 1000)" in caplog.text


@pytest.mark.parametrize("method", ["fasttext", "tfidf"])
def test_nothing_to_learn_from(method: str) -> None:
    model = train_text(pa.table({"sku": ["a", "b"]}), NOTHING, TextConfig(method=method), seed=0)
    vectors = product_vectors(model, pa.table({"sku": ["a", "b"]}))
    assert vectors.shape == (2, 64)
    assert not has_vector(vectors).any()
    assert model.embed([]).shape == (0, 64)


@pytest.mark.parametrize("name", ["rice", "Lotus rice 大米"])
def test_a_single_product(name: str) -> None:
    products = pa.table({"sku": ["a"], "name": [name]})
    model = train_text(products, NOTHING, TextConfig(), seed=0)
    assert (model.embed([name]) @ product_vectors(model, products)[0]).tolist() == [
        pytest.approx(1, abs=1e-5)
    ]


def test_queries_without_products() -> None:
    texts = [f"{a} {b}" for a, b in itertools.product(["绿茶", "红茶", "牛奶"], ["cheap", "fresh"])]
    model = train_text(
        pa.table({"sku": pa.array([], pa.string())}),
        pa.table({"query": texts, "count": [1] * 6}),
        TextConfig(),
        0,
    )
    assert has_vector(model.embed(texts)).all()
