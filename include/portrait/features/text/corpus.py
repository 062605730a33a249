"""What the vectors are learned from: the retailer's own product names and search queries.

A *sentence* is a set of words that belong together: the words of one product in all its languages with its brand and
categories, a query of several words, or a query with the words of a product that was looked at or bought next. The
first joins 大米 and rice, the last joins what people type and what the shop calls it.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from portrait.features.text.tokenise import Tokens, tokenise

PRODUCT_TEXTS = ("brand", "category", "category_1", "category_2", "category_3", "name", "name_zh")
"""Columns of a product that hold words, if they are there."""

NO_CLICKS = pa.table(
    {
        "query": pa.array([], pa.int32()),
        "product": pa.array([], pa.int32()),
        "count": pa.array([], pa.int64()),
    }
)


@dataclass(frozen=True)
class Corpus:
    """Sentences to learn from.

    Attributes
    ----------
    products : words of every product, in the order of the products table.
    queries : words of the most frequent queries.
    query_repeats : how often each of them counts, int64 [queries].
    clicks : rows (query, product), int64 [clicks, 2].
    click_repeats : how often each of them counts, int64 [clicks].
    """

    products: Tokens
    queries: Tokens
    query_repeats: np.ndarray
    clicks: np.ndarray = field(default_factory=lambda: np.empty((0, 2), np.int64))
    click_repeats: np.ndarray = field(default_factory=lambda: np.empty(0, np.int64))

    def __iter__(self) -> Iterator[list[str]]:
        """Sentences of two or more words, as often as they count; each word once in a sentence."""
        products = [list(dict.fromkeys(words)) for words in self.products]
        yield from (words for words in products if len(words) > 1)
        queries = [list(dict.fromkeys(words)) for words in self.queries]
        for words, times in zip(queries, self.query_repeats.tolist(), strict=True):
            if len(words) > 1:
                yield from (words for _ in range(times))
        for (query, product), times in zip(self.clicks.tolist(), self.click_repeats.tolist(), strict=True):
            words = list(dict.fromkeys(queries[query] + products[product]))
            if len(words) > 1:
                yield from (words for _ in range(times))

    def size(self, min_count: int = 1) -> int:
        """Words in all sentences, without those seen less than `min_count` times."""
        counts = Counter(word for sentence in self for word in sentence)
        return sum(n for n in counts.values() if n >= min_count)


def corpus_of(
    products: pa.Table,
    queries: pa.Table,
    clicks: pa.Table = NO_CLICKS,
    most_queries: int = 100_000,
    repeats: int = 8,
) -> Corpus:
    """Sentences of products and queries.

    Parameters
    ----------
    products : one row a product, with some of `PRODUCT_TEXTS`.
    queries : query, count; one row a distinct query.
    clicks : query and product (rows of the two tables), count: products that were looked at or bought after a search.
    most_queries : so many of the most frequent queries, and of the most frequent clicks, are used.
    repeats : a sentence counts as often as the binary logarithm of its count, at most so often.
    """
    chosen = _most_frequent(queries["count"], most_queries)
    place = np.full(queries.num_rows, -1, dtype=np.int64)
    place[chosen] = np.arange(len(chosen))
    clicked = _most_frequent(clicks["count"], most_queries)
    of_query = place[clicks["query"].to_numpy()[clicked]]
    pairs = np.column_stack([of_query, clicks["product"].to_numpy()[clicked]]).astype(np.int64)
    known = of_query >= 0
    return Corpus(
        products=product_tokens(products),
        queries=tokenise(queries["query"].take(chosen)),
        query_repeats=_repeats(queries["count"].to_numpy()[chosen], repeats),
        clicks=pairs[known],
        click_repeats=_repeats(clicks["count"].to_numpy()[clicked][known], repeats),
    )


def product_tokens(products: pa.Table) -> Tokens:
    """Words of each product, of all its columns that hold text."""
    texts = [
        pc.fill_null(products[c].cast(pa.string()), "") for c in PRODUCT_TEXTS if c in products.column_names
    ]
    if not texts:
        return tokenise(pa.nulls(products.num_rows, pa.string()))
    return tokenise(pc.binary_join_element_wise(*texts, "; "))


def _most_frequent(count: pa.ChunkedArray, most: int) -> np.ndarray:
    """Rows of the greatest counts, in the order of the table; the earlier of equals."""
    values = count.to_numpy()
    return np.sort(np.argsort(-values, kind="stable")[:most])


def _repeats(count: np.ndarray, most: int) -> np.ndarray:
    """1 for a count of 1, 2 for 2 or 3, 3 from 4, ..., at most `most`."""
    return np.clip(np.floor(np.log2(np.maximum(count, 1))).astype(np.int64) + 1, 1, most)
