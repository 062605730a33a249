"""A small shop's files, loaded, resolved and copied to the lake: Li Lei, who will be erased, and Han Mei, who stays."""

import csv
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from portrait import stages
from portrait.config import Settings
from portrait.ingest import pull
from portrait.ingest.pii import hash_column
from portrait.run import Run

DAY = date(2025, 3, 1)
LI_PHONE, LI_CARD = "137 6412 5093", "LEI-0001"
SOURCES = """
workspace: test
timezone: Asia/Shanghai
currency: CNY
phone_region: CN
sources:
  - name: members
    entity: member
    path: members*.csv
    format: csv
    max_rejected_share: 1
    columns: {member_id: id, account_id: account, card: card, phone: phone, name: name, address: address}
  - name: events
    entity: online_event
    path: events*.csv
    format: csv
    max_rejected_share: 1
    columns: {event_id: id, event_name: what, occurred_at: at, account_id: account, device_id: device, sku: sku, quantity: qty, amount: amount}
  - name: tills
    entity: pos_receipt
    path: tills*.csv
    format: csv
    max_rejected_share: 1
    columns: {store_id: store, workstation_id: till, sequence_number: number, business_date: day, occurred_at: at, card: card, kind: kind, total_amount: total}
"""
MEMBERS = [
    {
        "id": "m-li-01",
        "account": "acc-lilei",
        "card": LI_CARD,
        "phone": LI_PHONE,
        "name": "李雷",
        "address": "1 Road",
    },
    {
        "id": "m-han-1",
        "account": "acc-hanmei",
        "card": "HAN-0001",
        "phone": "13900139000",
        "name": "韩梅",
        "address": "2 Road",
    },
]
EVENTS = [
    {"id": "e-0001", "what": "product_viewed", "at": "2025-03-01 10:00", "account": "acc-lilei", "device": "dev-li-1", "sku": "p1", "qty": "", "amount": ""},
    {"id": "e-0002", "what": "order_completed", "at": "2025-03-01 10:05", "account": "acc-lilei", "device": "dev-li-1", "sku": "p1", "qty": "1", "amount": "9"},
    {"id": "e-0003", "what": "product_viewed", "at": "2025-03-01 11:00", "account": "", "device": "dev-li-1", "sku": "p2", "qty": "", "amount": ""},
    {"id": "e-0004", "what": "product_viewed", "at": "2025-03-01 12:00", "account": "acc-hanmei", "device": "dev-han-1", "sku": "p1", "qty": "", "amount": ""},
    {"id": "e-0005", "what": "order_completed", "at": "2025-03-01 12:05", "account": "acc-lilei", "device": "dev-li-1", "sku": "p1", "qty": "two", "amount": "9"},
]  # fmt: skip
TILLS = [
    {"store": "S1", "till": "1", "number": "1", "day": "2025-03-01", "at": "2025-03-01 09:00", "card": LI_CARD, "kind": "sale", "total": "20"},
    {"store": "S1", "till": "1", "number": "2", "day": "2025-03-01", "at": "2025-03-01 09:01", "card": "HAN-0001", "kind": "sale", "total": "30"},
]  # fmt: skip


def write(path: Path, rows: list[dict[str, Any]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


@pytest.fixture
def settings(make_settings: Callable[..., Settings]) -> Settings:
    return make_settings(SOURCES)


@pytest.fixture
def deliver(settings: Settings, tmp_path: Path) -> Callable[..., dict[str, Any]]:
    """Write the three files under a new name and pull them."""

    def run(name: str = "1") -> dict[str, Any]:
        # A file with the very bytes of the first would not even be read.
        for source, rows in (("members", MEMBERS), ("events", EVENTS), ("tills", TILLS)):
            write(tmp_path / f"{source}{name}.csv", [{**row, "file": name} for row in rows])
        return {source: pull(settings, source, DAY) for source in ("members", "events", "tills")}

    return run


@pytest.fixture
def loaded(settings: Settings, deliver: Callable[..., Any]) -> Settings:
    """Both people loaded and resolved."""
    deliver()
    run = Run("2025-03-01.1", DAY)
    warehouse_run(settings, run)
    stages.resolve(settings, run)
    return settings


@pytest.fixture
def shop(loaded: Settings) -> Settings:
    """And in the lake, with features of a run."""
    run = Run("2025-03-01.1", DAY)
    stages.snapshot(loaded, run)
    stages.features(loaded, run)
    return loaded


def warehouse_run(settings: Settings, run: Run) -> None:
    from portrait.warehouse import open_warehouse

    open_warehouse(settings).execute(
        "insert into ops.run (run_id, as_of, run_key, seed, status) values (:r, :d, :r, 0, 'running')",
        r=run.run_id,
        d=run.as_of,
    )


def stored(kind: str, value: str) -> str:
    """The keyed hash of a clear value under the tests' key."""
    import pyarrow as pa

    found: str = hash_column(pa.array([value]), kind, b"test-key", "CN")[0].as_py()  # type: ignore[arg-type]
    return found
