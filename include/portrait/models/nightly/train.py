"""Training a night's candidates up to the holdout, one model a call."""

import json
import logging
import shutil
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from portrait.config import Candidate, Settings
from portrait.errors import PortraitError
from portrait.models import create, model_class
from portrait.models.base import Recommender
from portrait.models.nightly import ranker
from portrait.models.nightly.inputs import (
    Inputs,
    inputs_of,
    models_folder,
    runtime,
    validation_split,
    write_json,
)
from portrait.models.nightly.warm_start import Start, start_of
from portrait.models.rerank.model import NightlyRecommender
from portrait.models.workers import workers
from portrait.run import Run

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class TrainResult:
    """One trained candidate.

    Attributes
    ----------
    epochs : the best epoch by validation, 0 where no epoch improved on the start, None for models without epochs.
    start_path, warm_nights : what was gone on from, and how many nights in a row (`warm_start.Start`); None and 0 without.
    """

    model: str
    customers: int
    items: int
    epochs: int | None
    seconds: float
    start_path: str | None = None
    warm_nights: int = 0

    @property
    def start(self) -> Start | None:
        return Start(self.start_path, self.warm_nights) if self.start_path else None

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def candidate(settings: Settings, name: str) -> Candidate:
    """The entry of `model.yaml`. Raises PortraitError for a name that is not in it."""
    for entry in settings.models.candidates:
        if entry.name == name:
            return entry
    names = ", ".join(c.name for c in settings.models.candidates)
    raise PortraitError(f"model '{name}' is not in model.yaml; it has {names}")


def train(settings: Settings, run: Run, name: str) -> TrainResult:
    """Fit one candidate on what was known at the cut-off and save it for the evaluation.

    A killed training goes on from its last checkpoint. Rows that an early-stopping model is validated on
    are not trained on. Under `torchrun` all processes train and the first one saves.
    """
    started = time.monotonic()
    entry = candidate(settings, name)
    inputs = inputs_of(settings, run)
    folder = models_folder(settings, run)
    # A model of an earlier attempt must not pass for tonight's when this one fails.
    if workers().first:
        _result_path(folder, name).unlink(missing_ok=True)
    checkpoints = folder / "checkpoints" / entry.name
    if not inputs.matrix("train_weights").nnz:
        raise PortraitError(
            f"nothing to train on before the holdout: {run.as_of} has fewer than "
            f"{settings.models.holdout_days} days of history; lower holdout_days in model.yaml or load more"
        )
    model: Recommender | NightlyRecommender
    start = None
    if entry.name == ranker.NAME:
        model, customers = ranker.fit_ranker(settings, run, inputs, "train", entry.params), inputs.height
    else:
        start = start_of(settings, run, inputs, entry)
        model, customers = _fitted(settings, run, inputs, entry, checkpoints, start)
    result = TrainResult(
        entry.name,
        customers,
        inputs.width,
        _best_epoch(model),
        seconds=round(time.monotonic() - started, 2),
        start_path=start.path if start else None,
        warm_nights=start.nights if start else 0,
    )
    if workers().first:
        model.save(folder / "evaluated" / entry.name)
        write_json(curve_path(folder, name), getattr(model, "log_", []))
        write_json(_result_path(folder, name), result.as_dict())
        shutil.rmtree(checkpoints, ignore_errors=True)
    log.info("%s: %d customers, best epoch %s, %.1f s", name, customers, result.epochs, result.seconds)
    return result


def _fitted(
    settings: Settings, run: Run, inputs: Inputs, entry: Candidate, checkpoints: Path, start: Start | None
) -> tuple[Recommender, int]:
    """A model of one matrix, and the customers it was trained on."""
    kept = runtime(
        settings,
        model_class(entry.name),
        checkpoints,
        start.folder(settings, "evaluated") if start else None,
    )
    model = create(entry.name, **entry.params, **kept)
    if "patience" in model.params:
        matrix, validation = validation_split(inputs, run.seed)
    else:
        matrix, validation = inputs.matrix("train_weights"), None
    return model.fit(matrix, validation, seed=run.seed), int(matrix.shape[0])


def trained(settings: Settings, run: Run) -> list[TrainResult]:
    """The candidates whose training succeeded, in the order of model.yaml."""
    folder = models_folder(settings, run)
    results = []
    for entry in settings.models.candidates:
        path = _result_path(folder, entry.name)
        if path.exists():
            results.append(TrainResult(**json.loads(path.read_text())))
    return results


def curve_path(folder: Path, name: str) -> Path:
    """Loss and validation score of each epoch, in the folder of a run's models; an empty list of models without epochs."""
    return folder / "curves" / f"{name}.json"


def _result_path(folder: Path, name: str) -> Path:
    return folder / "evaluated" / f"{name}.json"


def _best_epoch(model: Recommender | NightlyRecommender) -> int | None:
    entries = getattr(model, "log_", [])
    scored = [e for e in entries if "score" in e]
    if scored:
        best = max(scored, key=lambda e: e["score"])
        return int(best["epoch"]) + 1
    return len(entries) or None
