"""What Portrait's Dags share: which business date a run is for, and how a stage runs as a task.

Also an Airflow plugin: it registers the timetable.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any, ClassVar
from zoneinfo import ZoneInfo

from airflow.plugins_manager import AirflowPlugin
from airflow.timetables.simple import PartitionedAtRuntime
from airflow.timetables.trigger import CronTriggerTimetable

if TYPE_CHECKING:
    from portrait.config import Settings

DEFAULTS: dict[str, Any] = {
    "owner": "portrait",
    "retries": 2,
    "retry_delay": timedelta(seconds=15),
    "execution_timeout": timedelta(hours=6),
}
PARTITION_HELP = (
    "Business date, YYYY-MM-DD. Empty: the last completed business day; without a schedule the day after the last "
    "published one."
)


class BusinessDateTimetable(CronTriggerTimetable):
    """Runs by cron; the partition (a business date) is named by the task that produces it.

    So a scheduled, a manual, a backfilled and a tested run all wake the nightly Dag in the same way.
    """

    partitioned_at_runtime = True


class WhenTriggered(PartitionedAtRuntime):
    """Never runs by itself; each run's partition (a business date) is named by its task."""

    description = "When triggered"

    @property
    def summary(self) -> str:
        return "When triggered"


class PortraitPlugin(AirflowPlugin):
    name = "portrait"
    timetables: ClassVar[list[type]] = [BusinessDateTimetable, WhenTriggered]


def business_date(context: dict[str, Any], timezone: str, follow: Callable[[], date] | None = None) -> date:
    """The business date of a Dag run, in the retailer's time zone.

    In this order: the run's partition key; `business_date` given when it was triggered; what `follow` says (the day
    after the last published one, for sources that never run by the clock); else the last business day that was
    complete when the run was due (a run at 02:00 on 2 March, also one of a backfill, is for 1 March).
    """
    dag_run = context["dag_run"]
    given = dag_run.partition_key or (context.get("params") or {}).get("business_date")
    if given:
        return date.fromisoformat(str(given)[:10])
    if follow is not None:
        return follow()
    due = dag_run.logical_date or dag_run.run_after
    return due.astimezone(ZoneInfo(timezone)).date() - timedelta(days=1)


def settings() -> Settings:
    """The settings of this Airflow, read anew in each task."""
    from portrait.config import load_settings

    return load_settings()


def next_date() -> date:
    """The day after the last published one; at first the date that `sources.yaml` or the data says."""
    from portrait.local.dates import next_business_date

    return next_business_date(settings())


def run_key(context: dict[str, Any]) -> str:
    """The name under which `ops.run` knows an Airflow run: clearing and retrying continue the same run."""
    return f"{context['dag_run'].dag_id}/{context['dag_run'].run_id}"


def stage(function: Callable[..., Any], *arguments: Any) -> Any:
    """Run a stage; what its owner must mend fails at once, everything else is retried."""
    from airflow.sdk.exceptions import AirflowFailException
    from portrait.errors import PortraitError

    # Two tasks on two cores: without the cap each would start a thread a core in every library.
    os.environ.setdefault("OMP_NUM_THREADS", "2")
    try:
        return function(*arguments)
    except PortraitError as error:
        raise AirflowFailException(f"PortraitError: {error}") from error


def note_failure(context: dict[str, Any]) -> None:
    """Task callback: write in `ops.run` that the night failed, and why."""
    from portrait.stages import fail_run

    fail_run(settings(), run_key(context), f"{context['ti'].task_id}: {context.get('exception')}")
