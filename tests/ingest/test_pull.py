"""Pulling into a real warehouse: idempotent, complete, all or nothing."""

import os
import threading
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from portrait.config import Settings
from portrait.errors import PortraitError
from portrait.ingest import PullResult, check_sources, pull
from portrait.ingest.load import Loader
from portrait.warehouse import Warehouse

from .conftest import AS_OF, source, sources_yaml, write_csv

COLUMNS = {"event_id": "id", "event_name": "what", "occurred_at": "at", "sku": "sku", "quantity": "qty"}
Write = Callable[..., None]


def event(key: str, qty: Any = 1, day: int = 1, what: str = "order_completed") -> dict[str, Any]:
    return {"id": key, "what": what, "at": f"2025-03-{day:02d} 12:00", "sku": "p1", "qty": qty}


def counts(result: PullResult) -> dict[str, int]:
    """The counts that are not zero."""
    found = {k.removeprefix("rows_"): v for k, v in result.as_dict().items() if k.startswith("rows_") and v}
    assert result.rows_read == sum(v for k, v in found.items() if k != "read")
    return found


def loaded(warehouse: Warehouse) -> dict[str, tuple[int, int]]:
    """Quantity and day of every event."""
    rows = warehouse.rows("select source_row_id, quantity, business_date from raw.online_event order by 1")
    assert len({r["source_row_id"] for r in rows}) == len(rows)
    return {r["source_row_id"]: (int(r["quantity"]), r["business_date"].day) for r in rows}


def changed(warehouse: Warehouse, batch_id: int | None) -> dict[int, int]:
    """Rows changed by a batch, by day of March."""
    rows = warehouse.rows(
        "select business_date, rows_changed from ops.batch_partition where batch_id = :b", b=batch_id
    )
    return {r["business_date"].day: r["rows_changed"] for r in rows}


@pytest.fixture
def events(make_settings: Callable[..., Settings]) -> Settings:
    return make_settings(sources_yaml(source("online_event", "events", columns=COLUMNS)))


@pytest.fixture
def dated(make_settings: Callable[..., Settings]) -> Settings:
    return make_settings(
        sources_yaml(source("online_event", "events", columns=COLUMNS, path="d={business_date}/*.csv"))
    )


def assert_nothing_loaded(warehouse: Warehouse, error: str) -> None:
    assert warehouse.scalar("select count(*) from raw.online_event") == 0
    assert warehouse.scalar("select count(*) from quarantine.rejected_row") == 0
    assert warehouse.scalar("select count(*) from ops.batch_file") == 0
    assert warehouse.scalar("select count(*) from ops.batch_partition") == 0
    batch = warehouse.rows("select status, error, finished_at from ops.batch")[-1]
    assert batch["status"] == "failed"
    assert error in batch["error"]
    assert batch["finished_at"] is not None
    assert warehouse.rows("select 1 from information_schema.tables where table_schema = 'staging'") == []


def test_a_second_pull_reads_no_file(events: Settings, warehouse: Warehouse, tmp_path: Path) -> None:
    write_csv(tmp_path / "events1.csv", [event("a"), event("b", 2), event("c", "x")])
    first = pull(events, "events", AS_OF)
    assert counts(first) == {"read": 3, "inserted": 2, "rejected": 1}
    before = warehouse.rows("select * from raw.online_event order by source_row_id")
    second = pull(events, "events", AS_OF)
    assert (second.batch_id, second.files, second.rows_read) == (None, 0, 0)
    assert warehouse.rows("select * from raw.online_event order by source_row_id") == before
    assert [r["source_row_id"] for r in before] == ["a", "b"]
    assert warehouse.scalar("select count(*) from ops.batch") == 1


def test_the_batch_keeps_the_counts(events: Settings, warehouse: Warehouse, tmp_path: Path) -> None:
    write_csv(tmp_path / "events1.csv", [event("a"), event("a", 2), event("c", "x"), event("d", 1, 20)])
    result = pull(events, "events", AS_OF)
    (batch,) = warehouse.rows("select * from ops.batch")
    assert {k: batch[k] for k in batch if k.startswith("rows_")} == {
        "rows_read": 4, "rows_inserted": 1, "rows_updated": 0, "rows_unchanged": 0, "rows_duplicate": 1,
        "rows_rejected": 1, "rows_not_due": 1, "rows_skipped": 0, "rows_outdated": 0, "rows_suppressed": 0,
    }  # fmt: skip
    assert batch["status"] == "loaded"
    assert batch["business_date"] == AS_OF
    assert counts(result) == {"read": 4, "inserted": 1, "duplicate": 1, "rejected": 1, "not_due": 1}


