"""Word vectors by TF-IDF and a truncated SVD (latent semantic analysis), trained by scikit-learn.

Deerwester et al., Indexing by latent semantic analysis (1990). For a corpus too small for skip-gram. A word that was
never seen has no vector.

A word is its place on the axes times their singular values, scaled to length 1: words that come in the same texts are
alike. Without the singular values the vectors of a small vocabulary would all stand at right angles.
"""

import numpy as np
from scipy.sparse import csr_matrix, vstack

from portrait.config.text import TextConfig
from portrait.features.text.corpus import Corpus
from portrait.features.text.model import TextModel, document_weights, unit
from portrait.features.text.tokenise import Tokens


def train_tfidf(corpus: Corpus, config: TextConfig, seed: int) -> TextModel:
    """Vectors of all words of the corpus; dimensions that a small corpus cannot fill are zero."""
    from sklearn.utils.extmath import randomized_svd

    words = tuple(dict.fromkeys([*corpus.products.vocabulary, *corpus.queries.vocabulary]))
    products, queries = _over(words, corpus.products), _over(words, corpus.queries)
    weights, rare = document_weights(products)
    vectors = np.zeros((len(words), config.dimensions), np.float32)
    documents = _documents(corpus, products, queries, weights)
    if documents.nnz:
        rank = min(config.dimensions, *documents.shape)
        _, strength, axes = randomized_svd(documents, rank, random_state=seed % 2**32)
        vectors[:, :rank] = axes.T * strength
    return TextModel("tfidf", words, unit(vectors), weights, rare)


def _documents(corpus: Corpus, products: csr_matrix, queries: csr_matrix, weights: np.ndarray) -> csr_matrix:
    """Products, queries, and queries with a product that was looked at next: rows of length 1, then repeated."""
    from sklearn.preprocessing import normalize

    joined = queries[corpus.clicks[:, 0]] + products[corpus.clicks[:, 1]]
    joined.data[:] = 1.0
    found = vstack([products, queries, joined]).multiply(weights).tocsr()
    repeats = np.concatenate([np.ones(products.shape[0]), corpus.query_repeats, corpus.click_repeats])
    rows = normalize(found) if found.shape[1] else found
    return rows.multiply(np.sqrt(repeats)[:, None]).tocsr().astype(np.float32)


def _over(words: tuple[str, ...], tokens: Tokens) -> csr_matrix:
    """Texts x words: 1 where a text has a word."""
    place = {word: column for column, word in enumerate(words)}
    columns = np.array([place[word] for word in tokens.vocabulary], np.int32)
    found = tokens.present()
    return csr_matrix((found.data, columns[found.indices], found.indptr), shape=(len(tokens), len(words)))
