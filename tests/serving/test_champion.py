"""Answers from histories written by hand."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from portrait.features.matrix import write_csr
from portrait.models import create
from portrait.models.nightly.inputs import Inputs
from portrait.serving.champion import Champion, Question
from portrait.serving.histories import NOTHING, Histories
from scipy.sparse import csr_matrix

#          i0 i1 i2 i3
WEIGHTS = [[5, 3, 0, 1],  # zoe
           [0, 0, 0, 0],  # adam
           [1, 4, 2, 0]]  # mia  # fmt: skip
BOUGHT = [[1, 0, 0, 0], [0, 0, 0, 0], [0, 1, 0, 0]]
# All weight: i1 7, i0 6, i2 2, i3 1.


@pytest.fixture
def inputs(tmp_path: Path) -> Inputs:
    for name, dense in (("full_weights", WEIGHTS), ("full_bought", BOUGHT)):
        write_csr(csr_matrix(np.array(dense, np.float32)), tmp_path / name)
    pq.write_table(
        pa.table({"row": pa.array([0, 1, 2], pa.int32()), "customer_id": ["zoe", "adam", "mia"]}),
        tmp_path / "customers.parquet",
    )
    pq.write_table(
        pa.table({"col": pa.array(range(4), pa.int32()), "sku": ["i0", "i1", "i2", "i3"]}),
        tmp_path / "items.parquet",
    )
    return Inputs(tmp_path)


@pytest.fixture
def champion(inputs: Inputs, tmp_path: Path) -> Champion:
    histories = Histories(inputs, tmp_path / "cache")
    model = create("popularity").fit(csr_matrix(np.array(WEIGHTS, np.float32)))
    return Champion("v", model, histories, histories.skus, 1.0)


def test_a_row_is_found_by_its_id(inputs: Inputs, tmp_path: Path) -> None:
    for _ in range(2):  # made, then read from its files
        histories = Histories(inputs, tmp_path / "cache")
        row = histories.row("mia")
        assert (row.items.tolist(), row.weights.tolist(), row.bought.tolist()) == ([0, 1, 2], [1, 4, 2], [1])
        assert histories.row("adam").items.tolist() == []
        assert histories.row("bob") is histories.row("zzz") is histories.row("") is NOTHING


@pytest.mark.parametrize(
    ("customer", "at_hand", "items", "basis", "ignored"),
    [
        ("zoe", (), ["i1", "i2", "i3"], "history", []),
        ("zoe", ("i1", "i1"), ["i2", "i3"], "history+items", []),
        ("mia", ("i9",), ["i0", "i2", "i3"], "history", ["i9"]),
        ("adam", (), ["i1", "i0", "i2", "i3"], "popularity", []),
        ("adam", ("i0",), ["i1", "i2", "i3"], "items", []),
        (None, ("i3",), ["i1", "i0", "i2"], "items", []),
        ("nobody", (), ["i1", "i0", "i2", "i3"], "popularity", []),
    ],
)
def test_what_they_have_is_not_offered(
    champion: Champion,
    customer: str | None,
    at_hand: tuple[str, ...],
    items: list[str],
    basis: str,
    ignored: list[str],
) -> None:
    (answer,) = champion.answer([Question(customer, at_hand)])
    assert (answer.items, answer.basis, answer.ignored) == (items, basis, ignored)


def test_an_older_night_beside_a_model_of_more_items(inputs: Inputs, tmp_path: Path) -> None:
    """The champion learnt a fifth item that the night that is shown does not have yet."""
    histories = Histories(inputs, tmp_path / "cache")
    wide = np.array([[1, 1, 1, 1, 9]], np.float32)
    champion = Champion(
        "v", create("popularity").fit(csr_matrix(wide)), histories, [*histories.skus, "i4"], 1.0
    )
    (offered,) = champion.answer([Question("zoe", ())])
    assert offered.items == ["i4", "i1", "i2", "i3"]
    (kept,) = champion.answer([Question("zoe", ("i4",))])
    assert kept.items == ["i1", "i2", "i3"]


def test_items_that_are_newer_than_the_model(inputs: Inputs, tmp_path: Path) -> None:
    histories = Histories(inputs, tmp_path / "cache")
    narrow = create("popularity").fit(csr_matrix(np.array([[1, 2]], np.float32)))
    champion = Champion("v", narrow, histories, histories.skus, 1.0)
    (answer,) = champion.answer([Question(None, ("i3",))])
    assert (answer.items, answer.ignored) == (["i1", "i0"], ["i3"])


def test_the_items_at_hand_change_the_answer(tmp_path: Path, inputs: Inputs) -> None:
    """EASE: i0 goes with i1, i2 with i3."""
    pairs = np.array([[1, 1, 0, 0]] * 8 + [[0, 0, 1, 1]] * 8, np.float32)
    histories = Histories(inputs, tmp_path / "cache")
    model = create("ease", regularisation=1.0).fit(csr_matrix(pairs))
    champion = Champion("v", model, histories, histories.skus, 1.0)
    answers = champion.answer([Question(None, ("i0",)), Question(None, ("i2",))])
    assert [a.items[0] for a in answers] == ["i1", "i3"]
