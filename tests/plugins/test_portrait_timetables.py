"""Which business dates a schedule or a backfill gives runs, and by when a run should have finished."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.fixture
def cron() -> Callable[..., Any]:
    from portrait_timetables import BusinessDateTimetable

    return lambda expression, zone="Asia/Shanghai": BusinessDateTimetable(expression, timezone=zone)


@pytest.fixture
def triggered() -> Callable[..., Any]:
    from portrait_timetables import WhenTriggered

    return lambda zone="Asia/Shanghai": WhenTriggered(zone)


def backfill(timetable: Any, first: str, last: str) -> list[str]:
    infos = timetable.iter_partition_dagrun_infos(earliest=utc(first), latest=utc(last))
    return [info.partition_key for info in infos]


@pytest.mark.parametrize(
    ("expression", "zone", "after", "due", "key", "midnight"),
    [
        # 02:00 on 2 March in Shanghai is 18:00 UTC on 1 March; the business day before it began at 16:00 UTC.
        ("0 2 * * *", "Asia/Shanghai", "2026-03-01 17:00", "2026-03-01 18:00", "2026-03-01", "2026-02-28 16:00"),
        ("0 2 * * *", "UTC", "2026-03-01 17:00", "2026-03-02 02:00", "2026-03-01", "2026-03-01 00:00"),
        ("30 22 * * *", "America/New_York", "2026-01-05 00:00", "2026-01-05 03:30", "2026-01-03", "2026-01-03 05:00"),
        # London's clocks go forward on 29 March.
        ("0 4 * * *", "Europe/London", "2026-03-29 12:00", "2026-03-30 03:00", "2026-03-29", "2026-03-29 00:00"),
        ("0 4 * * *", "Europe/London", "2026-03-30 12:00", "2026-03-31 03:00", "2026-03-30", "2026-03-29 23:00"),
    ],
)  # fmt: skip
def test_a_scheduled_run_names_the_business_day_before_it(
    cron: Callable[..., Any], expression: str, zone: str, after: str, due: str, key: str, midnight: str
) -> None:
    import pendulum
    from airflow.timetables.base import DagRunInfo, TimeRestriction

    last = DagRunInfo(run_after=pendulum.instance(utc(after)), data_interval=None)
    info = cron(expression, zone).next_dagrun_info_v2(
        last_dagrun_info=last, restriction=TimeRestriction(None, None, catchup=True)
    )
    assert (info.run_after, info.partition_key, info.partition_date) == (utc(due), key, utc(midnight))
    assert info.logical_date is None


@pytest.mark.parametrize(
    ("first", "last", "expected"),
    [
        # --from-date 2026-03-01 --to-date 2026-03-03
        ("2026-03-01", "2026-03-03", ["2026-03-01", "2026-03-02", "2026-03-03"]),
        # The same in a UI whose clock is UTC ...
        ("2026-03-01", "2026-03-03 23:59:59.999", ["2026-03-01", "2026-03-02", "2026-03-03"]),
        # ... or Shanghai's.
        ("2026-02-28 16:00", "2026-03-03 15:59:59.999", ["2026-03-01", "2026-03-02", "2026-03-03"]),
        ("2026-03-01", "2026-03-01", ["2026-03-01"]),
    ],
)
def test_a_backfills_range_is_one_of_business_dates(
    cron: Callable[..., Any], triggered: Callable[..., Any], first: str, last: str, expected: list[str]
) -> None:
    assert backfill(cron("0 2 * * *"), first, last) == expected
    assert backfill(triggered(), first, last) == expected


def test_west_of_greenwich_too(cron: Callable[..., Any], triggered: Callable[..., Any]) -> None:
    for timetable in (cron("0 2 * * *", "America/New_York"), triggered("America/New_York")):
        assert backfill(timetable, "2026-03-01", "2026-03-02") == ["2026-03-01", "2026-03-02"]
        assert backfill(timetable, "2026-03-01 05:00", "2026-03-03 04:59") == ["2026-03-01", "2026-03-02"]


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("0 2 * * 1", ["2026-03-01"]),  # fires on Monday the 2nd, for Sunday
        (
            "0 2,14 * * *",
            ["2026-03-01", "2026-03-02", "2026-03-03"],
        ),  # twice a day: one run makes up for both
    ],
)
def test_a_backfill_has_the_dates_of_the_schedule_once_each(
    cron: Callable[..., Any], expression: str, expected: list[str]
) -> None:
    assert backfill(cron(expression), "2026-03-01", "2026-03-03") == expected


def test_a_backfill_leaves_out_days_that_are_not_over(triggered: Callable[..., Any]) -> None:
    today = datetime.now(UTC).replace(hour=0, minute=0)
    days = backfill(
        triggered("UTC"), str((today - timedelta(days=1)).date()), str((today + timedelta(days=3)).date())
    )
    assert days == [(today - timedelta(days=1)).date().isoformat()]


def test_a_backfilled_run_is_due_when_the_scheduled_one_was(cron: Callable[..., Any]) -> None:
    """Else the scheduler would take it for an earlier one and run a date again."""
    (info,) = cron("0 2 * * *").iter_partition_dagrun_infos(
        earliest=utc("2026-03-01"), latest=utc("2026-03-01")
    )
    assert (info.run_after, info.partition_date) == (utc("2026-03-01 18:00"), utc("2026-02-28 16:00"))


def test_without_a_cron_nothing_runs_by_itself(triggered: Callable[..., Any]) -> None:
    from airflow.timetables.base import DagRunInfo, TimeRestriction

    timetable = triggered()
    assert timetable.periodic  # what the UI asks before it offers a backfill
    assert not timetable.can_be_scheduled
    (backfilled,) = timetable.iter_partition_dagrun_infos(
        earliest=utc("2026-03-01"), latest=utc("2026-03-01")
    )
    for last in (None, backfilled):
        for catchup in (True, False):
            restriction = TimeRestriction(None, None, catchup)
            assert timetable.next_dagrun_info_v2(last_dagrun_info=last, restriction=restriction) is None
    assert isinstance(backfilled, DagRunInfo)


def test_a_partition_key_that_is_no_date_is_refused(
    cron: Callable[..., Any], triggered: Callable[..., Any]
) -> None:
    from airflow.exceptions import InvalidPartitionKeyError

    for timetable in (cron("0 2 * * *"), triggered()):
        assert timetable.resolve_partition_date("2026-03-01") == utc("2026-02-28 16:00")
        with pytest.raises(InvalidPartitionKeyError, match="tomorrow"):
            timetable.resolve_partition_date("tomorrow")


def test_run_ids_differ(cron: Callable[..., Any], triggered: Callable[..., Any]) -> None:
    """A date may be backfilled again."""
    from airflow.utils.types import DagRunType

    for timetable in (cron("0 2 * * *"), triggered()):
        made = {
            timetable.generate_run_id(
                run_type=DagRunType.BACKFILL_JOB, run_after=utc("2026-03-02"), data_interval=None
            )
            for _ in range(3)
        }
        assert len(made) == 3
        assert all(run_id.startswith("backfill__") for run_id in made)


def test_they_survive_serialization(cron: Callable[..., Any], triggered: Callable[..., Any]) -> None:
    from portrait_timetables import BusinessDateDeadline, PortraitTimetables

    for timetable in (cron("0 2 * * *"), triggered()):
        again = type(timetable).deserialize(timetable.serialize())
        assert backfill(again, "2026-03-01", "2026-03-02") == ["2026-03-01", "2026-03-02"]
        assert again.summary == timetable.summary
        assert type(timetable) in PortraitTimetables.timetables
    deadline = BusinessDateDeadline("06:00", "Asia/Shanghai", by_cron=True)
    assert BusinessDateDeadline.deserialize_reference(deadline.serialize_reference()) == deadline
    assert PortraitTimetables.deadline_references == [BusinessDateDeadline]


def run(
    run_type: str,
    due: str,
    key: str | None = None,
    logical: str | None = None,
    conf: dict[str, Any] | None = None,
) -> SimpleNamespace:
    return SimpleNamespace(
        run_type=run_type,
        run_after=utc(due),
        logical_date=utc(logical) if logical else None,
        partition_key=key,
        conf=conf,
    )


@pytest.mark.parametrize(
    ("of_run", "expected"),
    [
        # Due at 02:00 on 2 March in Shanghai: by 06:00 of that day.
        (run("scheduled", "2026-03-01 18:00", "2026-03-01"), "2026-03-01 22:00"),
        (run("scheduled", "2026-03-01 21:59", "2026-03-01"), "2026-03-01 22:00"),
        # Due at 20:00, after the deadline's hour: by the next morning.
        (run("scheduled", "2026-03-01 12:00", "2026-02-28"), "2026-03-01 22:00"),
        # The scheduled run has the date in hand.
        (run("manual", "2026-03-01 19:00", "2026-03-01"), None),
        (run("manual", "2026-03-01 19:00"), None),
        (run("backfill", "2026-03-01 18:00", "2026-03-01"), None),
    ],
)
def test_the_deadline_of_a_run_of_a_source_with_a_cron(of_run: SimpleNamespace, expected: str | None) -> None:
    from portrait_timetables import BusinessDateDeadline

    found = BusinessDateDeadline("06:00", "Asia/Shanghai", by_cron=True).of_run(of_run)
    assert found == (utc(expected) if expected else None)


@pytest.mark.parametrize(
    ("of_run", "expected"),
    [
        # Triggered at 03:00 on 2 March for the day before: by 06:00.
        (run("manual", "2026-03-01 19:00", "2026-03-01"), "2026-03-01 22:00"),
        (run("manual", "2026-03-01 19:00", conf={"business_date": "2026-03-01"}), "2026-03-01 22:00"),
        # At 20:00 for the day that closes: by the next morning.
        (run("manual", "2026-03-02 12:00", "2026-03-02"), "2026-03-02 22:00"),
        # Without a date: by the next 06:00.
        (run("manual", "2026-03-01 23:00"), "2026-03-02 22:00"),
        (run("manual", "2026-03-01 23:30", logical="2026-03-01 21:00"), "2026-03-01 22:00"),
        # What the task will refuse must not keep the run from being made.
        (run("manual", "2026-03-01 23:00", conf={"business_date": "tomorrow"}), "2026-03-02 22:00"),
        # Somebody catches up.
        (run("manual", "2026-03-01 23:00", "2026-03-01"), None),
        (run("manual", "2026-03-01 23:00", "2025-01-01"), None),
        (run("backfill", "2026-03-01 18:00", "2026-03-01"), None),
    ],
)
def test_the_deadline_of_a_run_of_a_source_without_one(of_run: SimpleNamespace, expected: str | None) -> None:
    from portrait_timetables import BusinessDateDeadline

    found = BusinessDateDeadline("06:00", "Asia/Shanghai").of_run(of_run)
    assert found == (utc(expected) if expected else None)


def test_a_deadline_follows_the_clocks() -> None:
    """London's go forward on 29 March."""
    from portrait_timetables import BusinessDateDeadline

    deadline = BusinessDateDeadline("06:30:15", "Europe/London", by_cron=True)
    assert deadline.of_run(run("scheduled", "2026-03-28 04:00", "2026-03-27")) == utc("2026-03-28 06:30:15")
    assert deadline.of_run(run("scheduled", "2026-03-29 03:00", "2026-03-28")) == utc("2026-03-29 05:30:15")
