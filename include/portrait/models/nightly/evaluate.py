"""Judging a night's candidates, and the champion, on the same held-out days."""

import json
import logging
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from scipy.sparse import csr_matrix, diags
from sqlalchemy import text

from portrait.config import Settings
from portrait.errors import PortraitError
from portrait.models.evaluation import Evaluation, compare, evaluate_lists
from portrait.models.nightly.bought_again import Effect, effect, not_again
from portrait.models.nightly.groups import Groups, figures, groups
from portrait.models.nightly.inputs import inputs_of, models_folder, write_json
from portrait.models.nightly.lists import Opener
from portrait.models.nightly.train import trained
from portrait.models.ranking import spread_evenly
from portrait.run import Run
from portrait.warehouse import Warehouse, open_warehouse

log = logging.getLogger(__name__)

EFFECT_FILE = "not_again.json"
"""Model -> what leaving out what is not bought again does (`bought_again.Effect`), beside the decisions."""

TASK_OF_SLOT = {"next": "all", "new": "new"}
_SLOT_OF_TASK = {"all": "next", "new": "new", "again": "again"}


@dataclass(frozen=True)
class Champion:
    """A slot's serving version, as it stood before this run."""

    model_version: str
    model: str
    path: str


@dataclass(frozen=True)
class Decision:
    """Who serves a slot from this run on. `challenger` is the night's best candidate.

    `replaces` is the champion it was judged against. `promoted` says whether the challenger serves.
    """

    slot: str
    challenger: str
    promoted: bool
    reason: str
    value: float | None
    replaces: str | None


def champion_before(warehouse: Warehouse, run: Run, slot: str) -> Champion | None:
    """The champion that a run has to beat: the slot's latest promoted version that saw nothing of as_of or
    later, so that running a night again, or an earlier night, judges as the first time."""
    rows = warehouse.rows(
        "select model_version, model, path from ops.model_version "
        "where slot = :slot and status in ('champion', 'retired') and path is not null and trained_through < :as_of "
        "order by trained_through desc, created_at desc limit 1",
        slot=slot,
        as_of=run.as_of,
    )
    return Champion(**rows[0]) if rows else None


def evaluate_candidates(settings: Settings, run: Run) -> list[Decision]:
    """Evaluate everything that was trained, write ops.evaluation, and decide each slot.

    The champion is judged by the copy of it that was trained up to its own holdout: it has seen nothing of
    tonight's held-out days either.

    Raises
    ------
    PortraitError : when no candidate was trained.
    """
    results = trained(settings, run)
    if not results:
        raise PortraitError("no model was trained tonight; see the logs of the train tasks")
    warehouse = open_warehouse(settings)
    inputs = inputs_of(settings, run)
    bought = inputs.matrix("train_bought")
    target = sampled(inputs.matrix("target"), settings.models.evaluation_customers)
    never = not_again(settings, run, inputs, "train")
    ks = sorted({settings.models.k, 2 * settings.models.k})
    effects: dict[Path, Effect] = {}

    open_lists = Opener(settings, run, inputs, "train")

    @cache  # one version may be the champion of two slots
    def judged(folder: Path) -> Evaluation:
        opened = open_lists(folder)

        def lists(rows: np.ndarray, k: int, exclude: csr_matrix | None) -> np.ndarray:
            return opened(rows, k, exclude)[0]

        # Those of whom all lists are made first: a ranker keeps their order for the shorter ones.
        evaluation = evaluate_lists(lists, target, bought, ks, never)
        effects[folder] = effect(lists, target, never, settings.models.k)
        return evaluation

    evaluations: dict[tuple[str, str], Evaluation] = {}
    candidates = models_folder(settings, run) / "evaluated"
    for result in results:
        evaluations["candidate", result.model] = judged(candidates / result.model)
    champions = {slot: champion_before(warehouse, run, slot) for slot in TASK_OF_SLOT}
    champion_evaluations: dict[str, Evaluation] = {}
    for slot, champion in list(champions.items()):
        if champion is None:
            continue
        try:
            champion_evaluations[slot] = judged(settings.models_dir / champion.path / "evaluated")
        except PortraitError as error:
            log.warning("champion %s cannot be judged, its files are gone: %s", champion.model_version, error)
            champions[slot] = None
    _record(warehouse, run, evaluations, champions, champion_evaluations, groups(settings, run, inputs))
    decisions = [
        _decide(settings, run, slot, evaluations, champions[slot], champion_evaluations.get(slot))
        for slot in TASK_OF_SLOT
    ]
    write_json(models_folder(settings, run) / "decisions.json", [asdict(d) for d in decisions])
    by_model = {path.name: found.as_dict() for path, found in effects.items() if path.parent == candidates}
    write_json(models_folder(settings, run) / EFFECT_FILE, by_model)
    log.info("NDCG@%d of what is bought again left out, and not: %s", settings.models.k, by_model)
    for decision in decisions:
        log.info("%s: %s (%s)", decision.slot, decision.challenger, decision.reason)
    return decisions


