"""What Portrait's Dags share: which business date a run is for, what its tasks may know, how a stage runs as a task."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Callable
from datetime import date, datetime, timedelta
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from airflow.sdk import AsyncCallback, DeadlineAlert
from portrait_timetables import BusinessDateDeadline

if TYPE_CHECKING:
    from portrait.config import Settings, SourceSpec

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


def business_date(context: dict[str, Any], timezone: str, follow: Callable[[], date] | None = None) -> date:
    """The business date of a Dag run, in the retailer's time zone.

    In this order: the run's partition key (of scheduled and backfilled runs, too); `business_date` given when it was
    triggered; what `follow` says (the day after the last published one, for sources that never run by the clock); else
    the last business day that was complete when the run was due (a run at 02:00 on 2 March is for 1 March).

    Raises
    ------
    PortraitError : when the date given is none.
    """
    from portrait.errors import PortraitError

    dag_run = context["dag_run"]
    given = dag_run.partition_key or (context.get("params") or {}).get("business_date")
    if given:
        try:
            return date.fromisoformat(str(given)[:10])
        except ValueError:
            raise PortraitError(
                f"business_date '{given}' is no date; trigger again with YYYY-MM-DD"
            ) from None
    if follow is not None:
        return follow()
    due = dag_run.logical_date or dag_run.run_after
    return due.astimezone(ZoneInfo(timezone)).date() - timedelta(days=1)


def settings() -> Settings:
    """The settings of this Airflow, read anew in each task."""
    from portrait.config import load_settings

    return load_settings()


def with_connections(current: Settings, *sources: SourceSpec) -> Settings:
    """The settings plus the Airflow connections that the sources name: from the environment, Airflow's database or a
    secrets backend. One that Airflow does not know is left out: Portrait says where to add it."""
    from airflow.sdk import Connection
    from airflow.sdk.exceptions import AirflowNotFoundException

    found = {}
    for name in {s.endpoint.connection for s in sources if s.endpoint and s.endpoint.connection}:
        try:
            connection = Connection.get(name)
        except AirflowNotFoundException:
            continue
        parts = ("conn_type", "host", "port", "login", "password", "schema", "extra")
        found[name.lower()] = json.dumps({p: getattr(connection, p) for p in parts})
    return current.model_copy(update={"connections": {**current.connections, **found}})


def next_date() -> date:
    """The day after the last published one; at first the date that `sources.yaml` or the data says."""
    from portrait.local.dates import next_business_date

    current = settings()
    return next_business_date(with_connections(current, *current.sources.sources))


def run_key(context: dict[str, Any]) -> str:
    """The name under which `ops.run` knows an Airflow run: clearing and retrying continue the same run."""
    return f"{context['dag_run'].dag_id}/{context['dag_run'].run_id}"


def stage(function: Callable[..., Any], *arguments: Any) -> Any:
    """Run a stage; what its owner must mend fails at once, everything else is retried."""
    from airflow.sdk.exceptions import AirflowFailException
    from portrait.errors import PortraitError, SourceUnavailable

    # Two tasks on two cores: without the cap each would start a thread a core in every library.
    os.environ.setdefault("OMP_NUM_THREADS", "2")
    try:
        return function(*arguments)
    except SourceUnavailable:
        raise
    except PortraitError as error:
        raise AirflowFailException(f"PortraitError: {error}") from error


def note_failure(context: dict[str, Any]) -> None:
    """Task callback: write in `ops.run` that the night failed, and why."""
    from portrait.stages import fail_run

    fail_run(settings(), run_key(context), f"{context['ti'].task_id}: {context.get('exception')}")


def deadline(source: SourceSpec, cron: str | None, timezone: str) -> DeadlineAlert | None:
    """Airflow's alert for a source's run that is not done by the source's deadline."""
    if source.deadline is None:
        return None
    at = source.deadline.isoformat()
    return DeadlineAlert(
        name=f"{source.name} by {at}",
        reference=BusinessDateDeadline(at, timezone, by_cron=cron is not None),
        interval=timedelta(0),
        callback=AsyncCallback(note_late, {"source": source.name}),
    )


async def note_late(source: str, context: dict[str, Any]) -> None:
    """Deadline callback: runs in the triggerer, which needs no free slot, and whose loop must not be held up."""
    await asyncio.to_thread(_note_late, source, context)


def _note_late(source: str, context: dict[str, Any]) -> None:
    from portrait.local.late import note_late

    current = settings()
    run = SimpleNamespace(**context["dag_run"])
    run.logical_date, run.run_after = (_moment(t) for t in (run.logical_date, run.run_after))
    by_clock = current.sources.schedule_of(current.sources.source(source)) is not None
    day = business_date(
        {"dag_run": run, "params": run.conf}, current.sources.timezone, None if by_clock else next_date
    )
    note_late(current, source, day, _moment(context["deadline"]["deadline_time"]), run.state)


def _moment(value: Any) -> Any:
    """Airflow hands some times over as text."""
    return datetime.fromisoformat(value) if isinstance(value, str) else value
