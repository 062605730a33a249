"""Five small files of the form that Liang's code writes."""

import gzip
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from portrait.errors import PortraitError
from portrait.models.benchmark import PROTOCOLS, ModelRequest, Options, Row, run_benchmark
from portrait.models.benchmark.strong import configured, read_split

FILES = {
    "train": [(1, 10), (1, 20), (1, 30), (2, 10), (2, 20), (3, 10), (3, 10)],
    "validation_tr": [(5, 20)],
    "validation_te": [(5, 10)],
    "test_tr": [(7, 10), (8, 20)],
    "test_te": [(7, 30), (8, 10), (8, 40)],
}
"""Popularity ranks the items 10, 20, 30; 40 is unknown in training, and (3, 10) is there twice."""


def write(folder: Path, files: dict[str, Sequence[tuple[int, int]]]) -> Path:
    for name, rows in files.items():
        text = "uid,sid\n" + "".join(f"{u},{i}\n" for u, i in rows)
        (folder / f"{name}.csv").write_text(text, encoding="utf-8")
    return folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write(tmp_path, FILES)


def rows(folder: Path, *requests: ModelRequest, protocol: str = "strong") -> list[Row]:
    return list(run_benchmark(folder, protocol, requests, Options(threads=1)))


def test_matrices(folder: Path) -> None:
    split = read_split(folder)
    assert split.train.toarray().tolist() == [[1, 1, 1, 0], [1, 1, 0, 0], [1, 0, 0, 0]]
    assert split.test[0].toarray().tolist() == [[1, 0, 0, 0], [0, 1, 0, 0]]
    assert split.test[1].toarray().tolist() == [[0, 0, 1, 0], [1, 0, 0, 1]]


def test_figures_by_hand(folder: Path) -> None:
    """Popularity gives user 7 the items 20, 30 and user 8 the items 10, 30 (40 last: nobody has it).

    NDCG: 7 finds 30 in the second place, 1/log2(3). 8 finds 10 first, 40 third: (1 + 1/2) / (1 + 1/log2(3)).
    """
    (row,) = rows(folder, ModelRequest("popularity"))
    first, second = 1 / np.log2(3), 1.5 / (1 + 1 / np.log2(3))
    assert row.figures["NDCG@100"].value == pytest.approx((first + second) / 2)
    error = abs(first - second) / 2  # standard deviation |a - b| / sqrt 2, by sqrt 2
    assert row.figures["NDCG@100"].standard_error == pytest.approx(error)
    assert row.figures["Recall@20"].value == 1
    assert row.validation["NDCG@100"].value == 1


def test_parameters_are_noted(folder: Path) -> None:
    request = ModelRequest("mult_dae", {"latent": 4, "epochs": 2})
    (row,) = rows(folder, request)
    assert row.params["latent"] == 4
    assert "threads" not in row.params
    assert "device" not in row.params
    assert row.fit_seconds > 0


def test_a_model_runs_as_it_is_told_and_else_as_all_do() -> None:
    options = Options(threads=3, device="cpu")
    asked = configured(ModelRequest("mult_dae"), options).params
    assert (asked["threads"], asked["device"]) == (3, "cpu")
    told = configured(ModelRequest("product_of_experts", {"threads": 1, "device": "auto"}), options).params
    assert (told["threads"], told["device"]) == (1, "auto")
    assert "device" not in configured(ModelRequest("ease"), options).params


def test_gzipped_files_are_read(folder: Path) -> None:
    for name in FILES:
        plain = folder / f"{name}.csv"
        with gzip.open(folder / f"{name}.csv.gz", "wb") as file:
            file.write(plain.read_bytes())
        plain.unlink()
    assert read_split(folder).train.nnz == 6


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("test_te", None, r"test_te.csv is missing: the protocol needs it, with the columns uid,sid"),
        ("train", "user,sid\n1,2\n", r"train.csv has no column uid; it has user, sid"),
        ("train", "uid,sid\n", r"train.csv has a heading and no rows"),
        ("train", "uid,sid\n1,\n2,3\n", r"train.csv: column sid has 1 empty value"),
        ("train", "uid,sid\n1,2\n3\n", r"train.csv cannot be read as CSV: .*2"),
        ("train", "", r"train.csv cannot be read as CSV"),
        ("train", "uid,sid\n7,10\n", r"uid 7 and 0 others are in train and in test"),
        ("train", "uid,sid\na,10\n", r"uid is text in train.csv and a number in validation_tr.csv"),
    ],
)
def test_bad_files(folder: Path, name: str, content: str | None, message: str) -> None:
    if content is None:
        (folder / f"{name}.csv").unlink()
    else:
        (folder / f"{name}.csv").write_text(content)
    with pytest.raises(PortraitError, match=message):
        rows(folder, ModelRequest("popularity"))


def test_bad_requests(folder: Path) -> None:
    with pytest.raises(PortraitError, match="unknown protocol 'weak': choose one of strong"):
        rows(folder, ModelRequest("popularity"), protocol="weak")
    with pytest.raises(PortraitError, match="does not know: use --protocol next-basket or temporal"):
        rows(folder, ModelRequest("nightly"))
    with pytest.raises(PortraitError, match="nowhere is not a folder"):
        rows(folder / "nowhere", ModelRequest("popularity"))
    with pytest.raises(PortraitError, match="unknown model 'eese'"):
        rows(folder, ModelRequest("popularity"), ModelRequest("eese"))
    assert "strong" in PROTOCOLS


def portrait(*arguments: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-c", "from portrait.cli import main; main()", "benchmark", *arguments]
    return subprocess.run(command, capture_output=True, text=True)


def test_the_command_prints_a_table_and_writes_json(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "figures.json"
    done = portrait(
        str(folder), "--models", "popularity,ease", "--set", "ease.regularisation=2", "--json", str(out)
    )
    assert done.returncode == 0, done.stderr
    assert "NDCG@100" in done.stdout
    assert "validation NDCG@100" in done.stdout
    written = json.loads(out.read_text())
    assert written["protocol"] == "strong"
    assert [row["model"] for row in written["rows"]] == ["popularity", "ease"]
    assert written["rows"][1]["params"]["regularisation"] == 2
    assert written["rows"][0]["figures"]["Recall@50"] == {"value": 1.0, "standard_error": 0.0}


def test_the_command_says_what_is_wrong_in_one_line(folder: Path) -> None:
    done = portrait(str(folder), "--models", "popularity", "--set", "ease.regularisation=2")
    assert done.returncode == 2
    assert done.stderr.strip() == (
        "portrait: --set 'ease.regularisation=2': 'ease' is not among --models popularity"
    )