def sampled(target: csr_matrix, most: int) -> csr_matrix:
    """The target with all rows emptied but `most` of those that hold something, evenly spread: the same every time."""
    buyers = np.flatnonzero(np.diff(target.indptr))
    if len(buyers) <= most:
        return target
    kept = np.zeros(target.shape[0], dtype=np.float32)
    kept[buyers[spread_evenly(len(buyers), most)]] = 1
    found = csr_matrix(diags(kept) @ target)
    found.eliminate_zeros()
    return found


def decisions_of(settings: Settings, run: Run) -> list[Decision]:
    content = json.loads((models_folder(settings, run) / "decisions.json").read_text())
    return [Decision(**d) for d in content]


def exclusion_effects(settings: Settings, run: Run) -> dict[str, Any]:
    """Model -> what leaving out what is not bought again did to its lists (`bought_again.Effect`)."""
    found: dict[str, Any] = json.loads((models_folder(settings, run) / EFFECT_FILE).read_text())
    return found


def _decide(
    settings: Settings,
    run: Run,
    slot: str,
    evaluations: dict[tuple[str, str], Evaluation],
    champion: Champion | None,
    champion_evaluation: Evaluation | None,
) -> Decision:
    task, k = TASK_OF_SLOT[slot], settings.models.k
    scores = {
        name: e.value(task, "ndcg", k)
        for (_, name), e in evaluations.items()
        if len(e.ndcg.get((task, k), ())) > 0
    }
    replaces = champion.model_version if champion else None
    if not scores:
        challenger = next(iter(evaluations))[1]
        reason = "nobody bought anything in the held-out days: nothing to judge by"
        return Decision(slot, challenger, champion is None, reason, None, replaces)
    challenger = max(scores, key=lambda name: scores[name])
    value = scores[challenger]
    if champion is None or champion_evaluation is None:
        return Decision(
            slot, challenger, True, f"best of {len(scores)} candidates, no champion yet", value, None
        )
    difference = compare(
        champion_evaluation.ndcg[task, k], evaluations["candidate", challenger].ndcg[task, k], seed=run.seed
    )
    promoted = difference.high >= 0
    verdict = "does not lose to" if promoted else "loses to"
    reason = (
        f"{verdict} {champion.model} ({champion.model_version}): NDCG@{k} {value:.4f}, "
        f"difference {difference.difference:+.4f} (95 % {difference.low:+.4f} to {difference.high:+.4f}) "
        f"over {difference.n_users} customers"
    )
    return Decision(slot, challenger, promoted, reason, value, replaces)


def _record(
    warehouse: Warehouse,
    run: Run,
    evaluations: dict[tuple[str, str], Evaluation],
    champions: dict[str, Champion | None],
    champion_evaluations: dict[str, Evaluation],
    found: Groups,
) -> None:
    rows: list[dict[str, Any]] = []
    by_group: list[dict[str, Any]] = []

    def add(evaluation: Evaluation, model: str, role: str, slots: set[str]) -> None:
        rows.extend(
            {
                "run": run.run_id,
                "slot": _SLOT_OF_TASK[m.task],
                "model": model,
                "role": role,
                "metric": m.metric,
                "k": m.k,
                "value": m.value,
                "customers": m.n_users,
            }
            for m in evaluation.metrics
            if m.n_users and _SLOT_OF_TASK[m.task] in slots
        )
        by_group.extend(
            {"run": run.run_id, "slot": _SLOT_OF_TASK[f.task], "model": model, "role": role, **asdict(f)}
            for f in figures(evaluation, found, run.seed)
            if _SLOT_OF_TASK[f.task] in slots
        )

    for (role, name), evaluation in evaluations.items():
        add(evaluation, name, role, {"next", "new", "again"})
    for slot, evaluation in champion_evaluations.items():
        champion = champions[slot]
        assert champion is not None
        add(evaluation, champion.model, "champion", {"next", "again"} if slot == "next" else {slot})
    with warehouse.begin() as connection:
        for table in ("ops.evaluation", "ops.evaluation_group"):
            connection.execute(text(f"delete from {table} where run_id = :r"), {"r": run.run_id})
        if by_group:
            connection.execute(
                text(
                    "insert into ops.evaluation_group (run_id, slot, model, role, dimension, customer_group, metric, "
                    "k, value, low, high, customers) values (:run, :slot, :model, :role, :dimension, :group, :metric, "
                    ":k, :value, nullif(:low, 'NaN'), nullif(:high, 'NaN'), :customers)"
                ),
                by_group,
            )
        if rows:
            connection.execute(
                text(
                    "insert into ops.evaluation (run_id, slot, model, role, metric, k, value, customers) "
                    "values (:run, :slot, :model, :role, :metric, :k, :value, :customers)"
                ),
                rows,
            )
