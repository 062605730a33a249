from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from portrait.errors import PortraitError
from portrait.models.benchmark import ModelRequest, Options, run_benchmark
from portrait.models.benchmark.temporal import Nightly, read_split

ROWS = """user_id,item_id,date
1,7,2025-01-01
1,7,2025-01-02
2,7,2025-01-03
2,8,2025-01-04
1,8,2025-01-05
2,9,2025-01-06
1,7,2025-01-07
1,9,2025-01-08
"""
"""With two days held out: the 7th and 8th are the test, the 5th and 6th the validation."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "interactions.csv").write_text(ROWS)
    return tmp_path


def test_windows(folder: Path) -> None:
    split = read_split(folder, 2)
    assert split.before.toarray().tolist() == [[2, 0, 0], [1, 1, 0]]
    assert split.validation.toarray().tolist() == [[0, 1, 0], [0, 0, 1]]
    assert split.test.toarray().tolist() == [[1, 0, 1], [0, 0, 0]]


def test_figures_by_hand(folder: Path) -> None:
    """Customer 1 alone buys in the test window: 7 again, 9 new. All three items fit into ten places.

    Popularity's `new` list leaves out 7 and 8, so that 9 comes first.
    """
    (row,) = run_benchmark(folder, "temporal", [ModelRequest("popularity")], Options(holdout_days=2))
    assert row.figures["all Recall@10"].value == 1
    assert row.figures["again Recall@10"].value == 1
    assert row.figures["new NDCG@10"].value == 1
    assert row.validation["all NDCG@10"].value > 0


@pytest.fixture
def staples(tmp_path: Path) -> Path:
    """Forty customers who buy their own item every second week, and another one now and then, on 70 days."""
    random = np.random.default_rng(3)
    lines = ["user_id,item_id,date"]
    for day in range(70):
        date = np.datetime64("2025-01-01") + day
        for customer in range(40):
            if day % 7 == customer % 7:
                own, other = customer % 12, int(random.integers(12))
                bought = {other} | ({own} if day // 7 % 2 else set())
                lines += [f"{customer},{item},{date}" for item in sorted(bought)]
    (tmp_path / "interactions.csv").write_text("\n".join(lines) + "\n")
    return tmp_path


SMALL = {
    "rounds": 20,
    "leaves": 4,
    "popular": 3,
    "candidates_per_model": 4,
    "linear_least": 1,
    "neighbours": 5,
}


def test_the_nightly_recommender(staples: Path) -> None:
    """It sees that everybody's own item is due."""
    requests = [ModelRequest("popularity"), ModelRequest("nightly", SMALL)]
    popular, nightly = run_benchmark(staples, "temporal", requests, Options(holdout_days=14, threads=1))
    assert (nightly.model, nightly.params) == ("nightly", SMALL)
    assert nightly.figures["all NDCG@10"].value > popular.figures["all NDCG@10"].value + 0.1
    assert nightly.validation["all NDCG@10"].value > popular.validation["all NDCG@10"].value + 0.1


def test_the_nightly_recommender_learns_nothing_from_the_windows(staples: Path) -> None:
    """Other purchases in the test window change no list; other ones in the validation window no validated one."""
    split = read_split(staples, 14)
    rows = np.arange(40)

    def lists(until: int) -> tuple[np.ndarray, np.ndarray]:
        model = Nightly(SMALL, Options(threads=1))
        cut = replace(split, log=split.log.before(until))
        model.fit(cut, 1)
        first = model._lists(rows, 5, None)
        model.tested(cut)
        return first, model._lists(rows, 5, None)

    whole = lists(split.test_from + 14)
    np.testing.assert_array_equal(lists(split.test_from)[1], whole[1])
    np.testing.assert_array_equal(lists(split.validation_from)[0], whole[0])
    assert (lists(split.validation_from)[1] != whole[1]).any()


def test_a_log_too_short_for_labels(folder: Path) -> None:
    with pytest.raises(
        PortraitError, match="nothing was bought before the days that it learns from; load more history"
    ):
        list(run_benchmark(folder, "temporal", [ModelRequest("nightly")], Options(holdout_days=3)))


@pytest.mark.parametrize(
    ("content", "days", "message"),
    [
        (None, 2, "interactions.csv is missing: .* user_id,item_id,date"),
        ("user_id,item_id,date\n1,2,soon\n", 2, "column date holds string, not dates as 2025-06-29"),
        (ROWS, 4, "ends on 2025-01-08 and has nothing before 2025-01-01: lower --holdout-days"),
    ],
)
def test_refused(folder: Path, content: str | None, days: int, message: str) -> None:
    if content is None:
        (folder / "interactions.csv").unlink()
    else:
        (folder / "interactions.csv").write_text(content)
    with pytest.raises(PortraitError, match=message):
        list(run_benchmark(folder, "temporal", [ModelRequest("popularity")], Options(holdout_days=days)))
