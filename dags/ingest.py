"""### Ingest: one Dag a source

Each source of `sources.yaml` has its own Dag, so that a late till system does not hold up the event log, and a
failed pull is retried alone. A Dag pulls what its source delivered up to a **business date** into `raw`: new files,
changed files, rows that were not due before. Pulling again changes nothing.

When it has pulled, it marks the business date as a partition of its asset. The `nightly` Dag starts when *all*
sources have marked the same date. A source that has not delivered is tried again; when its deadline passes,
`ops.alert` says so.

Trigger it by hand with a `business_date`, or as a backfill over a range of business dates.
"""

from __future__ import annotations

from datetime import timedelta

import pendulum
from airflow.sdk import DAG, Asset, Param, get_current_context, task
from portrait.config import SourceSpec, load_settings
from portrait.local.origin import describe
from portrait_airflow import (
    DEFAULTS,
    PARTITION_HELP,
    business_date,
    deadline,
    next_date,
    settings,
    stage,
    with_connections,
)
from portrait_timetables import BusinessDateTimetable, WhenTriggered

SOURCES = load_settings().sources


def ingest_dag(source: SourceSpec) -> DAG:
    """The Dag that pulls one source."""
    cron, zone = SOURCES.schedule_of(source), SOURCES.timezone
    asset = Asset(f"raw.{source.entity}/{source.name}", uri=f"portrait://raw/{source.entity}/{source.name}")
    with DAG(
        f"ingest_{source.name}",
        description=source.description or f"{source.name} into raw.{source.entity}",
        doc_md=f"{__doc__}\n\n{describe(source, SOURCES)}",
        schedule=BusinessDateTimetable(cron, timezone=zone) if cron else WhenTriggered(zone),
        start_date=pendulum.datetime(2000, 1, 1, tz=zone),
        catchup=False,
        # A date that is not delivered yet must not hold up the next ones; each pull is alone all the same.
        max_active_runs=8,
        deadline=deadline(source, cron, zone),
        default_args={
            **DEFAULTS,
            "owner": source.owner,
            "pool": source.pool,
            "retries": source.retries,
            "retry_delay": timedelta(minutes=source.retry_minutes),
            "max_active_tis_per_dag": 1,
        },
        params={"business_date": Param(None, type=["null", "string"], description=PARTITION_HELP)},
        tags=["portrait", "ingest", source.entity],
    ) as dag:

        @task(outlets=[asset], doc_md="Load new and changed rows into raw; mark the business date as there.")
        def pull() -> dict[str, object]:
            from portrait.ingest import pull as pull_source

            context = get_current_context()
            day = stage(business_date, context, zone, None if cron else next_date)
            result = stage(pull_source, with_connections(settings(), source), source.name, day)
            event = context["outlet_events"][asset]
            event.extra = {"inserted": result.rows_inserted, "refused": result.rows_rejected}
            event.add_partitions(day.isoformat())
            return result.as_dict()

        pull()
    return dag


for _source in SOURCES.sources:
    globals()[f"ingest_{_source.name}"] = ingest_dag(_source)
