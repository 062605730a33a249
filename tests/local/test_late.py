"""The alert about a source that has not delivered by its deadline."""

from collections.abc import Callable
from datetime import UTC, date, datetime

import pytest
from portrait.config import Settings
from portrait.local.late import note_late
from portrait.warehouse import Warehouse

SOURCES = """
workspace: test
timezone: Asia/Shanghai
sources:
  - name: tills
    entity: store
    path: stores.csv
    format: csv
    columns: {store_id: store_id, name: name}
    owner: tills-team
"""
DAY = date(2026, 3, 1)
DUE = datetime(2026, 3, 1, 22, tzinfo=UTC)


@pytest.fixture
def settings(make_settings: Callable[..., Settings]) -> Settings:
    return make_settings(SOURCES)


def failed_batch(warehouse: Warehouse, day: date, error: str) -> None:
    warehouse.execute(
        "insert into ops.batch (source, entity, business_date, status, error) "
        "values ('tills', 'store', :d, 'failed', :e)",
        d=day,
        e=error,
    )


def test_a_run_that_is_still_tried(settings: Settings) -> None:
    assert note_late(settings, "tills", DAY, DUE, "running") == (
        "tills has not delivered 2026-03-01 by 06:00 (Asia/Shanghai), and the night of 2026-03-01 waits for it. "
        "Airflow keeps trying: ask tills-team for the delivery; to go on without it, trigger nightly with "
        "business_date 2026-03-01."
    )


def test_a_run_that_failed_says_why(settings: Settings, warehouse: Warehouse) -> None:
    failed_batch(warehouse, DAY, "no column 'name'\ndetails")
    failed_batch(warehouse, date(2026, 2, 28), "another night's")
    assert (
        "Its run failed (no column 'name'): mend that, then clear the failed task of ingest_tills in Airflow; "
    ) in note_late(settings, "tills", DAY, DUE, "failed")


def test_once_for_each_source_and_date(settings: Settings, warehouse: Warehouse) -> None:
    for day in (DAY, DAY, date(2026, 3, 2)):
        note_late(settings, "tills", day, DUE, "running")
    alerts = warehouse.rows("select kind, source, business_date from ops.alert order by business_date")
    assert alerts == [
        {"kind": "late", "source": "tills", "business_date": DAY},
        {"kind": "late", "source": "tills", "business_date": date(2026, 3, 2)},
    ]


def test_another_run_has_delivered_it(settings: Settings, warehouse: Warehouse) -> None:
    failed_batch(warehouse, DAY, "the first run's")
    warehouse.execute(
        "insert into ops.batch (source, entity, business_date, status) values ('tills', 'store', :d, 'loaded')",
        d=DAY,
    )
    assert note_late(settings, "tills", DAY, DUE, "failed") is None
    assert warehouse.scalar("select count(*) from ops.alert") == 0
