"""Words of Chinese and English texts."""

import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pytest
from portrait.features.text.tokenise import LONGEST_TEXT, tokenise, words_of


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("荷塘经典大米", ["荷塘", "经典", "大米"]),
        ("毛绒玩具", ["毛绒", "玩具", "毛绒玩具"]),  # the long word and the short ones inside it
        ("Lotus Pond Classic Rice 500 g", ["lotus", "pond", "classic", "rice", "500g"]),
        ("大米 500ml装", ["大米", "500ml", "装"]),
        ("1.5 L Cola", ["1.5l", "cola"]),
        ("2-pack iPhone 15, 2 pack", ["2pack", "iphone", "15", "2pack"]),
        ("ＷＨ－１０００ＸＭ５ 耳机", ["wh-1000xm5", "耳机"]),  # full-width letters
        ("㎏", ["kg"]),
        ("5G手机", ["5g", "手机"]),
        ("Women's T-Shirts", ["women", "tshirt"]),
        ("berries, shoes, glass & bus", ["berry", "shoe", "glass", "bus"]),
        ("the milk of the day", ["milk", "day"]),
        ("我要买牛奶", ["牛奶"]),
        ("한국 김치", ["한국", "김치"]),
        ("milk 13800138000 138-0013-8000 someone@example.com", ["milk"]),  # a person's, not a product's
    ],
)
def test_words_of(text: str, words: list[str]) -> None:
    assert words_of(text) == words


@pytest.mark.parametrize(
    "text", ["", "   ", "🍎🍊👨‍👩‍👧", "!!! ??? ___", "的", "\x00\u200b\ufeff", "a" * 60, "\ud83d"]
)
def test_texts_without_words(text: str) -> None:
    assert words_of(text) == []


def test_a_pasted_page_is_cut() -> None:
    assert len(words_of("milk " * LONGEST_TEXT)) == LONGEST_TEXT // len("milk ")


def test_texts_keep_their_places() -> None:
    tokens = tokenise(["rice 大米", None, "milk", "", "rice rice"])
    assert list(tokens) == [["rice", "大米"], [], ["milk"], [], ["rice", "rice"]]
    assert tokens.vocabulary == ("rice", "大米", "milk")
    assert tokens.present().toarray().tolist() == [[1, 1, 0], [0, 0, 0], [0, 0, 1], [0, 0, 0], [1, 0, 0]]


def test_counting_words_leaves_them_as_they_are() -> None:
    tokens = tokenise(["milk rice", "rice milk rice"])
    before = list(tokens)
    tokens.present()
    assert list(tokens) == before


@pytest.mark.parametrize("texts", [[], pa.array([], pa.string()), pa.chunked_array([], pa.string())])
def test_no_texts(texts: object) -> None:
    assert len(tokenise(texts)) == 0  # type: ignore[arg-type]


def test_texts_in_several_chunks() -> None:
    column = pa.chunked_array([["milk", "rice"], ["rice", None]], pa.string())
    assert list(tokenise(column)) == [["milk"], ["rice"], ["rice"], []]


def test_jieba_is_silent_and_leaves_nothing_behind(tmp_path: Path) -> None:
    code = "from portrait.features.text.tokenise import words_of; assert words_of('毛绒玩具')"
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env={"TMPDIR": str(tmp_path), "PATH": "/usr/bin:/bin"},
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert list(tmp_path.iterdir()) == []
