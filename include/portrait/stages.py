"""A night's stages in order, and the book that is kept of them in `ops`.

Each stage is a function of settings and run; a Dag task and a `portrait` command call the same one here.
Running a stage again gives the same outputs.
"""

import json
import logging
import time
from collections.abc import Callable
from dataclasses import asdict
from datetime import date
from functools import wraps
from typing import Any, Concatenate, ParamSpec, TypeVar

from sqlalchemy import text

from portrait.config import Settings
from portrait.errors import PortraitError
from portrait.run import Run
from portrait.warehouse import open_warehouse
from portrait.warehouse.alerts import raise_alert
from portrait.warehouse.grants import MODEL

log = logging.getLogger(__name__)
P = ParamSpec("P")
T = TypeVar("T")


def _acting_as(
    role: str,
) -> Callable[[Callable[Concatenate[Settings, P], T]], Callable[Concatenate[Settings, P], T]]:
    """A stage whose connections take this role, whoever's login it is."""

    def of_stage(stage: Callable[Concatenate[Settings, P], T]) -> Callable[Concatenate[Settings, P], T]:
        @wraps(stage)
        def acting(settings: Settings, *arguments: P.args, **named: P.kwargs) -> T:
            return stage(settings.acting_as(role), *arguments, **named)

        return acting

    return of_stage


@_acting_as(MODEL)
def begin_run(settings: Settings, as_of: date, run_key: str) -> Run:
    """The run of a business date that `run_key` asked for: made at first, the same one afterwards.

    Parameters
    ----------
    run_key : who asks, for example the Airflow run id; a second key for the same date is a second attempt.

    Raises
    ------
    PortraitError : when a tag cannot be computed, or the key's run is for another date.
    """
    from portrait.profiles.tags.check import check_tags

    check_tags(settings)
    warehouse = open_warehouse(settings)
    seed = settings.models.seed
    with warehouse.begin() as connection:
        connection.execute(text("select pg_advisory_xact_lock(hashtext('begin_run'))"))
        found = connection.execute(
            text("select run_id, as_of, seed from ops.run where run_key = :k"), {"k": run_key}
        ).one_or_none()
        if found is not None:
            if found.as_of != as_of:
                raise PortraitError(
                    f"run '{run_key}' is for {found.as_of}, not {as_of}; start a new run for another date"
                )
            connection.execute(
                text(
                    "update ops.run set status = 'running', error = null where run_id = :r and status = 'failed'"
                ),
                {"r": found.run_id},
            )
            return Run(found.run_id, found.as_of, found.seed)
        attempt = connection.execute(
            text("select count(*) + 1 from ops.run where as_of = :d"), {"d": as_of}
        ).scalar_one()
        run = Run(f"{as_of}.{attempt}", as_of, seed)
        connection.execute(
            text(
                "insert into ops.run (run_id, as_of, run_key, seed, status) values (:r, :d, :k, :s, 'running')"
            ),
            {"r": run.run_id, "d": as_of, "k": run_key, "s": seed},
        )
    return run


@_acting_as(MODEL)
def find_run(settings: Settings, run_id: str) -> Run:
    """A run by its id. Raises PortraitError when there is none."""
    rows = open_warehouse(settings).rows(
        "select run_id, as_of, seed from ops.run where run_id = :r", r=run_id
    )
    if not rows:
        raise PortraitError(f"no run '{run_id}'; `select run_id from ops.run` lists them")
    return Run(**rows[0])


@_acting_as(MODEL)
def fail_run(settings: Settings, run_key: str, error: str) -> None:
    """Note that a run failed, unless it was published already."""
    open_warehouse(settings).execute(
        "update ops.run set status = 'failed', finished_at = now(), error = :e "
        "where run_key = :k and status = 'running'",
        k=run_key,
        e=error[:2000],
    )


