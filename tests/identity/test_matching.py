"""Matching worked out by hand; identifiers are written in order of age."""

import numpy as np
import pytest
from portrait.identity.matching import match

NONE = -1


@pytest.mark.parametrize(
    ("component", "previous", "cards", "born", "kept", "merged", "split", "retired"),
    [
        pytest.param([0, 0, 1], [0, 0, 1], [], [1, 1], [0, 1], [], [], [], id="nothing changed"),
        pytest.param([0, 0, 1], [NONE, NONE, NONE], [], [], [NONE, NONE], [], [], [], id="all new"),
        pytest.param([0, 0, 0], [0, 0, NONE], [], [1], [0], [], [], [], id="grew"),
        pytest.param([0, 0, 0], [0, 1, 1], [], [2, 1], [1], [(1, 0)], [], [], id="merge: first id stays"),
        pytest.param([0, 0, 0], [1, 0, 0], [], [1, 1], [1], [(1, 0)], [], [], id="merge: tie"),
        pytest.param([0, 1, 1], [0, 0, 0], [], [1], [NONE, 0], [], [(0, 0)], [], id="split: greater"),
        pytest.param([0, 1, 1], [0, 0, 0], [0], [1], [0, NONE], [], [(1, 0)], [], id="split: card"),
        pytest.param([0, 1], [0, 0], [], [1], [0, NONE], [], [(1, 0)], [], id="split: tie, oldest part"),
        pytest.param(
            [0, 1, 2], [0, 0, 0], [1, 2], [1], [NONE, 0, NONE], [], [(0, 0), (2, 0)], [], id="two cards"
        ),
        pytest.param([NONE, 0], [0, 1], [], [1, 1], [1], [], [], [0], id="retired"),
        pytest.param(
            [0, 0, 1, 1], [0, 1, 1, 1], [1], [1, 2], [0, NONE], [(0, 1)], [(1, 1)], [], id="split and merged"
        ),
    ],
)  # fmt: skip
def test_match(
    component: list[int],
    previous: list[int],
    cards: list[int],
    born: list[int],
    kept: list[int],
    merged: list[tuple[int, int]],
    split: list[tuple[int, int]],
    retired: list[int],
) -> None:
    is_card = np.isin(np.arange(len(component)), cards)
    found = match(np.array(component), np.array(previous), is_card, np.array(born, dtype=np.int64))
    assert found.kept.tolist() == kept
    assert sorted(map(tuple, found.merged.tolist())) == merged
    assert sorted(map(tuple, found.split.tolist())) == split
    assert found.retired.tolist() == retired
