"""Next-basket data sets in files, good and bad."""

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from portrait.errors import PortraitError
from portrait.models.benchmark.baskets import read_baskets, read_keysets

HEADING = "user_id,order_number,product_id\n"
HISTORY = "7,1,30\n7,2,10\n7,2,30\n9,4,20\n9,4,20\n"
FUTURE = "7,3,10\n7,3,50\n9,5,20\n"
"""Users 7 and 9; items 10, 20, 30, 50; (9, 4, 20) is there twice."""


def write(folder: Path, history: str = HISTORY, future: str = FUTURE, keyset: Any = None) -> Path:
    (folder / "history.csv").write_text(HEADING + history)
    (folder / "future.csv").write_text(HEADING + future)
    (folder / "keyset_0.json").write_text(json.dumps(keyset or {"train": ["7"], "val": [], "test": [9]}))
    return folder


def test_rows_and_columns(tmp_path: Path) -> None:
    found = read_baskets(write(tmp_path))
    assert found.users.tolist() == [7, 9]
    assert found.items.tolist() == [10, 20, 30, 50]
    assert found.history.counts.toarray().tolist() == [[1, 0, 2, 0], [0, 1, 0, 0]]
    assert found.future.toarray().tolist() == [[1, 0, 0, 1], [0, 1, 0, 0]]
    # Lines 0 (30), 1 (10), 3 (20); in the order of the log: 30 | 10, 30 | 20.
    assert found.first_seen.tolist() == [0, 1, 0, 3]
    (keyset,) = read_keysets(tmp_path, found.users)
    assert (keyset.name, keyset.train.tolist(), keyset.test.tolist()) == ("keyset_0", [0], [1])


def test_order_of_the_lines_and_gzip(tmp_path: Path) -> None:
    """As the files come: gzipped, lines in any order, other columns beside."""
    write(tmp_path)
    expected = read_baskets(tmp_path).history
    (tmp_path / "history.csv").unlink()
    lines = [f"{line},prior" for line in reversed(HISTORY.split())]
    text = HEADING.strip() + ",eval_set\n" + "\n".join(lines) + "\n"
    (tmp_path / "history.csv.gz").write_bytes(gzip.compress(text.encode()))
    found = read_baskets(tmp_path).history
    assert found.basket.tolist() == expected.basket.tolist()
    assert found.item.tolist() == expected.item.tolist()


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"history": "7,1,x\n"}, r"history\.csv: column product_id must hold whole numbers, it holds string"),
        ({"history": "7,1,\n7,2,1\n"}, r"history\.csv: column product_id has 1 empty value"),
        ({"history": "7,1,30\n"}, r"user 9 and 0 others are in future\.csv and not in history\.csv"),
        ({"future": "7,3,10\n"}, r"user 9 and 0 others are in history\.csv and not in future\.csv"),
        ({"future": FUTURE + "9,6,10\n"}, r"future\.csv: user 9 has more than one basket"),
        (
            {"future": "7,2,10\n9,5,20\n"},
            r"future\.csv: order 2 of user 7 is not later than the user's history",
        ),
    ],
)
def test_bad_files(tmp_path: Path, files: dict[str, str], message: str) -> None:
    with pytest.raises(PortraitError, match=message):
        read_baskets(write(tmp_path, **files))


@pytest.mark.parametrize(
    ("keyset", "message"),
    [
        ({"train": ["7"], "test": ["9"]}, r"keyset_0\.json has no list 'val'"),
        ([7, 9], r"keyset_0\.json has no list 'train'"),
        (
            {"train": ["7", "8"], "val": [], "test": ["9"]},
            "user 8 of 'train' and 0 others have no row in history.csv",
        ),
        ({"train": ["x"], "val": [], "test": ["9"]}, "'train' lists a user that is no whole number"),
        ({"train": ["7", "9"], "val": [], "test": ["9"]}, "user 9 and 0 others are listed twice"),
        ({"train": ["7", "9"], "val": [], "test": []}, "'test' lists no user"),
    ],
)
def test_bad_keysets(tmp_path: Path, keyset: Any, message: str) -> None:
    users = read_baskets(write(tmp_path, keyset=keyset)).users
    with pytest.raises(PortraitError, match=message):
        read_keysets(tmp_path, users)


def test_keysets_that_are_missing_or_unreadable(tmp_path: Path) -> None:
    users = read_baskets(write(tmp_path)).users
    (tmp_path / "keyset_0.json").write_text("{")
    with pytest.raises(PortraitError, match=r"keyset_0\.json cannot be read as a JSON keyset"):
        read_keysets(tmp_path, users)
    (tmp_path / "keyset_0.json").unlink()
    with pytest.raises(PortraitError, match=r"holds no keyset_\*\.json .* --keyset"):
        read_keysets(tmp_path, users)
    with pytest.raises(PortraitError, match=r"absent\.json cannot be read"):
        read_keysets(tmp_path, users, [tmp_path / "absent.json"])
