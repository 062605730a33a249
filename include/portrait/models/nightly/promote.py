"""Training the night's winners on everything up to as_of, and putting them into service."""

import json
import logging
import shutil
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Connection, text

from portrait.config import Settings
from portrait.errors import PortraitError
from portrait.models import create, model_class
from portrait.models.base import Recommender
from portrait.models.nightly import ranker
from portrait.models.nightly.evaluate import Decision, champion_before, decisions_of
from portrait.models.nightly.inputs import inputs_of, models_folder, runtime, write_json
from portrait.models.nightly.registry.manifest import MANIFEST_FILE, manifest_of, write_manifests
from portrait.models.nightly.train import candidate, trained
from portrait.models.rerank.model import NightlyRecommender
from portrait.run import Run
from portrait.warehouse import open_warehouse

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Promotion:
    """A version that was registered for a slot, and whether it serves."""

    slot: str
    model_version: str
    model: str
    promoted: bool
    reason: str


def promote(settings: Settings, run: Run) -> list[Promotion]:
    """Refit each slot's challenger (and the embedding model) on all data and register it.

    A challenger that lost is registered as a candidate, with the reason, but not refitted. Doing a run again
    registers the same versions again; a run for an earlier date than the champion's never replaces it.
    """
    decisions = _decisions(settings, run)
    for name in sorted({d.challenger for d in decisions if d.promoted}):
        _refit(settings, run, name)
    warehouse = open_warehouse(settings)
    newest = {
        r["slot"]: r["trained_through"]
        for r in warehouse.rows(
            "select slot, trained_through from ops.model_version where status = 'champion'"
        )
    }
    warm_nights = {r.model: r.warm_nights for r in trained(settings, run)}
    write_manifests(settings, run, list(warm_nights))
    promotions = []
    with warehouse.begin() as connection:
        for decision in decisions:
            outdated = newest.get(decision.slot, run.as_of) > run.as_of
            promotion = Promotion(
                decision.slot,
                _version(run, decision),
                decision.challenger,
                decision.promoted and not outdated,
                "a later night's champion serves" if decision.promoted and outdated else decision.reason,
            )
            nights = warm_nights.get(decision.challenger, 0)
            _register(connection, settings, run, decision, promotion, nights)
            promotions.append(promotion)
    return promotions


def serving_version(settings: Settings, run: Run, slot: str) -> tuple[str, Path] | None:
    """(model_version, folder of the model) that scores a run's slot: the run's own challenger when it did not lose, else the
    champion that beat it; None when there is neither."""
    decision = next(d for d in _decisions(settings, run) if d.slot == slot)
    if decision.promoted:
        version, path = _version(run, decision), _path(run, decision.challenger)
    elif decision.replaces is not None:
        version = decision.replaces
        path = open_warehouse(settings).scalar(
            "select path from ops.model_version where model_version = :v", v=version
        )
        if path is None:
            raise PortraitError(
                f"champion {version} is no longer kept, or its night was run again; evaluate {run.run_id} again"
            )
    else:
        return None
    return version, settings.models_dir / path / "serving"


def _version(run: Run, decision: Decision) -> str:
    return f"{run.run_id}/{decision.slot}/{decision.challenger}"


def _path(run: Run, name: str) -> str:
    return f"{run.run_id}/{name}"


def _decisions(settings: Settings, run: Run) -> list[Decision]:
    name = settings.models.embedding_model
    if name in {r.model for r in trained(settings, run)}:
        embedding = Decision("embedding", name, True, "retrained every night", None, None)
    else:
        champion = champion_before(open_warehouse(settings), run, "embedding")
        embedding = Decision(
            "embedding", name, False, "its training failed; see the log of its train task", None,
            champion.model_version if champion else None,
        )  # fmt: skip
    return [*decisions_of(settings, run), embedding]


