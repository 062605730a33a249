"""The lake against Postgres."""

from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal
from importlib import import_module
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest
from portrait.config import Settings
from portrait.errors import PortraitError
from portrait.features.lake import LAKE_TABLES, LakeTable, Manifest
from portrait.features.snapshot import SnapshotResult
from portrait.features.split import Written

from .conftest import Shop

SHANGHAI = ZoneInfo("Asia/Shanghai")
CODES: dict[str, int] = {}
"""Identifier -> its code, over all tables and tests."""
D1 = date(2026, 3, 1)
D2, D3 = D1 + timedelta(days=1), D1 + timedelta(days=2)


def lake_rows(settings: Settings, name: str) -> list[dict[str, Any]]:
    table = LakeTable(settings.lake_dir, name)
    if not table.partitioned:
        rows = pq.read_table(table.file()).to_pylist()
    else:
        files = {d: pq.ParquetFile(table.file(d)).read() for d in sorted(table.dates())}
        assert all("business_date" not in f.column_names for f in files.values())
        rows = [{**r, "business_date": d} for d, f in files.items() for r in f.to_pylist()]
    return sorted(rows, key=lambda r: (r["business_date"], r["source_row_id"]))


def assert_like_postgres(shop: Shop) -> None:
    for name in LAKE_TABLES:
        expected = shop.warehouse.rows(f"select * from raw.{name} order by business_date, source_row_id")
        found = lake_rows(shop.settings, name)
        table = LakeTable(shop.settings.lake_dir, name)
        for row, stored in zip(expected, found, strict=True):
            at = row.get("occurred_at")
            row["occurred_on"] = at and at.astimezone(SHANGHAI).date()
            row["local_hour"] = at and at.astimezone(SHANGHAI).hour
            for kind, column in table.kinds.items():
                code = stored[f"{kind}_code"]
                assert (code is None) == (row[column] is None)
                assert code is None or CODES.setdefault(row[column], code) == code
                row[f"{kind}_code"] = code
        assert len(set(CODES.values())) == len(CODES)
        assert [{c: _plain(r[c]) for c in table.schema.names} for r in expected] == found, name


def _plain(value: Any) -> Any:
    return float(value) if isinstance(value, Decimal) else value


def files(settings: Settings) -> dict[str, tuple[int, int]]:
    found = settings.lake_dir.glob("*/**/part.parquet")
    return {str(f.relative_to(settings.lake_dir)): (f.stat().st_ino, f.stat().st_mtime_ns) for f in found}


@pytest.fixture
def stocked(shop: Shop) -> Shop:
    shop.events(D1, {"account_id": "a", "sku": "s1", "unit_price": 1.25}, {"device_id": "d"})
    shop.events(D2, {"account_id": "a", "search_query": "咖啡"})
    shop.receipt(D2, {"sku": "s1", "line_amount": 9.99}, {"sku": "s2", "line_amount": 1}, card_hash="c")
    shop.member(D1, member_id="m", card_hash="c", birth_date=date(1990, 5, 17))
    shop.products(D1, {"sku": "s1", "list_price": 3.5}, {"sku": "s2"})
    return shop


def test_first_snapshot_is_what_postgres_has(stocked: Shop) -> None:
    # 2 days of events, 1 of receipts, 1 of lines, 3 whole tables
    assert stocked.snapshot(D2) == SnapshotResult(partitions=7, removed=0, rows=9, lake_rows=9)
    assert_like_postgres(stocked)
    assert stocked.snapshot(D2) == SnapshotResult(partitions=0, removed=0, rows=0, lake_rows=9)


def test_only_what_changed_is_written(stocked: Shop) -> None:
    stocked.snapshot(D2)
    before = files(stocked.settings)
    stocked.events(D1, {"device_id": "late"})
    stocked.events(D3, {"device_id": "new"})
    result = stocked.snapshot(D3)
    after = files(stocked.settings)
    changed = {f for f in after if after[f] != before.get(f)}
    assert changed == {
        "online_event/business_date=2026-03-01/part.parquet",
        "online_event/business_date=2026-03-03/part.parquet",
    }
    assert result == SnapshotResult(partitions=2, removed=0, rows=4, lake_rows=11)
    assert_like_postgres(stocked)