def test_redelivered_under_another_name(events: Settings, warehouse: Warehouse, tmp_path: Path) -> None:
    rows = [event("a"), event("b", 2), event("c", 3, 5)]
    write_csv(tmp_path / "events1.csv", rows)
    pull(events, "events", AS_OF)
    before = warehouse.rows("select * from raw.online_event order by source_row_id")
    write_csv(tmp_path / "events2.csv", rows)
    result = pull(events, "events", AS_OF)
    assert counts(result) == {"read": 3, "unchanged": 3}
    assert warehouse.rows("select * from raw.online_event order by source_row_id") == before
    assert changed(warehouse, result.batch_id) == {}


def test_corrections_replace_and_are_counted(events: Settings, warehouse: Warehouse, tmp_path: Path) -> None:
    write_csv(tmp_path / "events1.csv", [event("a", 1, 1), event("b", 1, 2), event("c", 1, 3)])
    pull(events, "events", AS_OF)
    write_csv(tmp_path / "events2.csv", [event("a", 1, 1), event("b", 9, 2), event("d", 1, 2)])
    result = pull(events, "events", AS_OF)
    assert counts(result) == {"read": 3, "inserted": 1, "updated": 1, "unchanged": 1}
    assert loaded(warehouse) == {"a": (1, 1), "b": (9, 2), "c": (1, 3), "d": (1, 2)}
    assert changed(warehouse, result.batch_id) == {2: 2}


def test_a_correction_may_move_a_row_to_another_day(
    events: Settings, warehouse: Warehouse, tmp_path: Path
) -> None:
    write_csv(tmp_path / "events1.csv", [event("a", 1, 1), event("b", 1, 1)])
    pull(events, "events", AS_OF)
    write_csv(tmp_path / "events2.csv", [event("a", 1, 4)])
    result = pull(events, "events", AS_OF)
    assert counts(result) == {"read": 1, "updated": 1}
    assert loaded(warehouse) == {"a": (1, 4), "b": (1, 1)}
    assert changed(warehouse, result.batch_id) == {1: 1, 4: 1}


def test_of_duplicates_the_last_wins(events: Settings, warehouse: Warehouse, tmp_path: Path) -> None:
    write_csv(tmp_path / "events1.csv", [event("a", 1), event("b", 1), event("a", 2, 2), event("a", 3, 3)])
    write_csv(tmp_path / "events2.csv", [event("b", 5)])
    assert counts(pull(events, "events", AS_OF)) == {"read": 5, "inserted": 2, "duplicate": 3}
    assert loaded(warehouse) == {"a": (3, 3), "b": (5, 1)}


def test_late_rows_go_to_their_own_day(dated: Settings, warehouse: Warehouse, tmp_path: Path) -> None:
    write_csv(tmp_path / "d=2025-03-02/x.csv", [event("a", 1, 2)])
    pull(dated, "events", date(2025, 3, 2))
    write_csv(tmp_path / "d=2025-03-09/x.csv", [event("b", 1, 9), event("late", 1, 1), event("later", 1, 1)])
    result = pull(dated, "events", date(2025, 3, 9))
    assert counts(result) == {"read": 3, "inserted": 3}
    assert changed(warehouse, result.batch_id) == {1: 2, 9: 1}


def test_a_date_pulls_only_what_was_delivered_by_then(
    dated: Settings, warehouse: Warehouse, tmp_path: Path
) -> None:
    for day in (1, 2, 3):
        write_csv(tmp_path / f"d=2025-03-0{day}/x.csv", [event(str(day), 1, day)])
    assert pull(dated, "events", date(2025, 3, 2)).files == 2
    assert list(loaded(warehouse)) == ["1", "2"]
    assert pull(dated, "events", date(2025, 3, 1)).files == 0
    assert pull(dated, "events", date(2025, 3, 3)).files == 1
    assert list(loaded(warehouse)) == ["1", "2", "3"]


def test_rows_not_due_wait_for_their_date(events: Settings, warehouse: Warehouse, tmp_path: Path) -> None:
    write_csv(tmp_path / "events1.csv", [event("a", 1, 1), event("b", 1, 2), event("c", 1, 3)])
    assert counts(pull(events, "events", date(2025, 3, 1))) == {"read": 3, "inserted": 1, "not_due": 2}
    assert counts(pull(events, "events", date(2025, 3, 1))) == {}
    assert counts(pull(events, "events", date(2025, 3, 2))) == {
        "read": 3, "inserted": 1, "unchanged": 1, "not_due": 1,
    }  # fmt: skip
    assert counts(pull(events, "events", date(2025, 3, 3))) == {"read": 3, "inserted": 1, "unchanged": 2}
    assert counts(pull(events, "events", date(2025, 3, 4))) == {}
    assert loaded(warehouse) == {"a": (1, 1), "b": (1, 2), "c": (1, 3)}


