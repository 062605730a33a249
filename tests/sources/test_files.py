"""Which files a path names, for which date."""

from collections.abc import Callable
from datetime import date
from pathlib import Path

import pytest
from portrait.errors import PortraitError
from portrait.sources.files import pending_files


def touch(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("a,b\n")


@pytest.mark.parametrize(
    ("pattern", "names", "expected"),
    [
        pytest.param(
            "d={business_date}/x.csv",
            [
                "d=2025-03-02/x.csv",
                "d=2025-03-01/x.csv",
                "d=2025-03-04/x.csv",
                "d=soon/x.csv",
                "d=2025-13-01/x.csv",
            ],
            [("d=2025-03-01/x.csv", 1), ("d=2025-03-02/x.csv", 2)],
            id="folder",
        ),
        pytest.param(
            "x_{business_date}.csv",
            ["x_20250302.csv", "x_20250301.csv", "x_20250304.csv", "x_20250301_old.csv"],
            [("x_20250301.csv", 1), ("x_20250302.csv", 2)],
            id="YYYYMMDD in the name",
        ),
        pytest.param(
            "{business_date}/x_{business_date}.csv",
            ["2025-03-01/x_2025-03-01.csv", "2025-03-02/x_2025-03-01.csv"],
            [("2025-03-01/x_2025-03-01.csv", 1)],
            id="twice, the same date",
        ),
        pytest.param(
            "{business_date}/*.csv",
            ["2025-03-02/a.csv", "2025-03-02/b.csv", "2025-03-01/c.csv", "2025-03-01/c.txt"],
            [("2025-03-01/c.csv", 1), ("2025-03-02/a.csv", 2), ("2025-03-02/b.csv", 2)],
            id="several a day",
        ),
        pytest.param(
            "**/{business_date}.csv",
            ["2025-03-01.csv", "p/q/2025-03-02.csv"],
            [("2025-03-01.csv", 1), ("p/q/2025-03-02.csv", 2)],
            id="any depth",
        ),
        pytest.param("*.csv", ["b.csv", "a.csv"], [("a.csv", None), ("b.csv", None)], id="undated"),
        pytest.param("[2025] x.csv", ["[2025] x.csv", "2 x.csv"], [("[2025] x.csv", None)], id="brackets"),
    ],
)
def test_files_up_to_a_date_oldest_first(
    make_source: Callable,
    tmp_path: Path,
    pattern: str,
    names: list[str],
    expected: list[tuple[str, int | None]],
) -> None:
    touch(tmp_path, *names)
    files = pending_files(*make_source(pattern), date(2025, 3, 3))
    assert [(str(Path(f.name).relative_to(tmp_path)), f.delivered_for) for f in files] == [
        (name, day and date(2025, 3, day)) for name, day in expected
    ]


def test_without_a_date_every_file(make_source: Callable, tmp_path: Path) -> None:
    touch(tmp_path, "x_20250301.csv", "x_20990101.csv")
    assert len(pending_files(*make_source("x_{business_date}.csv"))) == 2


def test_files_of_later_dates_only_are_no_mistake(make_source: Callable, tmp_path: Path) -> None:
    touch(tmp_path, "x_20250301.csv")
    assert pending_files(*make_source("x_{business_date}.csv"), date(2025, 2, 1)) == []


def test_no_file_names_the_key_and_the_pattern(make_source: Callable, tmp_path: Path) -> None:
    touch(tmp_path, "y_20250301.csv")
    with pytest.raises(PortraitError) as caught:
        pending_files(*make_source("x_{business_date}.csv"), date(2025, 3, 1))
    assert str(caught.value) == (
        f"sources[things].path: no file matches {tmp_path}/x_{{business_date}}.csv; "
        f"correct the path in {tmp_path}/sources.yaml or deliver the file"
    )


def test_the_fingerprint_is_that_of_the_first_look(make_source: Callable, tmp_path: Path) -> None:
    touch(tmp_path, "x.csv")
    given = make_source("x.csv")
    (before,) = pending_files(*given)
    noted = before.fingerprint
    (tmp_path / "x.csv").write_text("a,b\n1,2\n")
    (after,) = pending_files(*given)
    assert before.fingerprint == noted != after.fingerprint
    assert (before.size, after.size) == (4, 8)
