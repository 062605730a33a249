"""The business day: by the store's clock and closing hour, not by UTC."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from .conftest import source, sources_yaml, write_csv

COLUMNS = {
    "store_id": "store", "workstation_id": "till", "sequence_number": "number", "occurred_at": "at", "kind": "kind",
    "total_amount": "total",
}  # fmt: skip


@pytest.fixture
def day_of(validate: Callable, tmp_path: Path) -> Callable[..., tuple[str, str]]:
    """Business date and instant (UTC) of a receipt whose till sends no business date."""

    def find(at: str, store: str = "S1", **top: Any) -> tuple[str, str]:
        row = {"store": store, "till": "1", "number": "7", "at": at, "kind": "sale", "total": "10"}
        write_csv(tmp_path / "things.csv", [row])
        result = validate(sources_yaml(source("pos_receipt", columns=COLUMNS), **top))
        assert result.codes == []
        (receipt,) = result.rows
        assert receipt["source_row_id"] == f"{store}|1|7|{receipt['business_date']}"
        return str(receipt["business_date"]), f"{receipt['occurred_at']:%Y-%m-%d %H:%M}"

    return find


@pytest.mark.parametrize(
    ("at", "closing", "expected"),
    [
        ("2025-03-01 23:59", 0, "2025-03-01"),
        ("2025-03-02 00:00", 0, "2025-03-02"),
        ("2025-03-02 03:59", 4, "2025-03-01"),
        ("2025-03-02 04:00", 4, "2025-03-02"),
        ("2025-03-01T17:30:00Z", 0, "2025-03-02"),
        ("2025-03-01T17:30:00Z", 4, "2025-03-01"),
    ],
)
def test_the_closing_hour(day_of: Callable, at: str, closing: int, expected: str) -> None:
    assert day_of(at, closing_hour=closing)[0] == expected


def test_each_store_has_its_own_clock(day_of: Callable) -> None:
    """Midnight at the store in London is eight in the morning in Shanghai."""
    zones = {"L1": "Europe/London", "N1": "America/New_York"}
    assert day_of("2025-03-01 23:30", "S1", store_timezones=zones) == ("2025-03-01", "2025-03-01 15:30")
    assert day_of("2025-03-01 23:30", "L1", store_timezones=zones) == ("2025-03-01", "2025-03-01 23:30")
    assert day_of("2025-03-01 23:30", "N1", store_timezones=zones) == ("2025-03-01", "2025-03-02 04:30")
    assert day_of("2025-03-01T23:30:00Z", "N1", store_timezones=zones) == ("2025-03-01", "2025-03-01 23:30")
    assert day_of("2025-03-01T23:30:00+00:00", "S1", store_timezones=zones)[0] == "2025-03-02"
    assert day_of("2025-03-02 02:30", "L1", store_timezones=zones, closing_hour=3)[0] == "2025-03-01"


def test_a_source_may_close_at_its_own_hour(validate: Callable, tmp_path: Path) -> None:
    row = {"store": "S1", "till": "1", "number": "7", "at": "2025-03-02 02:00", "kind": "sale", "total": "10"}
    write_csv(tmp_path / "things.csv", [row])
    result = validate(sources_yaml(source("pos_receipt", columns=COLUMNS, closing_hour=0), closing_hour=4))
    assert str(result.rows[0]["business_date"]) == "2025-03-02"
