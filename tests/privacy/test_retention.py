"""Rows go when they are older than privacy.yaml keeps them, and not a day before."""

from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path

import pytest
from portrait import stages
from portrait.config import Settings, load_settings
from portrait.config.privacy import PrivacyConfig
from portrait.errors import PortraitError
from portrait.features.lake import LakeTable
from portrait.privacy.retention import retain
from portrait.run import Run
from portrait.warehouse import Warehouse

from ..conftest import at
from .conftest import warehouse_run

TODAY = date(2025, 3, 11)


@pytest.fixture
def keeps(settings: Settings) -> Callable[..., Settings]:
    def run(**days: int) -> Settings:
        retention = {table.replace("__", "."): n for table, n in days.items()}
        return settings.model_copy(update={"privacy": PrivacyConfig(retention=retention)})

    return run


@pytest.fixture
def ten_days(add_raw: Callable[..., int]) -> None:
    """One view a day, from 10 days old to today."""
    days = [TODAY - timedelta(days=n) for n in range(11)]
    add_raw(
        "online_event",
        [{"event_name": "product_viewed", "occurred_at": at(d), "account_id": "a1", "sku": "p", "business_date": d} for d in days],
    )  # fmt: skip


def test_by_date_in_short_transactions(
    keeps: Callable[..., Settings], warehouse: Warehouse, ten_days: None
) -> None:
    done = retain(keeps(raw__online_event=3), TODAY, at_a_time=2)
    assert [(r.place, r.kept_from, r.rows_deleted) for r in done] == [
        ("raw.online_event", date(2025, 3, 8), 7)
    ]
    left = warehouse.rows("select business_date as d from raw.online_event order by 1")
    assert [r["d"].day for r in left] == [8, 9, 10, 11]
    # All seven are of March: two a transaction.
    logged = warehouse.rows("select place, days, kept_from, rows_deleted, batches from privacy.retention_log")
    assert [tuple(r.values()) for r in logged] == [("raw.online_event", 3, date(2025, 3, 8), 7, 4)]
    again = retain(keeps(raw__online_event=3), TODAY)
    assert again[0].rows_deleted == 0
    assert warehouse.scalar("select count(*) from privacy.retention_log") == 2


def test_the_lake_follows_with_the_next_night(
    keeps: Callable[..., Settings], warehouse: Warehouse, ten_days: None
) -> None:
    current = keeps(raw__online_event=3)
    run = Run("2025-03-11.1", TODAY)
    warehouse_run(current, run)
    stages.snapshot(current, run)
    table = LakeTable(current.lake_dir, "online_event")
    assert len(table.dates()) == 11
    # One that was broken off by a crash left its batch open.
    warehouse.execute(
        "insert into ops.batch (source, entity, business_date, status) values ('retention', 'online_event', '2025-03-01', 'loading')"
    )
    retain(current, TODAY, at_a_time=3)
    assert warehouse.scalar("select count(*) from ops.batch where status = 'loading'") == 0
    assert stages.snapshot(current, run)["removed"] == 7
    assert min(table.dates()) == date(2025, 3, 8)


def test_other_tables_by_the_retailers_midnight(keeps: Callable[..., Settings], warehouse: Warehouse) -> None:
    # 16:00 UTC is midnight in Shanghai: the first alert is of 1 March, the second of 2 March.
    warehouse.execute(
        "insert into ops.alert (kind, message, raised_at) values "
        "('late', 'old', '2025-03-01 15:59+00'), ('late', 'kept', '2025-03-01 16:00+00')"
    )
    warehouse.execute(
        "insert into audience.membership values ('a', 'C1', '2024-01-01', '2025-03-01', false), "
        "('a', 'C2', '2024-01-01', null, false)"
    )
    warehouse.execute(
        "with log as (insert into audience.export_log (audience, as_of, run_id, purpose, channel, format, target, "
        "idempotency_key, customers, held_back, capped, status, started_at) values "
        "('a', '2025-01-01', 'r', 'service', 'email', 'csv', 't', 'k', 1, 0, 0, 'sent', '2025-01-01') returning export_id) "
        "insert into audience.exported select export_id, 'C1' from log"
    )
    done = retain(keeps(ops__alert=9, audience__membership=9, audience__export_log=9), TODAY)
    assert [r.rows_deleted for r in done] == [1, 1, 1]
    assert warehouse.scalar("select message from ops.alert") == "kept"
    assert warehouse.scalar("select customer_id from audience.membership") == "C2"
    assert warehouse.scalar("select count(*) from audience.exported") == 0


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("ops.alerts: 5", "did you mean 'ops.alert'"),
        ("ops.alert: 0", "greater than or equal to 1"),
        ("raw.pos_receipt: 5", "a receipt and its lines go together"),
        ("ops.alert: soon", "valid integer"),
    ],
)
def test_a_file_that_is_wrong(tmp_path: Path, written: str, said: str) -> None:
    from portrait.config.settings import CONFIG_DIR

    folder = tmp_path / "config"
    folder.mkdir()
    for file in CONFIG_DIR.glob("*.yaml"):
        (folder / file.name).write_text(file.read_text())
    (folder / "privacy.yaml").write_text(f"retention:\n  {written}\n")
    with pytest.raises(PortraitError, match=f"privacy.yaml: retention.*{said}"):
        load_settings({"PORTRAIT_CONFIG_DIR": str(folder), "PORTRAIT_HOME": str(tmp_path)})


def test_the_file_that_comes_with_portrait_deletes_nothing_of_raw() -> None:
    kept = load_settings({}).privacy.retention
    assert kept["quarantine.rejected_row"] == 180
    assert not [table for table in kept if table.startswith("raw.")]