def test_reading_a_file_again_for_a_date_undoes_no_correction(
    events: Settings, warehouse: Warehouse, tmp_path: Path
) -> None:
    write_csv(tmp_path / "events1.csv", [event("a", 1, 1), event("b", 1, 5)])
    pull(events, "events", date(2025, 3, 1))
    write_csv(tmp_path / "events2.csv", [event("a", 9, 1)])
    pull(events, "events", date(2025, 3, 2))
    pull(events, "events", date(2025, 3, 5))
    assert loaded(warehouse) == {"a": (9, 1), "b": (1, 5)}


def test_a_file_written_again_is_read_again(events: Settings, warehouse: Warehouse, tmp_path: Path) -> None:
    path = tmp_path / "events1.csv"
    write_csv(path, [event("a", 1)])
    pull(events, "events", AS_OF)
    write_csv(path, [event("a", 2)])
    os.utime(path, ns=(1, 1))
    assert counts(pull(events, "events", AS_OF)) == {"read": 1, "updated": 1}
    assert loaded(warehouse) == {"a": (2, 1)}


def test_what_is_added_while_a_file_is_read_is_not_lost(
    events: Settings, warehouse: Warehouse, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "events1.csv"
    write_csv(path, [event("a")])
    load = Loader.load

    def load_and_append(*arguments: Any) -> Any:
        result = load(*arguments)
        with path.open("a") as file:
            file.write(",".join(map(str, event("b").values())) + "\n")
        return result

    monkeypatch.setattr(Loader, "load", load_and_append)
    pull(events, "events", AS_OF)
    monkeypatch.undo()
    assert counts(pull(events, "events", AS_OF)) == {"read": 2, "inserted": 1, "unchanged": 1}
    assert list(loaded(warehouse)) == ["a", "b"]


def test_one_file_may_feed_two_entities(
    make_settings: Callable[..., Settings], warehouse: Warehouse, tmp_path: Path
) -> None:
    rows = [{**event("a"), "kind": "event"}, {**event("p9"), "kind": "item"}, {**event("b"), "kind": ""}]
    write_csv(tmp_path / "both.csv", rows)
    settings = make_settings(
        sources_yaml(
            source("online_event", "events", columns=COLUMNS, path="both.csv", where="kind = 'event'"),
            source("product", "items", columns={"sku": "id"}, path="both.csv", where="kind = 'item'"),
        )
    )
    assert counts(pull(settings, "events", AS_OF)) == {"read": 3, "inserted": 1, "skipped": 2}
    assert counts(pull(settings, "items", AS_OF)) == {"read": 3, "inserted": 1, "skipped": 2}
    assert warehouse.scalar("select sku from raw.product") == "p9"


def test_mostly_bad_rows_stop_the_batch(
    make_settings: Callable[..., Settings], warehouse: Warehouse, tmp_path: Path
) -> None:
    spec = source("online_event", "events", columns=COLUMNS, max_rejected_share=0.4, where="sku = 'p1'")
    settings = make_settings(sources_yaml(spec))
    skipped = [{**event(str(n)), "sku": "other"} for n in range(9)]
    bad = [event("x", "two"), event("y", "three"), event("", 1)]
    write_csv(tmp_path / "events1.csv", [*skipped, event("a"), event("b"), event("c"), *bad])
    with pytest.raises(PortraitError) as caught:
        pull(settings, "events", AS_OF)
    assert str(caught.value) == (
        f"{settings.sources_path}: sources[events]: 3 of 6 rows were refused, 2 because quantity is not a number "
        f"(bad_decimal:quantity; first: {tmp_path}/events1.csv row 13); correct the mapping or the file, "
        "or raise max_rejected_share (now 0.4). Nothing was loaded"
    )
    assert_nothing_loaded(warehouse, "3 of 6 rows were refused")
    write_csv(tmp_path / "events2.csv", [event("d"), event("e"), event("f")])
    assert counts(pull(settings, "events", AS_OF)) == {"read": 18, "inserted": 6, "rejected": 3, "skipped": 9}


def test_a_second_file_that_fails_leaves_nothing_of_the_first(
    events: Settings, warehouse: Warehouse, tmp_path: Path
) -> None:
    write_csv(tmp_path / "events1.csv", [event("a"), event("b", "x")])
    write_csv(
        tmp_path / "events2.csv", [{"id": "c", "whatt": "x", "at": "2025-03-01", "sku": "p1", "qty": "1"}]
    )
    with pytest.raises(PortraitError, match="events2.csv: no column 'what' .*; did you mean 'whatt'"):
        pull(events, "events", AS_OF)
    assert_nothing_loaded(warehouse, "no column 'what'")
    write_csv(tmp_path / "events2.csv", [event("c")])
    assert counts(pull(events, "events", AS_OF)) == {"read": 3, "inserted": 2, "rejected": 1}


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("damage", [b"\xff,b,c,d,e\n", b"\xff 13912345678\n"])
def test_a_damaged_file_leaves_nothing(
    events: Settings, warehouse: Warehouse, tmp_path: Path, damage: bytes
) -> None:
    write_csv(tmp_path / "events1.csv", [event("a")])
    (tmp_path / "events2.csv").write_bytes(b"id,what,at,sku,qty\n" + b"a,b,c,d,e\n" * 70_000 + damage)
    with pytest.raises(PortraitError, match="events2.csv: is not utf-8 text"):
        pull(events, "events", AS_OF)
    assert_nothing_loaded(warehouse, "is not utf-8 text")


def test_a_missing_file_opens_no_batch(events: Settings, warehouse: Warehouse, tmp_path: Path) -> None:
    with pytest.raises(
        PortraitError, match=r"sources\[events\].path: no file matches .*/events\*.csv; correct"
    ):
        pull(events, "events", AS_OF)
    assert warehouse.scalar("select count(*) from ops.batch") == 0


def test_quarantine_says_what_where_and_why(events: Settings, warehouse: Warehouse, tmp_path: Path) -> None:
    write_csv(tmp_path / "events1.csv", [event("a"), event("b", "two")])
    result = pull(events, "events", AS_OF)
    (row,) = warehouse.rows("select * from quarantine.rejected_row")
    assert {
        k: row[k] for k in ("source", "path", "row_number", "batch_id", "reason_code", "reason", "payload")
    } == {
        "source": "events",
        "path": str(tmp_path / "events1.csv"),
        "row_number": 2,
        "batch_id": result.batch_id,
        "reason_code": "bad_decimal:quantity",
        "reason": "quantity is not a number",
        "payload": {
            "id": "b",
            "what": "order_completed",
            "at": "2025-03-01 12:00",
            "sku": "p1",
            "qty": "two",
        },
    }
    assert row["resolved_at"] is None
    os.utime(tmp_path / "events1.csv", ns=(1, 1))
    assert counts(pull(events, "events", AS_OF)) == {"read": 2, "unchanged": 2}
    write_csv(tmp_path / "events1.csv", [event("a", 3), event("b", "two")])
    assert counts(pull(events, "events", AS_OF)) == {"read": 2, "updated": 1, "rejected": 1}
    assert warehouse.scalar("select count(*) from quarantine.rejected_row") == 1


def test_a_row_with_a_nul_can_be_listed(events: Settings, warehouse: Warehouse, tmp_path: Path) -> None:
    write_csv(tmp_path / "events1.csv", [event("a"), {**event("b"), "sku": "p\0 1"}])
    assert counts(pull(events, "events", AS_OF)) == {"read": 2, "inserted": 1, "rejected": 1}
    assert warehouse.scalar("select payload ->> 'sku' from quarantine.rejected_row") == "p 1"


def test_a_very_long_key_can_be_stored(
    make_settings: Callable[..., Settings], warehouse: Warehouse, tmp_path: Path
) -> None:
    write_csv(tmp_path / "events1.csv", [event("k" * 9_000), event("k" * 9_001)])
    settings = make_settings(sources_yaml(source("online_event", "events", columns=COLUMNS)))
    assert counts(pull(settings, "events", AS_OF)) == {"read": 2, "inserted": 2}


@pytest.mark.parametrize("again", [AS_OF, date(2025, 3, 11)])
def test_a_list_delivered_again_every_night(
    make_settings: Callable[..., Settings], warehouse: Warehouse, tmp_path: Path, again: date
) -> None:
    """A row without a date of its own keeps the date of the delivery that changed it last."""
    settings = make_settings(
        sources_yaml(source("store", "stores", columns={"store_id": "id", "name": "name"}))
    )
    path = tmp_path / "stores.csv"
    write_csv(path, [{"id": "S1", "name": "One"}, {"id": "S2", "name": "Two"}])
    pull(settings, "stores", AS_OF)
    write_csv(path, [{"id": "S1", "name": "One"}, {"id": "S2", "name": "New"}, {"id": "S3", "name": "Three"}])
    result = pull(settings, "stores", again)
    assert counts(result) == {"read": 3, "inserted": 1, "updated": 1, "unchanged": 1}
    rows = warehouse.rows("select store_id, name, business_date from raw.store order by 1")
    assert [tuple(r.values()) for r in rows] == [
        ("S1", "One", AS_OF),
        ("S2", "New", again),
        ("S3", "Three", again),
    ]


def test_a_row_without_a_date_has_its_deliverys(
    make_settings: Callable[..., Settings], warehouse: Warehouse, tmp_path: Path
) -> None:
    spec = source("store", "stores", columns={"store_id": "id"}, path="stores_{business_date}.csv")
    write_csv(tmp_path / "stores_20250302.csv", [{"id": "S1"}, {"id": "S2"}])
    write_csv(tmp_path / "stores_20250304.csv", [{"id": "S2"}, {"id": "S3"}])
    assert counts(pull(make_settings(sources_yaml(spec)), "stores", AS_OF)) == {
        "read": 4, "inserted": 3, "duplicate": 1,
    }  # fmt: skip
    rows = warehouse.rows("select store_id, business_date from raw.store order by 1")
    assert [(r["store_id"], r["business_date"].day) for r in rows] == [("S1", 2), ("S2", 4), ("S3", 4)]


def test_two_pulls_of_one_source_at_once(events: Settings, warehouse: Warehouse, tmp_path: Path) -> None:
    write_csv(tmp_path / "events1.csv", [event(f"e{n}", 1, 1 + n % 9) for n in range(5_000)])
    results = together([lambda: pull(events, "events", AS_OF)] * 3)
    assert sorted(r.rows_inserted for r in results) == [0, 0, 5_000]
    assert warehouse.scalar("select count(*) from raw.online_event") == 5_000
    assert warehouse.rows("select distinct status from ops.batch") == [{"status": "loaded"}]


def test_two_sources_of_one_entity_at_once(
    make_settings: Callable[..., Settings], warehouse: Warehouse, tmp_path: Path
) -> None:
    """Both need the same months, in partitions that neither has."""
    names = ["app", "web"]
    for name in names:
        rows = [{**event(f"e{n}"), "at": f"2024-{1 + n % 12:02d}-15"} for n in range(2_000)]
        write_csv(tmp_path / f"{name}.csv", rows)
    settings = make_settings(sources_yaml(*(source("online_event", n, columns=COLUMNS) for n in names)))
    results = together([lambda n=n: pull(settings, n, AS_OF) for n in names])  # type: ignore[misc]
    assert [r.rows_inserted for r in results] == [2_000, 2_000]
    assert warehouse.scalar("select count(*) from raw.online_event") == 4_000


def together(calls: list[Callable[[], PullResult]]) -> list[PullResult]:
    results: list[PullResult | BaseException | None] = [None] * len(calls)

    def run(place: int) -> None:
        try:
            results[place] = calls[place]()
        except BaseException as error:
            results[place] = error

    threads = [threading.Thread(target=run, args=(place,)) for place in range(len(calls))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert all(isinstance(r, PullResult) for r in results), results
    return results  # type: ignore[return-value]


def test_a_check_loads_nothing(
    make_settings: Callable[..., Settings], warehouse: Warehouse, tmp_path: Path
) -> None:
    settings = make_settings(
        sources_yaml(
            source("online_event", "events", columns=COLUMNS),
            source("online_event", "dated", columns=COLUMNS, path="d={business_date}/*.csv"),
            source("store", "stores", columns={"store_id": "id"}),
        )
    )
    write_csv(tmp_path / "events1.csv", [event("a", 1, 3), event("b", 1, 7), event("c", "x", 8)])
    write_csv(tmp_path / "d=2025-03-05/x.csv", [event("a", 1, 3)])
    write_csv(tmp_path / "d=2025-03-06/x.csv", [event("a", 1, 3)])
    write_csv(tmp_path / "stores.csv", [{"id": "S1"}])
    assert [(r.source, r.entity, r.files, r.latest and r.latest.day) for r in check_sources(settings)] == [
        ("events", "online_event", 1, 7),
        ("dated", "online_event", 2, 6),
        ("stores", "store", 1, None),
    ]
    assert [r.latest and r.latest.day for r in check_sources(settings, find_latest=False)] == [None, 6, None]
    assert warehouse.scalar("select count(*) from ops.batch") == 0
    write_csv(tmp_path / "stores.csv", [{"ident": "S1"}])
    with pytest.raises(PortraitError, match="stores.csv: no column 'id'"):
        check_sources(settings)
