"""Pulling from a second PostgreSQL: incremental, complete, nothing twice."""

import json
import uuid
from collections.abc import Callable
from datetime import date
from typing import Any

import pytest
from portrait.config import Settings
from portrait.errors import PortraitError
from portrait.ingest import PullResult, pull
from portrait.warehouse import Warehouse
from portrait.warehouse.database import create_database
from sqlalchemy import URL

from .conftest import source, sources_yaml

FIRST, SECOND, THIRD = date(2025, 3, 1), date(2025, 3, 2), date(2025, 3, 3)
COLUMNS: dict[str, Any] = {
    "store_id": "store", "workstation_id": "till", "sequence_number": "id", "occurred_at": "sold_at",
    "kind": {"constant": "sale"}, "total_amount": "total", "phone": "phone",
}  # fmt: skip


@pytest.fixture
def till(server: URL) -> Warehouse:
    """The retailer's own database, with receipts in local time."""
    name = f"pos_{uuid.uuid4().hex[:12]}"
    create_database(server, name)
    database = Warehouse(server.set(database=name))
    database.execute(
        "create table receipt (id bigint primary key, store text, till int, sold_at timestamp, total numeric(12,2), "
        "phone text, changed timestamp)"
    )
    return database


@pytest.fixture
def shop(make_settings: Callable[..., Settings], till: Warehouse) -> Callable[..., Settings]:
    def make(watermark: Any = "changed", **keys: Any) -> Settings:
        spec = source("pos_receipt", "till", columns=COLUMNS, **keys)
        del spec["path"], spec["format"]
        spec["database"] = {"connection": "pos_db", "table": "receipt", "watermark": watermark}
        connection = {
            "conn_type": "postgres", "host": till.url.query["host"], "login": till.url.username,
            "schema": till.url.database,
        }  # fmt: skip
        return make_settings(sources_yaml(spec), AIRFLOW_CONN_POS_DB=json.dumps(connection))

    return make


def sell(till: Warehouse, number: int, sold_at: str, changed: str | None = None, total: Any = 10) -> None:
    till.execute(
        "insert into receipt values (:n, 'S1', 1, :sold, :total, '13912345678', :changed) on conflict (id) do update "
        "set sold_at = excluded.sold_at, total = excluded.total, changed = excluded.changed",
        n=number, sold=sold_at, total=total, changed=changed or sold_at,
    )  # fmt: skip


def counts(result: PullResult) -> dict[str, int]:
    found = {k.removeprefix("rows_"): v for k, v in result.as_dict().items() if k.startswith("rows_") and v}
    assert result.rows_read == sum(v for k, v in found.items() if k != "read")
    return found


def loaded(warehouse: Warehouse) -> dict[int, tuple[str, int]]:
    rows = warehouse.rows(
        "select sequence_number as n, business_date as d, total_amount as t from raw.pos_receipt"
    )
    assert len({r["n"] for r in rows}) == len(rows)
    return {r["n"]: (str(r["d"]), int(r["t"])) for r in rows}


def test_only_what_changed_since_the_last_pull(
    shop: Callable[..., Settings], till: Warehouse, warehouse: Warehouse
) -> None:
    settings = shop()
    for number, at in enumerate(["2025-03-01 09:00", "2025-03-01 23:30", "2025-03-02 00:10"], 1):
        sell(till, number, at)
    assert counts(pull(settings, "till", FIRST)) == {"read": 2, "inserted": 2}
    assert loaded(warehouse) == {1: ("2025-03-01", 10), 2: ("2025-03-01", 10)}

    sell(till, 1, "2025-03-01 09:00", "2025-03-02 10:00", total=12)  # corrected the day after
    # The last hour is read again, for transactions that commit late.
    assert counts(pull(settings, "till", SECOND)) == {"read": 3, "inserted": 1, "updated": 1, "unchanged": 1}
    assert loaded(warehouse)[1] == ("2025-03-01", 12)
    assert counts(pull(settings, "till", SECOND)) == {"read": 1, "unchanged": 1}


def test_a_row_committed_late_is_caught(
    shop: Callable[..., Settings], till: Warehouse, warehouse: Warehouse
) -> None:
    settings = shop()
    sell(till, 1, "2025-03-01 20:00")
    pull(settings, "till", FIRST)
    sell(till, 2, "2025-03-01 19:10")  # its time is before the mark
    assert counts(pull(settings, "till", SECOND)) == {"read": 2, "inserted": 1, "unchanged": 1}
    assert set(loaded(warehouse)) == {1, 2}


