"""Words of search queries and product names, in Chinese and English.

Chinese has no spaces: runs of Han characters are cut by jieba, and its long words are kept beside the shorter ones
inside them, as a search engine does (毛绒玩具 gives 毛绒, 玩具, 毛绒玩具). Everything else is split at what is no letter
or digit. Sizes and models stay one word (``500 ml`` and ``500ml`` give 500ml, ``WH-1000XM5`` gives wh-1000xm5).
"""

import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from scipy.sparse import csr_matrix

LONGEST_TEXT = 1000
LONGEST_WORD = 40
"""Characters. What is longer is a pasted page or a code, no words."""
LONGEST_NUMBER = 6
"""Digits. A longer number is a phone, a card or a barcode: it says nothing about interests, and much about a person."""

_STOP = "a an and are at by for from in is of on or the to with 的 了 和 与 及 或 在 是 吗 呢 我 我要 要 想 买 有 给"
STOP_WORDS = frozenset(_STOP.split())

_HAN = "\u3005\u3007\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
_RUN = re.compile(rf"([{_HAN}]+)|((?:(?![{_HAN}_])\w)+(?:['’.\-](?:(?![{_HAN}_])\w)+)*)")
_UNITS = "mg|kg|g|ml|cl|l|mm|cm|m|oz|lb|lbs|pack|pcs|pc|ct|inch|gb|tb|mah|w|v|hz|k"
_SIZE = re.compile(rf"(?<![\w.])(\d+(?:\.\d+)?)[\s\-]+({_UNITS})(?![\w])")
_EMAIL = re.compile(r"\S+@\S+")
_DIGIT = re.compile(r"\d")


@dataclass(frozen=True)
class Tokens:
    """Words of n texts: those of text i are ``vocabulary[c] for c in codes[offsets[i]:offsets[i + 1]]``.

    `offsets` int64 [n + 1], `codes` int32; a word may come several times in one text. A text without words has
    an empty range.
    """

    vocabulary: tuple[str, ...]
    offsets: np.ndarray
    codes: np.ndarray

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __iter__(self) -> Iterator[list[str]]:
        """The words of each text."""
        words = np.array(self.vocabulary, dtype=object)
        for start, end in zip(self.offsets[:-1], self.offsets[1:], strict=True):
            yield words[self.codes[start:end]].tolist()

    def present(self) -> csr_matrix:
        """Float32 [n, words]: 1 where a text has a word, however often."""
        shape = (len(self), len(self.vocabulary))
        ones = np.ones(len(self.codes), np.float32)
        found = csr_matrix((ones, self.codes.copy(), self.offsets.copy()), shape=shape)
        found.sum_duplicates()  # in place, hence the copies
        found.data[:] = 1.0
        return found


def tokenise(texts: Sequence[str | None] | pa.Array | pa.ChunkedArray) -> Tokens:
    """Words of texts; each distinct text is looked at once. Null, blanks and emoji have none."""
    column = pa.chunked_array([texts], pa.string()) if not isinstance(texts, pa.ChunkedArray) else texts
    encoded = pc.dictionary_encode(column.cast(pa.string())).combine_chunks()
    if isinstance(encoded, pa.ChunkedArray):  # without rows there is no chunk to combine
        encoded = pa.array([], pa.dictionary(pa.int32(), pa.string()))
    distinct = _of_distinct(encoded.dictionary.to_pylist())
    place = pc.fill_null(encoded.indices, len(distinct) - 1).to_numpy(zero_copy_only=False)
    return _taken(distinct, place)


def words_of(text: str) -> list[str]:
    """Words of one text, in order.

    >>> words_of("Women's T-Shirts, 2-pack")
    ['women', 'tshirt', '2pack']
    """
    plain = unicodedata.normalize("NFKC", text[:LONGEST_TEXT]).lower()
    plain = _SIZE.sub(r"\1\2", _EMAIL.sub(" ", plain))
    words: list[str] = []
    for han, other in _RUN.findall(plain):
        words += _cut(han) if han else [_word(other)]
    return [
        w for w in words if w and w not in STOP_WORDS and len(w) <= LONGEST_WORD and not _is_long_number(w)
    ]


def _is_long_number(word: str) -> bool:
    return sum(map(str.isdigit, word)) > LONGEST_NUMBER and not any(map(str.isalpha, word))


def _word(run: str) -> str:
    """A run of letters and digits as one word: models keep their marks, words lose them and a plural s."""
    if _DIGIT.search(run):
        return run.replace("'", "").replace("’", "")
    word = re.sub(r"['’]s$", "", run)
    return _singular(re.sub(r"['’.\-]", "", word))


def _singular(word: str) -> str:
    """The S-stemmer of Harman, How effective is suffixing? (1991): takes off the plural and nothing else."""
    if len(word) <= 3 or not word.endswith("s"):
        return word
    if word.endswith("ies") and word[-4] not in "ea":
        return word[:-3] + "y"
    return word if word[-2] in "us" else word[:-1]


@lru_cache(maxsize=100_000)
def _cut(han: str) -> list[str]:
    found: list[str] = _jieba().lcut_for_search(han)
    return found


@cache
def _jieba() -> Any:
    """jieba with its own dictionary.

    Built in memory (half a second), not by jieba itself: that prints, and keeps a marshal file in the shared
    temporary folder, which any process may replace.
    """
    import jieba

    tokenizer = jieba.Tokenizer()
    tokenizer.FREQ, tokenizer.total = tokenizer.gen_pfdict(tokenizer.get_dict_file())
    tokenizer.initialized = True
    return tokenizer


def _of_distinct(texts: list[str]) -> Tokens:
    """Words of texts, and at the end of a text without words."""
    place: dict[str, int] = {}
    codes: list[int] = []
    offsets = np.zeros(len(texts) + 2, dtype=np.int64)
    for number, text in enumerate(texts):
        codes += [place.setdefault(word, len(place)) for word in words_of(text)]
        offsets[number + 1] = len(codes)
    offsets[-1] = len(codes)
    return Tokens(tuple(place), offsets, np.array(codes, dtype=np.int32))


def _taken(tokens: Tokens, place: np.ndarray) -> Tokens:
    """The texts at these places."""
    lengths = np.diff(tokens.offsets)[place]
    offsets = np.zeros(len(place) + 1, dtype=np.int64)
    np.cumsum(lengths, out=offsets[1:])
    within = np.arange(offsets[-1]) - np.repeat(offsets[:-1], lengths)
    return Tokens(
        tokens.vocabulary, offsets, tokens.codes[np.repeat(tokens.offsets[place], lengths) + within]
    )
