"""Which sentences the words are learned from."""

import pyarrow as pa
from portrait.features.text.corpus import corpus_of

PRODUCTS = pa.table(
    {
        "sku": ["a", "b", "c"],
        "name": ["Lotus Rice", "Milk", None],
        "name_zh": ["荷塘大米", None, None],
        "brand": ["Lotus", None, None],
        "category_2": ["Grains", None, None],
    }
)
QUERIES = pa.table({"query": ["rice", "cheap milk", "breakfast", "🍎"], "count": [900, 3, 40, 7]})


def clicks(*rows: tuple[int, int, int]) -> pa.Table:
    return pa.table(dict(zip(("query", "product", "count"), map(list, zip(*rows, strict=True)), strict=True)))


def test_a_product_is_one_sentence_in_all_its_languages() -> None:
    sentences = list(corpus_of(PRODUCTS, QUERIES.slice(0, 0)))
    assert sentences == [["lotus", "grain", "rice", "荷塘", "大米"]]  # a single word teaches nothing


def test_a_query_counts_by_the_logarithm_of_its_count() -> None:
    corpus = corpus_of(PRODUCTS, QUERIES, repeats=8)
    assert corpus.query_repeats.tolist() == [8, 2, 6, 3]
    assert list(corpus)[1:] == [["cheap", "milk"]] * 2


def test_clicks_join_a_query_and_a_product() -> None:
    corpus = corpus_of(PRODUCTS, QUERIES, clicks((2, 1, 1), (3, 2, 9)))
    assert ["breakfast", "milk"] in list(corpus)
    assert corpus.size() == 5 + 2 * 2 + 2


def test_only_the_most_frequent_queries_and_their_clicks() -> None:
    corpus = corpus_of(PRODUCTS, QUERIES, clicks((1, 0, 9), (2, 1, 5), (0, 0, 1)), most_queries=2)
    assert list(corpus.queries) == [["rice"], ["breakfast"]]
    # Two clicks are taken; that of `cheap milk` goes with its query.
    assert corpus.clicks.tolist() == [[1, 1]]


def test_words_seen_too_rarely_are_not_counted() -> None:
    assert corpus_of(PRODUCTS, QUERIES).size(min_count=2) == 2 * 2


def test_products_without_any_text() -> None:
    assert corpus_of(pa.table({"sku": ["a", "b"]}), QUERIES.slice(0, 0)).size() == 0
