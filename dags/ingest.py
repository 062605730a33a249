"""### Ingest: one Dag a source

Each source of `sources.yaml` has its own Dag, so that a late till system does not hold up the event log, and a
failed pull is retried alone. A Dag pulls what its source delivered up to a **business date** into `raw`: new files,
changed files, and rows that were not due before. Pulling again changes nothing.

When it has pulled, it marks the business date as a partition of its asset. The `nightly` Dag starts when *all*
sources have marked the same date.

Trigger it by hand with a `business_date`, or as a backfill over a range of dates.
"""

from __future__ import annotations

import pendulum
from airflow.sdk import DAG, Asset, Param, get_current_context, task
from portrait.config import SourceSpec, load_settings
from portrait_airflow import (
    DEFAULTS,
    PARTITION_HELP,
    BusinessDateTimetable,
    WhenTriggered,
    business_date,
    next_date,
    settings,
    stage,
)

SOURCES = load_settings().sources


def ingest_dag(source: SourceSpec) -> DAG:
    """The Dag that pulls one source."""
    cron = SOURCES.schedule_of(source)
    asset = Asset(f"raw.{source.entity}/{source.name}", uri=f"portrait://raw/{source.entity}/{source.name}")
    with DAG(
        f"ingest_{source.name}",
        description=source.description or f"{source.name} into raw.{source.entity}",
        doc_md=f"{__doc__}\n\n**Source** `{source.name}`: {source.description}; fills `raw.{source.entity}`.",
        schedule=BusinessDateTimetable(cron, timezone=SOURCES.timezone) if cron else WhenTriggered(),
        start_date=pendulum.datetime(2000, 1, 1, tz=SOURCES.timezone),
        catchup=False,
        max_active_runs=1,
        default_args={**DEFAULTS, "owner": source.owner},
        params={"business_date": Param(None, type=["null", "string"], description=PARTITION_HELP)},
        tags=["portrait", "ingest", source.entity],
    ) as dag:

        @task(outlets=[asset], doc_md="Load new and changed files into raw; mark the business date as there.")
        def pull() -> dict[str, object]:
            from portrait.ingest import pull as pull_source

            context = get_current_context()
            day = business_date(context, SOURCES.timezone, None if cron else next_date)
            result = stage(pull_source, settings(), source.name, day)
            event = context["outlet_events"][asset]
            event.extra = {"inserted": result.rows_inserted, "refused": result.rows_rejected}
            event.add_partitions(day.isoformat())
            return result.as_dict()

        pull()
    return dag


for _source in SOURCES.sources:
    globals()[f"ingest_{_source.name}"] = ingest_dag(_source)
