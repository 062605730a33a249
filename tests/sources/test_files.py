"""Which files a path names, for which date."""

import logging
import os
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path

import pytest
from portrait.errors import PortraitError, SourceUnavailable
from portrait.sources.files import pending_files

SUNDAY = date(2026, 3, 1)


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


@pytest.mark.parametrize(
    ("pattern", "names", "expected"),
    [
        pytest.param("*", ["a.csv", ".a.csv", ".a/b.csv"], ["a.csv"], id="hidden"),
        pytest.param(
            "*", ["a.csv", "b.csv.tmp", "c.PART", "d.crdownload", "e.filepart"], ["a.csv"], id="unfinished"
        ),
        pytest.param("*.tmp", ["a.csv", "b.tmp"], ["b.tmp"], id="unfinished, but meant"),
        pytest.param("*/*.csv", ["a/x.csv", "_temporary/x.csv"], ["a/x.csv"], id="temporary folder"),
        pytest.param(
            "**/*.csv", ["a/x.csv", "a/_temporary/0/x.csv"], ["a/x.csv"], id="temporary folder, deep"
        ),
        pytest.param("_*/*.csv", ["a/x.csv", "_b/x.csv"], ["_b/x.csv"], id="underscore, but meant"),
        pytest.param("_temporary/x.csv", ["_temporary/x.csv"], ["_temporary/x.csv"], id="no wildcard"),
        pytest.param(
            "*", ["a.csv", "_SUCCESS", "_metadata", "_b.csv"], ["_b.csv", "a.csv"], id="marker files"
        ),
    ],
)
def test_a_wildcard_takes_no_hidden_or_unfinished_file(
    make_source: Callable, tmp_path: Path, pattern: str, names: list[str], expected: list[str]
) -> None:
    touch(tmp_path / "in", *names)
    found = pending_files(*make_source(f"in/{pattern}"))
    assert [str(Path(f.name).relative_to(tmp_path / "in")) for f in found] == expected


def test_a_file_url_is_a_path(make_source: Callable, tmp_path: Path) -> None:
    touch(tmp_path, "x.csv")
    (found,) = pending_files(*make_source(f"file://{tmp_path}/x.csv"))
    assert found.name == str(tmp_path / "x.csv")


@pytest.mark.parametrize(
    ("marker", "names", "expected"),
    [
        pytest.param("_SUCCESS", ["1/a.csv", "1/_SUCCESS", "2/a.csv"], ["1/a.csv"], id="one a folder"),
        pytest.param("done", ["1/a.csv", "1/done", "1/b.csv"], ["1/a.csv", "1/b.csv"], id="is no data"),
        pytest.param("{name}.ok", ["1/a.csv", "1/a.csv.ok", "1/b.csv"], ["1/a.csv"], id="one a file"),
        pytest.param("ok_{name}", ["1/a.csv", "1/ok_b.csv"], [], id="of a file that is not there"),
        pytest.param("_SUCCESS", ["1/a.csv", "_SUCCESS"], [], id="in another folder"),
    ],
)
def test_a_file_counts_once_its_marker_is_there(
    make_source: Callable, tmp_path: Path, marker: str, names: list[str], expected: list[str]
) -> None:
    touch(tmp_path / "in", *names)
    found = pending_files(*make_source("in/*/*", ready_marker=f"'{marker}'"))
    assert [str(Path(f.name).relative_to(tmp_path / "in")) for f in found] == expected


def test_young_files_are_waited_for_once(
    make_source: Callable, tmp_path: Path, in_place_of_sleeping: Callable
) -> None:
    slept: list[float] = []
    in_place_of_sleeping(slept.append)
    touch(tmp_path, *(f"{n}.csv" for n in range(5)))
    assert len(pending_files(*make_source("*.csv", settle_seconds=30))) == 5
    assert len(slept) == 1
    assert 25 < slept[0] <= 30


def test_a_file_of_the_future_is_waited_for_no_longer(
    make_source: Callable, tmp_path: Path, in_place_of_sleeping: Callable
) -> None:
    slept: list[float] = []
    in_place_of_sleeping(slept.append)
    touch(tmp_path, "x.csv")
    os.utime(tmp_path / "x.csv", (2e9, time.time() + 1e6))
    assert len(pending_files(*make_source("*.csv", settle_seconds=30))) == 1
    assert slept == [30]


def test_old_files_are_not_waited_for(
    make_source: Callable, tmp_path: Path, in_place_of_sleeping: Callable
) -> None:
    touch(tmp_path, "x.csv")
    time.sleep(0.02)
    in_place_of_sleeping(pytest.fail)
    assert len(pending_files(*make_source("*.csv", settle_seconds=0.001))) == 1


def test_a_file_that_is_being_written_is_left_out(
    make_source: Callable, tmp_path: Path, in_place_of_sleeping: Callable, caplog: pytest.LogCaptureFixture
) -> None:
    touch(tmp_path, "a.csv", "b.csv", "c.csv")

    def meanwhile(seconds: float) -> None:
        with (tmp_path / "b.csv").open("a") as file:
            file.write("1,2\n")
        (tmp_path / "c.csv").rename(tmp_path / "c.done")

    in_place_of_sleeping(meanwhile)
    with caplog.at_level(logging.WARNING):
        found = pending_files(*make_source("*.csv", settle_seconds=30))
    assert [Path(f.name).name for f in found] == ["a.csv"]
    assert caplog.messages == [
        f"things: {tmp_path}/b.csv is still being written; it is left for the next run",
        f"things: {tmp_path}/c.csv is still being written; it is left for the next run",
    ]


DAILY = {"daily": "true"}


def test_a_daily_source_waits_for_its_file(make_source: Callable, tmp_path: Path) -> None:
    touch(tmp_path, "2026-02-27.csv", "2026-02-28.csv", "2026-03-02.csv")
    given = make_source("{business_date}.csv", **DAILY)
    with pytest.raises(SourceUnavailable) as caught:
        pending_files(*given, SUNDAY)
    assert str(caught.value) == (
        f"sources[things]: no file for 2026-03-01 yet ({tmp_path}/{{business_date}}.csv); it is tried again, "
        "deliver it or set daily: false"
    )
    touch(tmp_path, "2026-03-01.csv")
    assert [f.delivered_for for f in pending_files(*given, SUNDAY)] == [
        date(2026, 2, 27), date(2026, 2, 28), SUNDAY,
    ]  # fmt: skip


def test_a_daily_source_waits_for_its_first_file(make_source: Callable) -> None:
    given = make_source("{business_date}.csv", **DAILY)
    with pytest.raises(SourceUnavailable):
        pending_files(*given, SUNDAY)
    with pytest.raises(PortraitError, match="no file matches") as caught:
        pending_files(*given)
    assert type(caught.value) is PortraitError


def test_a_daily_source_waits_for_the_marker(make_source: Callable, tmp_path: Path) -> None:
    touch(tmp_path, "2026-03-01/a.csv", "2026-02-28/a.csv", "2026-02-28/_SUCCESS")
    given = make_source("{business_date}/*.csv", ready_marker="_SUCCESS", **DAILY)
    with pytest.raises(SourceUnavailable):
        pending_files(*given, SUNDAY)
    assert len(pending_files(*given)) == 1
    touch(tmp_path, "2026-03-01/_SUCCESS")
    assert len(pending_files(*given, SUNDAY)) == 2