def test_a_whole_table_is_refreshed_by_any_newer_batch(stocked: Shop) -> None:
    stocked.snapshot(D2)
    before = files(stocked.settings)
    stocked.products(D3, {"sku": "s3"})
    stocked.snapshot(D3)
    after = files(stocked.settings)
    assert {f for f in after if after[f] != before[f]} == {"product/part.parquet"}
    assert_like_postgres(stocked)


def test_rebuild_writes_everything_and_removes_what_is_gone(stocked: Shop) -> None:
    stocked.snapshot(D2)
    before = files(stocked.settings)
    stocked.warehouse.execute("delete from raw.online_event where business_date = :d", d=D2)
    assert stocked.snapshot(D2).partitions == 0
    result = stocked.snapshot(D2, rebuild=True)
    after = files(stocked.settings)
    assert (result.partitions, result.removed) == (6, 1)
    assert all(after[f][0] != before[f][0] for f in after)
    assert_like_postgres(stocked)


def test_a_date_that_lost_its_rows_loses_its_file(stocked: Shop) -> None:
    stocked.snapshot(D2)
    batch = stocked.add_raw("online_event", [{"event_id": "x", **_view(D3)}])
    stocked.warehouse.execute("delete from raw.online_event where business_date = :d", d=D2)
    stocked.warehouse.execute(
        "insert into ops.batch_partition values (:b, 'online_event', :d, 1)", b=batch, d=D2
    )
    assert stocked.snapshot(D3).removed == 1
    assert_like_postgres(stocked)


def test_a_lake_made_in_another_way_is_made_anew(stocked: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    stocked.snapshot(D2)
    module = import_module("portrait.features.snapshot")
    monkeypatch.setattr(module, "MADE_WITH", "DuckDB 99")
    assert stocked.snapshot(D2).partitions == 7
    assert stocked.snapshot(D2).partitions == 0


def test_a_lost_file_is_written_again(stocked: Shop) -> None:
    stocked.snapshot(D2)
    LakeTable(stocked.settings.lake_dir, "online_event").file(D1).unlink()
    assert stocked.snapshot(D2).partitions == 1
    assert_like_postgres(stocked)


def test_a_killed_snapshot_is_made_again(stocked: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    def killed(_: Manifest) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Manifest, "write", killed)
        with pytest.raises(KeyboardInterrupt):
            stocked.snapshot(D2)
    assert stocked.snapshot(D2).partitions == 7
    assert_like_postgres(stocked)


def test_a_batch_still_loading_is_not_passed_over(stocked: Shop) -> None:
    stocked.warehouse.execute("update ops.batch set status = 'loading' where entity = 'online_event'")
    stocked.snapshot(D2)
    stocked.warehouse.execute("update ops.batch set status = 'loaded'")
    assert stocked.snapshot(D2).partitions == 2


@pytest.mark.parametrize("total", ["rows", "batches", "octets"])
def test_other_totals_than_in_postgres_are_an_error(
    stocked: Shop, monkeypatch: pytest.MonkeyPatch, total: str
) -> None:
    def short(*args: Any) -> dict[date, Written]:
        return {d: replace(w, totals=replace(w.totals, **{total: 1})) for d, w in write(*args).items()}

    module = import_module("portrait.features.snapshot")  # the package's name of it is the function
    write = module.write_by_date
    monkeypatch.setattr(module, "write_by_date", short)
    with pytest.raises(
        PortraitError, match=rf"online_event: 2026-03-01: .*{total}=1.* written, Postgres has .*--rebuild"
    ):
        stocked.snapshot(D2)


def test_other_readers_find_the_partitions(stocked: Shop) -> None:
    stocked.snapshot(D2)
    found = ds.dataset(Path(stocked.settings.lake_dir, "online_event"), partitioning="hive").to_table()
    assert sorted(map(str, found["business_date"].to_pylist())) == ["2026-03-01", "2026-03-01", "2026-03-02"]


def _view(day: date) -> dict[str, Any]:
    return {"event_name": "product_viewed", "occurred_at": day, "business_date": day}
