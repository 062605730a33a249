"""When Portrait's Dags run, for which business date, and by when a run should have finished.

An Airflow plugin: scheduler, API server and Dag processor load it, so nothing here reads Portrait's settings.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields
from datetime import UTC, date, datetime, time, timedelta
from typing import TYPE_CHECKING, Any, ClassVar
from zoneinfo import ZoneInfo

import pendulum
from airflow.plugins_manager import AirflowPlugin
from airflow.sdk import BaseDeadlineReference
from airflow.timetables.base import DagRunInfo
from airflow.timetables.simple import NullTimetable
from airflow.timetables.trigger import CronPartitionTimetable

if TYPE_CHECKING:
    from pendulum import DateTime

DAY = timedelta(days=1)
KEY_FORMAT = "%Y-%m-%d"


class BusinessDates:
    """Base of a timetable whose partitions are business dates, so that a backfill's range is one of business dates.

    A business date's `partition_date` is its local midnight; its run is due on the day after.
    """

    partitioned = True
    _timezone: Any

    def iter_partition_dagrun_infos(self, *, earliest: datetime, latest: datetime) -> Iterator[DagRunInfo]:
        """One run for each business date of a backfill that is complete, both ends included."""
        day, last, now = self._date_meant(earliest), self._date_meant(latest), pendulum.now("UTC")
        while day <= last:
            due = self._due(day)
            if due is not None and due <= now:
                yield self._run_info(day, due)
            day += DAY

    def _due(self, day: date) -> DateTime | None:
        """When the run of a business date is due; None when there is none."""
        raise NotImplementedError

    def _run_info(self, day: date, due: DateTime) -> DagRunInfo:
        return DagRunInfo(due, None, partition_date=self._midnight(day), partition_key=day.isoformat())

    def _midnight(self, day: date) -> DateTime:
        return pendulum.datetime(day.year, day.month, day.day, tz=self._timezone).in_timezone("UTC")

    def _date_meant(self, bound: datetime) -> date:
        """The date that one end of a backfill stands for.

        The CLI, and a UI whose clock is UTC, send the first or last minute of the day in UTC; a UI with the
        retailer's clock sends those of that zone.
        """
        utc = bound.astimezone(UTC)
        if (utc.hour, utc.minute) in ((0, 0), (23, 59)):
            return utc.date()
        return pendulum.instance(bound).in_timezone(self._timezone).date()


class BusinessDateTimetable(BusinessDates, CronPartitionTimetable):
    """Runs by cron, each for the business day before it is due (at 02:00 on 2 March: for 1 March)."""

    def __init__(self, cron: str, *, timezone: Any, **_: Any) -> None:
        super().__init__(cron, timezone=timezone, key_format=KEY_FORMAT)

    def _get_partition_info(self, run_date: DateTime) -> tuple[DateTime, str]:
        day = run_date.in_timezone(self._timezone).date() - DAY
        return self._midnight(day), day.isoformat()

    def _due(self, day: date) -> DateTime | None:
        """The first time that the cron fires on the day after."""
        due = self._align_to_next(self._midnight(day + DAY))
        return due if due < self._midnight(day + 2 * DAY) else None


class WhenTriggered(BusinessDates, NullTimetable):
    """Never runs by itself; can be triggered, and backfilled for a range of business dates."""

    periodic = True  # Else Airflow refuses backfills; `can_be_scheduled` stays False.
    description = "When triggered"

    def __init__(self, timezone: str = "UTC") -> None:
        self._timezone = pendulum.timezone(timezone)

    @property
    def summary(self) -> str:
        return self.description

    def serialize(self) -> dict[str, Any]:
        return {"timezone": self._timezone.name}

    @classmethod
    def deserialize(cls, data: dict[str, Any]) -> WhenTriggered:
        return cls(data["timezone"])

    def localize_partition_datetime(self, dt: datetime) -> DateTime:
        return pendulum.instance(dt.replace(tzinfo=None), tz=self._timezone).in_timezone("UTC")

    # A key that is no date is refused when the run is triggered, and every run has an id of its own.
    _key_format = KEY_FORMAT
    _decode_partition_date = CronPartitionTimetable._decode_partition_date
    generate_run_id = CronPartitionTimetable.generate_run_id

    def _due(self, day: date) -> DateTime:
        return self._midnight(day + DAY)


@dataclass
class BusinessDateDeadline(BaseDeadlineReference):
    """By when a run should have finished: `at` o'clock (06:00, 06:00:00) of the retailer's `timezone`.

    `by_cron` says whether the Dag has a schedule. Then the scheduled runs have a deadline, and no others.
    """

    at: str = "06:00"
    timezone: str = "UTC"
    by_cron: bool = False
    required_kwargs: ClassVar[set[str]] = {"dag_id", "run_id"}

    def serialize_reference(self) -> dict[str, Any]:
        return {"reference_type": self.reference_name, **asdict(self)}

    @classmethod
    def deserialize_reference(cls, reference_data: dict[str, Any]) -> BusinessDateDeadline:
        return cls(**{f.name: reference_data[f.name] for f in fields(cls)})

    def _evaluate_with(self, *, session: Any, dag_id: str, run_id: str) -> datetime | None:
        """Called by Airflow when it creates a run."""
        from airflow.models import DagRun
        from sqlalchemy import select

        run = session.scalars(select(DagRun).where(DagRun.dag_id == dag_id, DagRun.run_id == run_id)).one()
        return self.of_run(run)

    def of_run(self, run: Any) -> datetime | None:
        """The deadline of a Dag run, None when it has none.

        A scheduled run, and a triggered one that names no business date, should be done by the first `at` o'clock
        after it was due. A run triggered for a business date should be done by `at` o'clock of the day after it;
        where that has passed, somebody is catching up, and so is a backfill.
        """
        if run.run_type == "backfill" or (self.by_cron and run.run_type != "scheduled"):
            return None
        due, zone, day = run.logical_date or run.run_after, ZoneInfo(self.timezone), _named_date(run)
        if self.by_cron or day is None:
            local = due.astimezone(zone).date()
            return next(t for d in (local, local + DAY) if (t := self._on(d, zone)) > due)
        named = self._on(day + DAY, zone)
        return named if named > due else None

    def _on(self, day: date, zone: ZoneInfo) -> datetime:
        return datetime.combine(day, time.fromisoformat(self.at), zone).astimezone(UTC)


def _named_date(run: Any) -> date | None:
    """The business date that a run was triggered for. One that is none is the task's to refuse."""
    given = run.partition_key or (run.conf or {}).get("business_date")
    try:
        return date.fromisoformat(str(given)[:10]) if given else None
    except ValueError:
        return None


class PortraitTimetables(AirflowPlugin):
    name = "portrait"
    timetables: ClassVar[list[type]] = [BusinessDateTimetable, WhenTriggered]
    deadline_references: ClassVar[list[type]] = [BusinessDateDeadline]