@_acting_as(MODEL)
def resolve(settings: Settings, run: Run) -> dict[str, Any]:
    """One customer across channels: identifiers to `customer_id`."""
    from portrait.identity.resolve import resolve

    return _recorded(settings, run, "identity", lambda: asdict(resolve(settings, run)))


def suggest(settings: Settings, run: Run) -> dict[str, Any]:
    """Probable duplicates for people to decide (Splink); a failure is an alert and does not stop the night.

    It compares names, which no role may read: it acts as the owner of the tables, and `privacy.access_log` has it.
    """
    from portrait.identity.suggest import suggest

    def stage() -> dict[str, Any]:
        found = suggest(settings, run)
        open_warehouse(settings).execute(
            "select privacy.note_access('matching', :why, (select count(*) from pii.member_detail))",
            why=f"review queue of run {run.run_id}",
        )
        return found.as_dict()

    failed = ("no_suggestions", "the review queue was not brought up to date: {}")
    return _recorded(settings, run, "suggest", lambda: _or_alert(settings, run, stage, *failed))


@_acting_as(MODEL)
def snapshot(settings: Settings, run: Run, rebuild: bool = False) -> dict[str, Any]:
    """Changed business dates of `raw` to the Parquet lake; all of them when `rebuild`."""
    from portrait.features.snapshot import snapshot

    return _recorded(settings, run, "snapshot", lambda: asdict(snapshot(settings, run, rebuild=rebuild)))


@_acting_as(MODEL)
def features(settings: Settings, run: Run, rebuild: bool = False) -> dict[str, Any]:
    """Features of the customers whom something touched, sequences, text vectors, matrices; of all when `rebuild`."""
    from portrait.features.build import build

    return _recorded(settings, run, "features", lambda: asdict(build(settings, run, rebuild=rebuild)))


@_acting_as(MODEL)
def train(settings: Settings, run: Run, model: str) -> dict[str, Any]:
    """One candidate of `model.yaml`, trained up to the holdout."""
    from portrait.models.nightly.train import train

    return _recorded(settings, run, f"train.{model}", lambda: asdict(train(settings, run, model)))


@_acting_as(MODEL)
def profile_model(settings: Settings, run: Run) -> dict[str, Any]:
    """What is inferred of every customer: churn, spend, next category, demographics; a failure is an alert and does not
    stop the night, whose inferred columns are then empty."""
    from portrait.models.profile.predictions import evaluation_file, predictions_file

    # What an earlier attempt inferred must not pass for tonight's.
    for path in (predictions_file(settings, run), evaluation_file(settings, run)):
        path.unlink(missing_ok=True)

    def stage() -> dict[str, Any]:
        open_warehouse(settings).execute("delete from ops.head_evaluation where run_id = :r", r=run.run_id)
        from portrait.models.profile.stage import train_profile_model

        return train_profile_model(settings, run).as_dict()

    failed = (
        "no_inferences",
        "the profile model failed, its columns are empty: {}; the task's log has all of it",
    )
    return _recorded(settings, run, "profile_model", lambda: _or_alert(settings, run, stage, *failed))


@_acting_as(MODEL)
def evaluate(settings: Settings, run: Run) -> dict[str, Any]:
    """All candidates and the champion on the held-out days; `not_again` says what leaving out what is not bought again did."""
    from portrait.models.nightly.evaluate import evaluate_candidates, exclusion_effects

    def stage() -> dict[str, Any]:
        found: dict[str, Any] = {
            d.slot: f"{d.challenger}: {d.reason}" for d in evaluate_candidates(settings, run)
        }
        return {**found, "not_again": exclusion_effects(settings, run)}

    return _recorded(settings, run, "evaluate", stage)


@_acting_as(MODEL)
def promote(settings: Settings, run: Run) -> dict[str, Any]:
    """Winners trained on everything and put into service; then the night is written to MLflow."""
    from portrait.models.nightly.promote import promote
    from portrait.models.nightly.registry.record import record_nights

    def stage() -> dict[str, Any]:
        promotions = promote(settings, run)
        record_nights(settings)
        return {p.slot: f"{p.model_version} {'promoted' if p.promoted else 'kept out'}" for p in promotions}

    return _recorded(settings, run, "promote", stage)


