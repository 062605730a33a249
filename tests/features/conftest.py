"""A small shop: rows in a short notation, through the real stages."""

from collections.abc import Callable
from datetime import UTC, date, datetime, time
from pathlib import Path
from typing import Any

import ibis
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from ibis.expr import types as ir
from portrait.config import Settings
from portrait.features import FeatureResult, SnapshotResult, build, snapshot
from portrait.features.engine import DuckDBEngine, Engine
from portrait.features.interactions import FACT
from portrait.identity import map_path, resolve
from portrait.run import Run
from portrait.warehouse import Warehouse

COLUMNS = ("customer", *FACT)
"""Of `make_rows`: customers, items and baskets are texts there, which read better than positions."""

_TYPES = {
    "quantity": "float64",
    "amount": "decimal(18, 4)",
    "discount": "decimal(18, 4)",
    "rating": "float64",
    "local_hour": "int8",
    "occurred_at": "timestamp",
    "business_date": "date",
}


@pytest.fixture
def engine(tmp_path: Path) -> Engine:
    return DuckDBEngine("1GB", tmp_path / "spill")


@pytest.fixture
def make_rows() -> Callable[..., ir.Table]:
    """Build interactions from (customer, event, day) and the columns that matter."""

    def make(*rows: dict[str, Any]) -> ir.Table:
        schema = ibis.schema({c: _TYPES.get(c, "string") for c in COLUMNS})
        full = [{"channel": "online", **{c: r[c] for c in r if c != "amount"}} for r in rows]
        table = pa.Table.from_pylist(full, schema=schema.to_pyarrow())
        amounts = pa.array([r.get("amount") for r in rows], pa.float64()).cast(pa.decimal128(18, 4))
        place = table.schema.get_field_index("amount")
        return ibis.memtable(table.set_column(place, "amount", amounts))

    return make


class Shop:
    """Adds raw rows and runs the stages for a date."""

    def __init__(
        self, settings: Settings, warehouse: Warehouse, add_raw: Callable[..., int], number: int = 0
    ) -> None:
        self.settings, self.warehouse, self.add_raw = settings, warehouse, add_raw
        self.number = number
        """Of events and receipts so far."""

    def events(self, day: date, *rows: dict[str, Any]) -> None:
        made = []
        for row in rows:
            self.number += 1
            base = {"event_id": f"e{self.number}", "event_name": "product_viewed", "business_date": day}
            made.append({**base, "occurred_at": _noon(day), **row})
        self.add_raw("online_event", made)

    def receipt(self, day: date, *lines: dict[str, Any], **head: Any) -> None:
        self.number += 1
        key = {"workstation_id": "1", "sequence_number": self.number, "business_date": day}
        key["store_id"] = head.pop("store_id", "st1")
        head = {"kind": "sale", "total_amount": 1, "occurred_at": _noon(day), **head}
        self.add_raw("pos_receipt", [{**key, **head}])
        if lines:
            made = [{"quantity": 1, **line, **key, "line_number": n} for n, line in enumerate(lines)]
            self.add_raw("pos_receipt_line", made)

    def member(self, day: date, **row: Any) -> None:
        self.add_raw("member", [{"business_date": day, **row}])

    def products(self, day: date, *rows: dict[str, Any], source: str = "test") -> None:
        self.add_raw("product", [{"business_date": day, **r} for r in rows], source)

    def run(self, day: date, attempt: int = 1) -> Run:
        return Run(f"{day}.{attempt}", day)

    def snapshot(self, day: date, rebuild: bool = False) -> SnapshotResult:
        return snapshot(self.settings, self.run(day), rebuild=rebuild)

    def night(self, day: date, attempt: int = 1) -> FeatureResult:
        run = self.run(day, attempt)
        resolve(self.settings, run)
        snapshot(self.settings, run)
        return build(self.settings, run)

    def folder(self, day: date, attempt: int = 1) -> Path:
        return self.settings.run_dir(self.run(day, attempt).run_id) / "features"

    def customer_of(self, day: date, value: str) -> str:
        rows = pq.read_table(map_path(self.settings, self.run(day))).to_pylist()
        return str(next(r["customer_id"] for r in rows if r["value"] == value))

    def output(self, day: date, name: str, value: str) -> dict[str, Any]:
        """The row of an output that belongs to the customer of an identifier."""
        customer = self.customer_of(day, value)
        rows = pq.read_table(self.folder(day) / f"{name}.parquet").to_pylist()
        (row,) = (r for r in rows if r["customer_id"] == customer)
        return dict(row)


def _noon(day: date) -> datetime:
    return datetime.combine(day, time(12), UTC)


@pytest.fixture
def shop(settings: Settings, warehouse: Warehouse, add_raw: Callable[..., int]) -> Shop:
    return Shop(settings, warehouse, add_raw)
