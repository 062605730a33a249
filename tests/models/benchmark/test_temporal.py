from pathlib import Path

import pytest
from portrait.errors import PortraitError
from portrait.models.benchmark import ModelRequest, Options, run_benchmark
from portrait.models.benchmark.temporal import read_split

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