@_acting_as(MODEL)
def score(settings: Settings, run: Run) -> dict[str, Any]:
    """Recommendations and vectors for every customer."""
    from portrait.models.nightly.score import score

    return _recorded(settings, run, "score", lambda: asdict(score(settings, run)))


@_acting_as(MODEL)
def profile(settings: Settings, run: Run) -> dict[str, Any]:
    """The profile tables, the value of each customer and their tags, computed."""
    from portrait.profiles.build import build

    return _recorded(settings, run, "profile", lambda: asdict(build(settings, run)))


@_acting_as(MODEL)
def load(settings: Settings, run: Run) -> dict[str, Any]:
    """The profile tables into the run's own partitions, where no reader looks."""
    from portrait.profiles.publish import load

    return _recorded(settings, run, "load", lambda: asdict(load(settings, run)))


@_acting_as(MODEL)
def audit(settings: Settings, run: Run) -> dict[str, Any]:
    """The checks a night must pass before readers see it."""
    from portrait.profiles.publish import audit

    return _recorded(settings, run, "audit", lambda: {"checks": len(audit(settings, run))})


@_acting_as(MODEL)
def publish(settings: Settings, run: Run) -> dict[str, Any]:
    """One transaction that shows the run to every reader; then the files of nights that are no longer kept go."""
    from portrait.models.nightly.retire import forget
    from portrait.profiles.publish import publish

    def stage() -> dict[str, Any]:
        result = publish(settings, run)
        forget(settings, result.dropped)
        return asdict(result)

    return _recorded(settings, run, "publish", stage)


def nightly(settings: Settings, run: Run) -> dict[str, dict[str, Any]]:
    """Every stage after ingest, in order, in this process; a model that fails to train is left out."""
    results = {"identity": resolve(settings, run), "snapshot": snapshot(settings, run)}
    results["suggest"] = suggest(settings, run)
    results["features"] = features(settings, run)
    if settings.models.profile_model:
        results["profile_model"] = profile_model(settings, run)
    for candidate in settings.models.candidates:
        try:
            results[f"train.{candidate.name}"] = train(settings, run, candidate.name)
        except Exception as error:
            # As in the Dag: the others are enough for a night.
            log.warning("model %s is left out tonight: %s", candidate.name, error, exc_info=True)
    for stage in (evaluate, promote, score, profile, load, audit, publish):
        results[stage.__name__] = stage(settings, run)
    return results


def _or_alert(
    settings: Settings, run: Run, stage: Callable[[], dict[str, Any]], kind: str, message: str
) -> dict[str, Any]:
    """What a stage gives that the night can do without; when it fails, an alert of this kind says so."""
    try:
        return stage()
    except Exception as error:
        log.warning("%s: %s", kind, error, exc_info=True)
        # Without the statement and its values that a database error goes on with.
        first_line = (str(error).strip().splitlines() or [type(error).__name__])[0][:500]
        with open_warehouse(settings).begin() as connection:
            raise_alert(connection, kind, message.format(first_line), run.as_of)
        return {"error": str(error)[:2000]}


def _recorded(settings: Settings, run: Run, name: str, stage: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    started = time.monotonic()
    log.info("%s of run %s (as of %s) starts", name, run.run_id, run.as_of)
    result = stage()
    seconds = round(time.monotonic() - started, 2)
    open_warehouse(settings).execute(
        "insert into ops.stage_result (run_id, stage, seconds, result) values (:r, :n, :s, :j) "
        "on conflict (run_id, stage) do update set finished_at = now(), seconds = excluded.seconds, "
        "result = excluded.result",
        r=run.run_id,
        n=name,
        s=seconds,
        j=json.dumps(result, default=str),
    )
    log.info("%s of run %s took %.1f s: %s", name, run.run_id, seconds, result)
    return result
