"""A trained text model: a vector and a weight for each word, and from them a vector for each text."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from scipy.sparse import csr_matrix

from portrait.features.text.ngrams import Ngrams
from portrait.features.text.tokenise import Tokens, tokenise

SMALLEST = 1e-6
"""Length below which a sum of vectors has no direction."""


@dataclass(frozen=True)
class TextModel:
    """Vectors of words.

    Attributes
    ----------
    method : how it was trained: ``fasttext`` or ``tfidf``.
    words : those that were trained, and all words of products.
    vectors : float32 [words, dimensions]; zeros for a word of which nothing is known.
    weights : float32 [words], inverse document frequency: a word of few products says more.
    rare : weight of words that no product has.
    ngrams : pieces of words, from which words that were never seen get a vector; `tfidf` has none.
    """

    method: str
    words: tuple[str, ...]
    vectors: np.ndarray
    weights: np.ndarray
    rare: float
    ngrams: Ngrams | None = None

    @property
    def dimensions(self) -> int:
        return int(self.vectors.shape[1])

    def embed(self, texts: Tokens | pa.Array | pa.ChunkedArray | Sequence[str | None]) -> np.ndarray:
        """Float32 [n, dimensions]: the weighted sum of a text's words, of length 1.

        All zeros where a text has no word with a vector; `has_vector` says which.
        """
        tokens = texts if isinstance(texts, Tokens) else tokenise(texts)
        vectors, weights = self._of_words(tokens.vocabulary)
        found = tokens.present()
        found.data *= weights[found.indices]
        return unit(np.asarray(found @ vectors, dtype=np.float32))

    def _of_words(self, words: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """Vector and weight of each word."""
        rows = {word: row for row, word in enumerate(self.words)}
        place = np.fromiter((rows.get(word, -1) for word in words), np.int64, len(words))
        known, new = place >= 0, np.flatnonzero(place < 0)
        vectors = np.zeros((len(words), self.dimensions), np.float32)
        weights = np.full(len(words), self.rare, np.float32)
        vectors[known], weights[known] = self.vectors[place[known]], self.weights[place[known]]
        if self.ngrams is not None and len(new):
            vectors[new] = self.ngrams.vectors_of([words[i] for i in new.tolist()])
        return vectors, weights


def unit(vectors: np.ndarray) -> np.ndarray:
    """Rows scaled to length 1; those without a direction become zeros."""
    length = np.sqrt(np.einsum("ij,ij->i", vectors, vectors, dtype=np.float64))
    scale = np.divide(1.0, length, out=np.zeros_like(length), where=length > SMALLEST)
    return (vectors * scale[:, None].astype(np.float32)).astype(np.float32, copy=False)


def has_vector(vectors: np.ndarray) -> np.ndarray:
    """Bool [n]: which rows are a vector rather than zeros."""
    found: np.ndarray = np.any(vectors != 0, axis=1)
    return found


def document_weights(present: csr_matrix) -> tuple[np.ndarray, float]:
    """Inverse document frequency of each word over the documents, and that of a word in none of them.

    ln((1 + documents) / (1 + documents with the word)) + 1, as scikit-learn smooths it.
    """
    documents = present.shape[0]
    counts = np.bincount(present.indices, minlength=present.shape[1])
    weights = (np.log((1 + documents) / (1 + counts)) + 1).astype(np.float32)
    return weights, float(np.log(1 + documents) + 1)
