"""### Maintenance: rows that are older than they may be

Once a day, after the night, rows older than `privacy.yaml` keeps them are **deleted** in short transactions, between which
pulls and readers go on. `privacy.retention_log` says what went, from where, and how much; days of `raw` that changed are
copied to the lake again by the next night.

`portrait privacy retention` does the same by hand.
"""

from __future__ import annotations

import pendulum
from airflow.sdk import DAG, task
from portrait.config import load_settings
from portrait_airflow import DEFAULTS, settings, stage

SETTINGS = load_settings()

with DAG(
    "maintenance",
    description="Rows that are older than privacy.yaml keeps them",
    doc_md=__doc__,
    schedule="30 12 * * *",
    start_date=pendulum.datetime(2000, 1, 1, tz=SETTINGS.sources.timezone),
    catchup=False,
    max_active_runs=1,
    default_args=DEFAULTS,
    tags=["portrait", "privacy"],
):

    @task(doc_md="Delete what is too old, table by table.")
    def retention() -> dict[str, int]:
        from portrait.privacy.retention import retain

        return {r.place: r.rows_deleted for r in stage(retain, settings())}

    retention()
