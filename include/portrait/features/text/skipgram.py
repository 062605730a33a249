"""Word vectors by skip-gram with pieces of words (fastText), trained by gensim."""

import logging
import zlib

import numpy as np

from portrait.config.tuning import TextConfig
from portrait.features.text.corpus import Corpus
from portrait.features.text.model import TextModel, document_weights, unit
from portrait.features.text.ngrams import BUCKETS, LONGEST, SHORTEST, Ngrams, buckets_of

WINDOW = 10
"""Words to each side that a word is to predict: about all of a sentence, since the order says little."""
SUBSAMPLE = 1e-3
FEWEST, MOST = 2, 60
"""How often training goes through the corpus."""
PREDICTED = 0.5
"""Share of the vector by which a word is predicted. Alone, a word's own vector says in whose place it could stand;
with the other, also beside whom it stands, as 大米 beside rice (Levy, Goldberg and Dagan, Improving distributional
similarity, 2015, 3.3). Queries in one language find more products that are named in the other."""


def train_skipgram(corpus: Corpus, config: TextConfig, seed: int) -> TextModel:
    """Vectors of all words of the corpus.

    Training goes through about `config.training_words` words, a small corpus many times over. A word seen less than
    `config.min_count` times gets its vector from its pieces. The same corpus, configuration and seed give the same
    vectors on one kind of processor: one thread, and a hash that does not depend on the process.
    """
    from gensim.models import FastText

    logging.getLogger("gensim").setLevel(logging.WARNING)
    sentences = list(corpus)
    epochs = config.training_words // max(sum(map(len, sentences)), 1)
    trained = FastText(
        sentences=sentences,
        sg=1,
        vector_size=config.dimensions,
        window=WINDOW,
        shrink_windows=False,
        min_count=config.min_count,
        sample=SUBSAMPLE,
        min_n=SHORTEST,
        max_n=LONGEST,
        bucket=BUCKETS,
        epochs=min(max(epochs, FEWEST), MOST),
        seed=seed % 2**32,
        hashfxn=_stable_hash,
        workers=1,
    )
    words = trained.wv
    vectors = _centred(words.vectors), _centred(trained.syn1neg)
    ngrams = Ngrams(*_seen(words.index_to_key, words.vectors_ngrams, words.vectors.mean(axis=0)))
    return _text_model(corpus, words.index_to_key, unit(vectors[0]) + PREDICTED * unit(vectors[1]), ngrams)


def _stable_hash(word: str) -> int:
    """In place of Python's own, which differs from process to process."""
    return zlib.crc32(word.encode())


def _centred(vectors: np.ndarray) -> np.ndarray:
    """Without what all have in common, which says nothing and makes everything look alike.

    Mu and Viswanath, All-but-the-top (2018).
    """
    found: np.ndarray = vectors - vectors.mean(axis=0)
    return found


def _seen(words: list[str], vectors: np.ndarray, common: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The pieces of trained words, and their vectors."""
    buckets = np.unique(np.fromiter((b for word in words for b in buckets_of(word)), np.int32))
    return buckets, vectors[buckets] - common


def _text_model(corpus: Corpus, trained: list[str], vectors: np.ndarray, ngrams: Ngrams) -> TextModel:
    """The model of the trained words and all words of products."""
    words = tuple(dict.fromkeys([*trained, *corpus.products.vocabulary]))
    both = np.vstack([vectors, ngrams.vectors_of(words[len(trained) :])])
    known, rare = document_weights(corpus.products.present())
    weight = dict(zip(corpus.products.vocabulary, known.tolist(), strict=True))
    weights = np.array([weight.get(word, rare) for word in words], np.float32)
    return TextModel("fasttext", words, unit(both), weights, rare, ngrams)
