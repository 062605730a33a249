"""Pieces of words: how a word that was never seen gets a vector from those that look like it."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_matrix

SHORTEST, LONGEST = 3, 5
"""Characters of a piece, the marks of a word's beginning and end included: <大米> has <大米, 大米>."""
BUCKETS = 2**18
"""Pieces are hashed into so many numbers (Bojanowski et al., Enriching word vectors with subword information, 2017)."""
ENOUGH = 0.5
"""Share of a word's pieces that must be known. A mistyped word has it, letters at random do not."""


@dataclass(frozen=True)
class Ngrams:
    """Vectors of the pieces that training has seen.

    `buckets` int32 [m], rising; `vectors` float32 [m, dimensions].
    """

    buckets: np.ndarray
    vectors: np.ndarray

    def vectors_of(self, words: Sequence[str]) -> np.ndarray:
        """Float32 [n, dimensions]: the mean of the known pieces; zeros where fewer than half are known."""
        pieces = [buckets_of(word) for word in words]
        lengths = np.fromiter(map(len, pieces), np.int64, len(pieces))
        flat = np.fromiter((b for of in pieces for b in of), np.int64, int(lengths.sum()))
        row = np.repeat(np.arange(len(words)), lengths)
        place = np.minimum(np.searchsorted(self.buckets, flat), max(len(self.buckets) - 1, 0))
        known = self.buckets[place] == flat if len(self.buckets) else np.zeros(len(flat), bool)
        counts = np.bincount(row[known], minlength=len(words))
        share = counts >= np.maximum(ENOUGH * lengths, 1)
        mean = np.where(share, 1 / np.maximum(counts, 1), 0).astype(np.float32)
        row, place = row[known], place[known]
        shape = (len(words), len(self.buckets))
        return np.asarray(csr_matrix((mean[row], (row, place)), shape=shape) @ self.vectors, dtype=np.float32)


def buckets_of(word: str) -> list[int]:
    """Numbers of a word's pieces."""
    from gensim.models.fasttext import ft_ngram_hashes

    found: list[int] = ft_ngram_hashes(word, SHORTEST, LONGEST, BUCKETS)
    return found
