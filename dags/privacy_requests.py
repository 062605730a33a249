"""### Privacy requests: customers who want to be forgotten

Every hour the open rows of `privacy.request` are worked off. An **erasure** removes a customer from every table, kept
night, file and export, puts their identifiers (as keyed hashes) on the suppression list so that no delivery brings them
back, and leaves a signed receipt. One that cannot be done is *refused* with its reason and holds up no other.

`portrait privacy request` enters one; `portrait privacy verify` proves it.
"""

from __future__ import annotations

import pendulum
from airflow.sdk import DAG, task
from portrait.config import load_settings
from portrait_airflow import DEFAULTS, settings, stage

SETTINGS = load_settings()

with DAG(
    "privacy_requests",
    description="Erasures that customers asked for",
    doc_md=__doc__,
    schedule="0 * * * *",
    start_date=pendulum.datetime(2000, 1, 1, tz=SETTINGS.sources.timezone),
    catchup=False,
    max_active_runs=1,
    default_args=DEFAULTS,
    tags=["portrait", "privacy"],
):

    @task(doc_md="Work off the open requests.")
    def work_off() -> dict[str, int]:
        from portrait.privacy.requests import work_off as work

        return stage(work, settings()).as_dict()

    work_off()
