"""The business date of scheduled, manual, backfilled, tested and partitioned runs."""

import sys
from datetime import UTC, date, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "plugins"))


def context(
    partition_key: str | None = None,
    logical_date: datetime | None = None,
    run_after: datetime | None = None,
    **params: Any,
) -> dict[str, Any]:
    run = SimpleNamespace(
        partition_key=partition_key, logical_date=logical_date, run_after=run_after, dag_id="d", run_id="r"
    )
    return {"dag_run": run, "params": params}


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        # Woken by assets: the partition is the date, whatever the clock says.
        (context("2026-03-01", run_after=datetime(2027, 1, 1, tzinfo=UTC)), date(2026, 3, 1)),
        # Given by hand in the UI or with --conf.
        (context(business_date="2026-03-05", run_after=datetime(2027, 1, 1, tzinfo=UTC)), date(2026, 3, 5)),
        # Scheduled at 02:00 in Shanghai on 2 March, which is 18:00 UTC on 1 March.
        (context(logical_date=datetime(2026, 3, 1, 18, tzinfo=UTC)), date(2026, 3, 1)),
        # A backfill of the run that was due at 02:00 on 1 March: the last day of February.
        (context(logical_date=datetime(2026, 2, 28, 18, tzinfo=UTC)), date(2026, 2, 28)),
        # `airflow dags test` and a manual run without a date have no logical date: yesterday, local.
        (context(business_date=None, run_after=datetime(2026, 3, 1, 17, tzinfo=UTC)), date(2026, 3, 1)),
        (context(run_after=datetime(2026, 3, 1, 15, tzinfo=UTC)), date(2026, 2, 28)),
    ],
)
def test_business_date(given: dict[str, Any], expected: date) -> None:
    from portrait_airflow import business_date

    assert business_date(given, "Asia/Shanghai") == expected


def test_without_a_schedule_the_clock_is_not_asked() -> None:
    from portrait_airflow import business_date

    by_hand = context(logical_date=datetime(2026, 11, 25, 1, tzinfo=UTC))
    assert business_date(by_hand, "Asia/Shanghai", lambda: date(2025, 6, 30)) == date(2025, 6, 30)
    assert business_date(context("2025-06-01"), "Asia/Shanghai", lambda: date(2025, 6, 30)) == date(
        2025, 6, 1
    )


def test_a_mistake_of_the_owner_fails_without_retry_and_another_error_is_retried() -> None:
    from airflow.sdk.exceptions import AirflowFailException
    from portrait.errors import PortraitError
    from portrait_airflow import stage

    def wrong_setting() -> None:
        raise PortraitError("sources.yaml: path: no such file")

    def lost_connection() -> None:
        raise OSError("connection reset")

    with pytest.raises(AirflowFailException, match=r"sources.yaml: path: no such file"):
        stage(wrong_setting)
    with pytest.raises(OSError, match="connection reset"):
        stage(lost_connection)
    assert stage(lambda a, b: a + b, 1, 2) == 3


def test_the_timetable_is_registered_and_names_its_partitions_at_run_time() -> None:
    from portrait_airflow import BusinessDateTimetable, PortraitPlugin

    assert BusinessDateTimetable in PortraitPlugin.timetables
    timetable = BusinessDateTimetable("0 2 * * *", timezone="Asia/Shanghai")
    assert timetable.partitioned_at_runtime
    assert timetable.can_be_scheduled
