"""The same seed gives the same bytes, however the days are cut up or interrupted."""

import gzip
import hashlib
import json
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

import pytest
from portrait.errors import PortraitError
from portrait.simulate import Counts, Dirt, Retailer, simulate, write_day, write_reference
from portrait.simulate.day import DATASETS, _arrivals, record_of
from portrait.simulate.world import build_world

TINY = Retailer(customers=250, products=120, stores=3, history_days=20, events_per_customer_day=2.0)
LAST = TINY.start + timedelta(days=19)


def forget() -> None:
    """Drop everything that is remembered between days, as a new process would."""
    build_world.cache_clear()
    _arrivals.cache_clear()


def hashes(out: Path) -> dict[str, str]:
    return {
        str(f.relative_to(out)): hashlib.sha256(f.read_bytes()).hexdigest()
        for f in sorted(out.rglob("*"))
        if f.is_file()
    }


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Counts]:
    out = tmp_path_factory.mktemp("whole")
    return out, simulate(TINY, out, TINY.start, LAST)


def test_same_seed_same_bytes(whole: tuple[Path, Counts], tmp_path: Path) -> None:
    forget()
    counts = simulate(TINY, tmp_path, TINY.start, LAST)
    assert counts == whole[1]
    assert hashes(tmp_path) == hashes(whole[0])


def test_another_seed_gives_other_bytes_everywhere(whole: tuple[Path, Counts], tmp_path: Path) -> None:
    simulate(replace(TINY, seed=8), tmp_path, TINY.start, TINY.start)
    mine, theirs = hashes(tmp_path), hashes(whole[0])
    same = {name for name, value in mine.items() if theirs.get(name) == value}
    assert same == set()


def test_days_one_by_one_in_new_processes_equal_the_whole(whole: tuple[Path, Counts], tmp_path: Path) -> None:
    first = simulate(TINY, tmp_path, TINY.start, TINY.start + timedelta(days=11))
    forget()
    second = simulate(TINY, tmp_path, TINY.start + timedelta(days=12), TINY.start + timedelta(days=17))
    forget()
    write_day(TINY, tmp_path, LAST)  # the days may even come in the wrong order
    forget()
    write_day(TINY, tmp_path, LAST - timedelta(days=1))
    assert hashes(tmp_path) == hashes(whole[0])
    assert (first + second).days == 18


def test_a_complete_day_is_left_alone_and_counted(whole: tuple[Path, Counts]) -> None:
    out, counts = whole
    before = {f: f.stat().st_mtime_ns for f in out.rglob("*")}
    seen: list[date] = []
    assert simulate(TINY, out, TINY.start, LAST, lambda day, _: seen.append(day)) == counts
    assert {f: f.stat().st_mtime_ns for f in out.rglob("*")} == before
    assert seen == [TINY.start + timedelta(days=d) for d in range(20)]


def test_an_interrupted_day_is_written_again(whole: tuple[Path, Counts], tmp_path: Path) -> None:
    day = TINY.start + timedelta(days=3)
    simulate(TINY, tmp_path, TINY.start, day)
    expected = hashes(tmp_path)
    # killed between the folders: one is there, one is half written beside its place, the record is missing
    record_of(tmp_path, day).unlink()
    folder = tmp_path / "app_events" / f"date={day}"
    leftover = folder.rename(folder.with_name(f".{folder.name}.tmp"))
    (leftover / "events.jsonl").write_text('{"event_id":"ha')
    (leftover / "stray").touch()
    (tmp_path / "receipts" / f"date={day}" / "receipts.csv.gz").write_bytes(b"half")
    simulate(TINY, tmp_path, TINY.start, day)
    assert hashes(tmp_path) == expected
    assert not list(tmp_path.rglob("*.tmp"))


