"""The shape of `text` in `features.yaml`."""

from typing import Literal

from pydantic import Field

from portrait.config.origins import Frozen


class TextConfig(Frozen):
    """How search queries and product names become vectors.

    Attributes
    ----------
    method : `fasttext` (skip-gram with pieces of words) or `tfidf` (TF-IDF and truncated SVD).
    min_words : a corpus of fewer words is trained by `tfidf` whatever `method` says.
    dimensions : length of a vector.
    training_words : words that `fasttext` goes through, the corpus over and over (2 to 60 times).
    min_count : words seen less often get their vector from their pieces (`fasttext`).
    most_queries : so many of the most frequent queries are learned from.
    most_repeats : the most that one query counts for, however often it is typed.
    neighbours : similar products that are kept for each product.
    retrain_days : a model is used for so many days before one is trained anew: its vectors can be compared from night to
        night, and new words get theirs from their pieces. 1: every night.
    """

    method: Literal["fasttext", "tfidf"] = "fasttext"
    min_words: int = Field(1_000, ge=100)
    dimensions: int = Field(64, ge=2)
    training_words: int = Field(4_000_000, ge=1)
    min_count: int = Field(2, ge=1)
    most_queries: int = Field(100_000, ge=0)
    most_repeats: int = Field(8, ge=1)
    neighbours: int = Field(20, ge=1)
    retrain_days: int = Field(7, ge=1)
