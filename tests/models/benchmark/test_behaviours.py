"""Purchases with other behaviours beside them, on a shop in which people buy what they marked before."""

import gzip
from pathlib import Path

import numpy as np
import pytest
from portrait.errors import PortraitError
from portrait.models.benchmark import ModelRequest, Options, run_benchmark
from portrait.models.benchmark.behaviours import WEIGHTS, _history, read_split

N_USERS, N_ITEMS = 60, 80


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Purchases are at random; a collected item's partner (item + 40) is bought later."""
    random = np.random.default_rng(0)
    lines: dict[str, list[str]] = {name: [] for name in ("train", "validation", "test", "collect")}
    for user in range(N_USERS):
        first, second = random.choice(40, 2, replace=False)
        lines["collect"] += [f"{user} {first}", f"{user} {second}"]
        lines["train"] += [f"{user} {random.integers(40, 80)}", f"{user} {first + 40}"]
        lines["validation" if user % 2 else "test"] += [f"{user} {second + 40}"]
    for name, content in lines.items():
        (tmp_path / f"{name}.txt.gz").write_bytes(gzip.compress("\n".join(content).encode()))
    (tmp_path / "count.txt").write_text('{"user": 60, "item": 80}')
    return tmp_path


def test_files(folder: Path) -> None:
    split = read_split(folder)
    assert split.train.shape == split.others["collect"].shape == (N_USERS, N_ITEMS)
    assert split.others["collect"].nnz == 2 * N_USERS
    assert list(split.others) == ["collect"]


def test_weights_add_up(tmp_path: Path) -> None:
    """User 0 bought item 1 and marked items 1 and 2; a mark counts a quarter."""
    for name, line in (("train", "0 1"), ("validation", "0 0"), ("test", "0 2"), ("collect", "0 1\n0 2")):
        (tmp_path / f"{name}.txt").write_text(line + "\n")
    split = read_split(tmp_path)
    assert _history(split.train, split, {"collect": 0.25}).toarray().tolist() == [[0, 1.25, 0.25]]
    assert _history(split.train, split, {"collect": 0.0}).toarray().tolist() == [[0, 1, 0]]


def test_what_was_marked_tells_what_is_bought(folder: Path) -> None:
    request = ModelRequest("ease", {"regularisation": 1.0})
    alone, together = run_benchmark(folder, "behaviours", [request], Options())
    assert [alone.model, together.model] == ["ease, purchases", "ease, all behaviours"]
    assert together.figures["Recall@20"].value > 1.5 * alone.figures["Recall@20"].value
    assert alone.params["behaviour_weights"] == {}
    assert together.params["behaviour_weights"]["collect"] in WEIGHTS[:1] + WEIGHTS[2:]


def test_test_purchases_decide_nothing(folder: Path) -> None:
    """With other test purchases the same weights are chosen, by the same validation figures."""
    request = [ModelRequest("ease", {"regularisation": 1.0})]
    before = list(run_benchmark(folder, "behaviours", request, Options()))
    (folder / "test.txt.gz").write_bytes(gzip.compress(b"0 79\n4 3\n"))
    after = list(run_benchmark(folder, "behaviours", request, Options()))
    assert [(r.params, r.validation) for r in before] == [(r.params, r.validation) for r in after]


@pytest.mark.parametrize(
    ("remove", "add", "message"),
    [
        ("validation", None, "validation.txt is missing"),
        ("collect", None, "holds purchases only; add a behaviour"),
        (None, "1 x\n", "cart.txt cannot be read as lines 'user item'"),
        (None, "1 2 3\n", "cart.txt: each line must be two whole numbers"),
        (None, "-1 2\n", "cart.txt: each line must be two whole numbers"),
    ],
)
def test_refused_folders(folder: Path, remove: str | None, add: str | None, message: str) -> None:
    if remove:
        (folder / f"{remove}.txt.gz").unlink()
    if add:
        (folder / "cart.txt").write_text(add)
    with pytest.raises(PortraitError, match=message):
        list(run_benchmark(folder, "behaviours", [ModelRequest("popularity")], Options()))