def test_an_earlier_date_than_the_last_takes_nothing_back(
    shop: Callable[..., Settings], till: Warehouse, warehouse: Warehouse
) -> None:
    settings = shop()
    sell(till, 1, "2025-03-01 20:00")
    sell(till, 2, "2025-03-02 20:00")
    pull(settings, "till", SECOND)
    sell(till, 1, "2025-03-01 20:00", "2025-03-02 20:30", total=11)
    assert counts(pull(settings, "till", FIRST)) == {}
    assert counts(pull(settings, "till", THIRD)) == {"read": 2, "updated": 1, "unchanged": 1}
    assert loaded(warehouse) == {1: ("2025-03-01", 11), 2: ("2025-03-02", 10)}


def test_rows_by_number_wait_for_their_date(
    shop: Callable[..., Settings], till: Warehouse, warehouse: Warehouse
) -> None:
    """A number says nothing about time: rows of tomorrow are met today, and must not be lost."""
    settings = shop({"column": "id", "type": "integer", "overlap": 0})
    for number, at in enumerate(["2025-03-01 09:00", "2025-03-02 00:10", "2025-03-01 23:59"], 1):
        sell(till, number, at)
    assert counts(pull(settings, "till", FIRST)) == {"read": 3, "inserted": 2, "not_due": 1}
    sell(till, 4, "2025-03-02 08:00")
    assert counts(pull(settings, "till", SECOND)) == {"read": 3, "inserted": 2, "unchanged": 1}
    assert set(loaded(warehouse)) == {1, 2, 3, 4}
    assert counts(pull(settings, "till", SECOND)) == {"read": 1, "unchanged": 1}


def test_a_bad_row_is_listed_once(
    shop: Callable[..., Settings], till: Warehouse, warehouse: Warehouse
) -> None:
    settings = shop()
    sell(till, 1, "2025-03-01 20:00", total=-1)
    sell(till, 2, "2025-03-01 20:01", total=-1)
    assert counts(pull(settings, "till", FIRST)) == {"read": 2, "rejected": 2}
    assert counts(pull(settings, "till", SECOND)) == {"read": 2, "rejected": 2}
    listed = warehouse.rows(
        "select path, row_number, reason_code, payload from quarantine.rejected_row order by payload::text"
    )
    assert [(r["row_number"], r["reason_code"]) for r in listed] == [(0, "check:receipt_sign")] * 2
    assert {r["path"] for r in listed} == {"pos_db:receipt"}
    assert [r["payload"]["phone"] for r in listed] == ["***", "***"]
    sell(till, 3, "2025-03-02 10:00")
    assert counts(pull(settings, "till", SECOND)) == {"read": 3, "inserted": 1, "rejected": 2}


def test_a_failed_pull_moves_no_mark(
    shop: Callable[..., Settings], till: Warehouse, warehouse: Warehouse
) -> None:
    sell(till, 1, "2025-03-01 20:00", total=-1)
    sell(till, 2, "2025-03-01 22:00")
    with pytest.raises(PortraitError, match="1 of 2 rows were refused"):
        pull(shop(max_rejected_share=0.1), "till", FIRST)
    assert warehouse.scalar("select count(*) from ops.source_state") == 0
    assert counts(pull(shop(), "till", FIRST)) == {"read": 2, "inserted": 1, "rejected": 1}


def test_since_reads_again(shop: Callable[..., Settings], till: Warehouse, warehouse: Warehouse) -> None:
    """Rows changed behind the watermark's back."""
    settings = shop()
    sell(till, 1, "2025-03-01 08:00")
    sell(till, 2, "2025-03-02 08:00")
    pull(settings, "till", SECOND)
    till.execute("update receipt set total = 11")
    assert counts(pull(settings, "till", SECOND)) == {"read": 1, "updated": 1}
    assert counts(pull(settings, "till", SECOND, since=FIRST)) == {"read": 2, "updated": 1, "unchanged": 1}
    assert loaded(warehouse) == {1: ("2025-03-01", 11), 2: ("2025-03-02", 11)}


def test_without_a_watermark_everything_is_read(
    shop: Callable[..., Settings], till: Warehouse, warehouse: Warehouse
) -> None:
    settings = shop(None)
    sell(till, 1, "2025-03-01 08:00")
    sell(till, 2, "2025-03-02 08:00")
    assert counts(pull(settings, "till", FIRST)) == {"read": 2, "inserted": 1, "not_due": 1}
    assert counts(pull(settings, "till", SECOND)) == {"read": 2, "inserted": 1, "unchanged": 1}