def test_a_failing_write_leaves_nothing_that_readers_would_see(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from portrait.simulate import files

    def broken(*_: object) -> int:
        raise OSError("disk full")

    monkeypatch.setattr(files, "write_parquet", broken)
    with pytest.raises(OSError, match="disk full"):
        write_day(TINY, tmp_path, TINY.start)
    assert [f for name in DATASETS for f in (tmp_path / name).glob("date=*")] == []
    assert not record_of(tmp_path, TINY.start).exists()


def test_gzip_carries_neither_time_nor_name(whole: tuple[Path, Counts]) -> None:
    head = (whole[0] / "receipts" / f"date={LAST}" / "receipts.csv.gz").read_bytes()[:10]
    assert head[:2] == b"\x1f\x8b"
    assert head[3] == 0  # no file name
    assert head[4:8] == bytes(4)  # no time


def test_counts_are_the_rows_of_the_files(whole: tuple[Path, Counts]) -> None:
    out, counts = whole
    lines = {
        name: sum(len(gzip.decompress(f.read_bytes()).splitlines()) - 1 for f in (out / name).rglob("*.gz"))
        for name in ("members", "receipts", "receipt_lines")
    }
    lines |= {
        name: sum(len(f.read_bytes().splitlines()) for f in (out / name).rglob("*.jsonl"))
        for name in ("accounts", "consents", "app_events")
    }
    assert lines == {name: getattr(counts, name) for name in lines}


def test_another_retailer_in_the_same_folder_is_refused(tmp_path: Path) -> None:
    write_reference(TINY, tmp_path)
    with pytest.raises(PortraitError, match=r"retailer\.json.*same settings"):
        write_reference(replace(TINY, dirt=Dirt(late=0.5)), tmp_path)


def test_app_events_as_parquet_hold_the_same_ids(whole: tuple[Path, Counts], tmp_path: Path) -> None:
    import pyarrow.parquet as pq

    retailer = replace(TINY, app_format="parquet")
    write_day(retailer, tmp_path, TINY.start)
    table = pq.read_table(
        tmp_path / "app_events" / f"date={TINY.start}" / "events.parquet", partitioning=None
    )
    text = (whole[0] / "app_events" / f"date={TINY.start}" / "events.jsonl").read_text(encoding="utf-8")
    assert table["event_id"].to_pylist() == [json.loads(line)["event_id"] for line in text.splitlines()]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"products": 3}, r"Retailer\.products is 3"),
        ({"customers": 0}, r"Retailer\.customers is 0"),
        ({"app_format": "xml"}, "app_format"),
    ],
)
def test_impossible_settings_are_refused(change: dict[str, object], message: str) -> None:
    with pytest.raises(PortraitError, match=message):
        replace(TINY, **change)  # type: ignore[arg-type]


def test_impossible_dates_and_rates_are_refused(tmp_path: Path) -> None:
    with pytest.raises(PortraitError, match="opens on 2025-01-01"):
        simulate(TINY, tmp_path, date(2024, 12, 31), LAST)
    with pytest.raises(PortraitError, match="lies before"):
        simulate(TINY, tmp_path, LAST, TINY.start)
    with pytest.raises(PortraitError, match=r"Dirt\.late is 1\.5"):
        Dirt(late=1.5)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "change",
    [
        {"customers": 1},
        {"events_per_customer_day": 0.0},
        {"receipts_per_customer_day": 0.0},
        {"stores": 1, "history_days": 1},
    ],
)
def test_the_smallest_retailers_work(change: dict[str, object], tmp_path: Path) -> None:
    retailer = replace(TINY, **change)  # type: ignore[arg-type]
    counts = simulate(retailer, tmp_path, TINY.start, TINY.start + timedelta(days=8))
    assert counts.days == 9
    if "events_per_customer_day" in change:
        assert counts.events == 0
    if "receipts_per_customer_day" in change:
        assert counts.receipts == 0
    for file in tmp_path.rglob("date=*/*"):
        assert file.stat().st_size > 0  # a delivery without rows is no file at all
