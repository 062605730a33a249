"""### Nightly: from raw rows to the morning's customer profiles

Starts when every ingest Dag has delivered the same business date. **Identity** finds one customer behind cards,
accounts, phones and devices; **features** copies what changed to the lake and computes the customer's features;
**models** trains the candidates of `model.yaml`, judges them on the last two weeks against the serving champion and
scores every customer; **profiles** builds the tables, audits them and publishes them in one transaction.

A model that fails is left out, it does not stop the night. A failed audit keeps last night's tables in place. Clearing
a task and retrying is always safe: a run's outputs belong to that run only.
"""

from __future__ import annotations

import functools
import operator

import pendulum
from airflow.sdk import DAG, Asset, Param, PartitionedAssetTimetable, TaskGroup, get_current_context, task
from portrait.config import load_settings
from portrait_airflow import (
    DEFAULTS,
    PARTITION_HELP,
    business_date,
    next_date,
    note_failure,
    run_key,
    settings,
    stage,
)

SETTINGS = load_settings()
ASSETS = [
    Asset(f"raw.{s.entity}/{s.name}", uri=f"portrait://raw/{s.entity}/{s.name}")
    for s in SETTINGS.sources.sources
]
PROFILE = Asset("profile.customer_profile", uri="portrait://profile/customer_profile")


def step(name: str, *arguments: str, trigger_rule: str = "all_success", outlets: tuple[Asset, ...] = ()):
    """A task that runs the stage `name` of `portrait.stages` for this Dag run's business date."""
    from portrait import stages as declared

    doc = getattr(declared, name).__doc__

    @task(task_id="_".join([name, *arguments]), trigger_rule=trigger_rule, outlets=list(outlets), doc_md=doc)
    def run_stage() -> dict[str, object]:
        from portrait import stages

        context, current = get_current_context(), settings()
        follow = None if current.sources.schedule else next_date
        day = stage(business_date, context, current.sources.timezone, follow)
        run = stage(stages.begin_run, current, day, run_key(context))
        return stage(getattr(stages, name), current, run, *arguments)

    return run_stage()


with DAG(
    "nightly",
    description="Identity, features, models, profiles, published at once",
    doc_md=__doc__,
    schedule=PartitionedAssetTimetable(assets=functools.reduce(operator.and_, ASSETS)),
    start_date=pendulum.datetime(2000, 1, 1, tz=SETTINGS.sources.timezone),
    catchup=False,
    max_active_runs=1,
    default_args={**DEFAULTS, "on_failure_callback": note_failure},
    params={"business_date": Param(None, type=["null", "string"], description=PARTITION_HELP)},
    tags=["portrait", "nightly"],
):
    with TaskGroup("identity", tooltip="One customer across channels"):
        resolved = step("resolve")
        resolved >> step("suggest")
    with TaskGroup("features", tooltip="Parquet snapshot, features, matrices"):
        copied, built = step("snapshot"), step("features")
    with TaskGroup("models", tooltip="Train, judge, promote, score"):
        trained = [step("train", candidate.name) for candidate in SETTINGS.models.candidates]
        judged = step("evaluate", trigger_rule="all_done_min_one_success")
        scored = judged >> step("promote") >> step("score")
        inferred = [step("profile_model")] if SETTINGS.models.profile_model else []
    with TaskGroup("profiles", tooltip="Build, load, audit, publish"):
        profiled = step("profile")
        profiled >> step("load") >> step("audit") >> step("publish", outlets=(PROFILE,))
    [resolved, copied] >> built
    built >> [*trained, *inferred]
    trained >> judged
    [scored, *inferred] >> profiled
