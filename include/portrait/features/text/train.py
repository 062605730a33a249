"""Training a text model: skip-gram where the corpus is large enough for it, else TF-IDF."""

import logging
import time

import pyarrow as pa

from portrait.config.tuning import TextConfig
from portrait.features.text.corpus import NO_CLICKS, corpus_of
from portrait.features.text.model import TextModel
from portrait.features.text.skipgram import train_skipgram
from portrait.features.text.tfidf import train_tfidf

log = logging.getLogger(__name__)


def train_text(
    products: pa.Table, queries: pa.Table, config: TextConfig, seed: int, clicks: pa.Table = NO_CLICKS
) -> TextModel:
    """Word vectors of a retailer's products and queries.

    Parameters
    ----------
    products : one row a product: some of brand, category, category_1 to category_3, name, name_zh.
    queries : query, count; one row a distinct query.
    clicks : query and product (rows of the two tables), count.

    A corpus of fewer than `config.min_words` frequent words is trained by TF-IDF whatever `config.method` says; the reason is
    logged, and the model's `method` says what it is. Without any word the model has none, and no text gets a vector.
    """
    started = time.monotonic()
    corpus = corpus_of(products, queries, clicks, config.most_queries, config.most_repeats)
    size = corpus.size(config.min_count)
    if config.method == "fasttext" and size >= config.min_words:
        model = train_skipgram(corpus, config, seed)
    else:
        if config.method == "fasttext":
            log.info(
                "text: %d words are too few for fasttext (min_words is %d); tfidf is used",
                size,
                config.min_words,
            )
        model = train_tfidf(corpus, config, seed)
    log.info(
        "text: %s over %d words, vectors of %d in %.1f s",
        model.method,
        size,
        len(model.words),
        time.monotonic() - started,
    )
    return model