def _refit(settings: Settings, run: Run, name: str) -> None:
    """`evaluated/` (a copy of the judged model) and `serving/` (the same recipe on all data)."""
    folder = settings.models_dir / _path(run, name)
    entry = candidate(settings, name)
    result = next(r for r in trained(settings, run) if r.model == name)
    checkpoints = models_folder(settings, run) / "checkpoints" / f"{name}_serving"
    inputs = inputs_of(settings, run)
    model: Recommender | NightlyRecommender
    if name == ranker.NAME:
        model = ranker.fit_ranker(settings, run, inputs, "full", entry.params)
    else:
        # At least one: the days that were held out are new to a model that goes on, even if it stayed the best.
        params = {**entry.params, **({"epochs": max(1, result.epochs)} if result.epochs is not None else {})}
        start = result.start.folder(settings, "serving") if result.start else None
        model = create(name, **params, **runtime(settings, model_class(name), checkpoints, start))
        model.fit(inputs.matrix("full_weights"), seed=run.seed)
    folder.mkdir(parents=True, exist_ok=True)
    # Beside it first: a rerun that is killed here must leave a registered version whole.
    evaluated, beside = folder / "evaluated", folder / ".evaluated"
    shutil.rmtree(beside, ignore_errors=True)
    shutil.copytree(models_folder(settings, run) / "evaluated" / name, beside)
    shutil.rmtree(evaluated, ignore_errors=True)
    beside.rename(evaluated)
    model.save(folder / "serving")
    write_json(folder / MANIFEST_FILE, manifest_of(settings, run, name))
    shutil.rmtree(checkpoints, ignore_errors=True)
    log.info("%s: trained on everything up to %s", name, run.as_of)


def _register(
    connection: Connection,
    settings: Settings,
    run: Run,
    decision: Decision,
    promotion: Promotion,
    warm_nights: int,
) -> None:
    """Register the run's version of a slot in place of the one that an earlier attempt registered.

    A version that served once stays `retired`, and keeps its date, when its night is run again after later ones:
    those nights were judged against it. When the run's own champion loses this time, the one before serves again.
    """
    slot = {"slot": promotion.slot}
    earlier = connection.execute(
        text("delete from ops.model_version where run_id = :r and slot = :slot returning status, created_at"),
        {"r": run.run_id, **slot},
    ).one_or_none()
    served_since = earlier.created_at if earlier is not None and earlier.status != "candidate" else None
    if promotion.promoted:
        connection.execute(
            text(
                "update ops.model_version set status = 'retired' where slot = :slot and status = 'champion'"
            ),
            slot,
        )
    elif served_since is not None:
        connection.execute(
            text(
                "update ops.model_version set status = 'champion' where model_version = :replaces and not exists "
                "(select from ops.model_version where slot = :slot and status = 'champion')"
            ),
            {"replaces": decision.replaces, **slot},
        )
    connection.execute(
        text(
            "insert into ops.model_version (model_version, slot, model, parameters, run_id, trained_through, path, "
            "status, reason, replaces, metric, value, warm_nights, created_at) values (:version, :slot, :model, :parameters, :run, "
            ":through, :path, :status, :reason, :replaces, :metric, :value, :warm, "
            "coalesce(:created, now()))"
        ),
        {
            "version": promotion.model_version,
            "slot": promotion.slot,
            "model": promotion.model,
            "parameters": json.dumps(candidate(settings, promotion.model).params),
            "run": run.run_id,
            "through": run.as_of,
            "path": _path(run, promotion.model) if decision.promoted else None,
            "status": _status(decision, promotion, served_since is not None),
            "created": None if promotion.promoted else served_since,
            "reason": promotion.reason,
            "replaces": decision.replaces,
            "metric": f"ndcg@{settings.models.k}" if decision.value is not None else None,
            "value": decision.value,
            "warm": warm_nights,
        },
    )


def _status(decision: Decision, promotion: Promotion, served: bool) -> str:
    if promotion.promoted:
        return "champion"
    return "retired" if decision.promoted and served else "candidate"
