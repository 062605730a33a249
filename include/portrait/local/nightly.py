"""One business date through Airflow's own scheduler: ingest Dags, then the nightly Dag they wake."""

import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date
from typing import Any

from portrait.config import Settings
from portrait.errors import PortraitError
from portrait.local.airflow import AirflowServices
from portrait.local.client import AirflowClient

log = logging.getLogger(__name__)

NIGHTLY = "nightly"
PARSE_SECONDS = 90
POLL_SECONDS = 1.0


@dataclass(frozen=True)
class Step:
    """A task that reached a state, for the one who watches."""

    dag_id: str
    task_id: str
    state: str
    seconds: float | None


def ingest_dag(source: str) -> str:
    return f"ingest_{source}"


def run_night(
    services: AirflowServices,
    client: AirflowClient,
    settings: Settings,
    as_of: date,
    watch: Callable[[Step], None],
) -> None:
    """Trigger every ingest Dag for a business date and wait until the nightly Dag has ended.

    What a killed night already did is not done again: running Dags are waited for, failed ones go on from
    their failed tasks.

    Raises
    ------
    PortraitError : when a Dag does not parse, or a run fails, with the end of the failed task's log.
    """
    key = as_of.isoformat()
    dags = [ingest_dag(s.name) for s in settings.sources.sources]
    _wait_for_dags(services, client, {*dags, NIGHTLY})
    for dag_id in dags:
        runs = client.runs(dag_id, key)
        if not runs:
            client.trigger(dag_id, f"make_run__{key}", key)
        elif runs[0]["state"] == "failed":
            client.clear_failed(dag_id, runs[0]["dag_run_id"])
    nights = client.runs(NIGHTLY, key)
    if nights and nights[0]["state"] == "failed":
        client.clear_failed(NIGHTLY, nights[0]["dag_run_id"])
    seen: dict[tuple[str, str], str] = {}
    # Who has ended is not asked again: thirty questions a second keep the API server busy all night.
    waiting = [*dags, NIGHTLY]
    while True:
        services.check()
        for dag_id in list(waiting):
            runs = client.runs(dag_id, key)
            if not runs:
                continue
            run_id, state = runs[0]["dag_run_id"], runs[0]["state"]
            for step in _new_steps(dag_id, client.tasks(dag_id, run_id), seen):
                watch(step)
            if state == "failed":
                raise PortraitError(_failure(client, dag_id, run_id))
            if state == "success":
                waiting.remove(dag_id)
        if NIGHTLY not in waiting:
            return
        time.sleep(POLL_SECONDS)


def _wait_for_dags(services: AirflowServices, client: AirflowClient, wanted: set[str]) -> None:
    deadline = time.monotonic() + PARSE_SECONDS
    while missing := wanted - client.dag_ids():
        services.check()
        if errors := client.import_errors():
            raise PortraitError(f"a Dag file does not parse: {errors[0]}")
        if time.monotonic() > deadline:
            raise PortraitError(
                f"Airflow did not parse {', '.join(sorted(missing))} within {PARSE_SECONDS} s"
            )
        time.sleep(0.5)


def _new_steps(dag_id: str, tasks: list[dict[str, Any]], seen: dict[tuple[str, str], str]) -> Iterator[Step]:
    for task in sorted(tasks, key=lambda t: (t["start_date"] or "9999", t["task_id"])):
        key, state = (dag_id, task["task_id"]), task["state"]
        if (
            state in ("running", "success", "failed", "up_for_retry", "upstream_failed")
            and seen.get(key) != state
        ):
            seen[key] = state
            yield Step(dag_id, task["task_id"], state, task.get("duration"))


def _failure(client: AirflowClient, dag_id: str, run_id: str) -> str:
    failed = [t for t in client.tasks(dag_id, run_id) if t["state"] == "failed"]
    if not failed:
        return f"{dag_id} failed; see its run {run_id} in the UI (`make ui`)"
    task = failed[0]
    tail = client.log_tail(dag_id, run_id, task["task_id"], task["try_number"])
    errors = [line for line in tail if "Error" in line or "Exception" in line]
    why = errors[-1] if errors else (tail[-1] if tail else "its log is empty")
    return f"{dag_id}.{task['task_id']} failed: {why} (whole log: `make ui`, run {run_id})"
