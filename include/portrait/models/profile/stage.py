"""The profile model of a night: judged on days it has not seen, trained again on all, applied to every customer."""

import logging
import shutil
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from scipy.sparse import csr_matrix

from portrait.config import Settings
from portrait.drafts import draft_of
from portrait.errors import PortraitError
from portrait.features.build import features_dir
from portrait.features.preprocess import Preprocessor
from portrait.models.events import Events
from portrait.models.nightly.inputs import models_folder
from portrait.models.nightly.views import (
    PURCHASE_DAYS,
    NightRows,
    Snapshot,
    World,
    examples_of,
    night_rows,
    snapshot_at,
    world_at,
)
from portrait.models.profile.examples import Examples, Meaning
from portrait.models.profile.model import ProfileAutoencoder
from portrait.models.profile.predictions import PREDICTION, evaluation_file, predictions_file
from portrait.models.profile.record import record_heads
from portrait.models.profile.report import MODEL, Measured, measure, probabilities
from portrait.models.profile.views import Views
from portrait.run import Run

log = logging.getLogger(__name__)

SNAPSHOT_DAYS = (0, 30, 60, 90)
"""Days before the end of the training window at which customers are looked at. The last one leaves room for the spend."""
LEAST_HISTORY_DAYS = 14
"""A snapshot with less history before it says little of anyone."""
HELD_SHARE, VALIDATION_SHARE = 0.2, 0.1
"""Customers whose spend and demographics are not trained on, to be judged; customers by whom training is stopped."""
PARAMS: dict[str, Any] = {
    "latent": 64, "hidden": 32, "epochs": 12, "patience": 3, "batch_size": 200, "learning_rate": 0.002,
    "experts": (),
}  # fmt: skip
"""Of the demo's size; the item ranking of the night has its own candidate, with experts."""
WITH_EVENTS = False
"""The sequences are left out: with them training takes twice as long, and spend and next category are said worse."""
PROTOCOLS = {
    "purchase": "window",
    "category": "window",
    "spend": "customers",
    "age_band": "customers",
    "gender": "customers",
}


@dataclass(frozen=True)
class ProfileModelResult:
    """Counts of a run; `auc` of the purchase on the held-out window, None where it could not be judged."""

    model_version: str
    customers: int
    examples: int
    heads: tuple[str, ...]
    auc: float | None
    seconds: float

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def version_of(run: Run) -> str:
    """`model_version` of a run's profile model."""
    return f"{run.run_id}/profile/{MODEL}"


def version_folder(settings: Settings, run: Run) -> Path:
    """`evaluated` and `serving`, each with `model` and `preprocess`."""
    return settings.models_dir / run.run_id / "profile"


def train_profile_model(
    settings: Settings, run: Run, params: dict[str, Any] | None = None
) -> ProfileModelResult:
    """Judge, train and apply the profile model; write `predictions.parquet` and `predictions_evaluation.parquet`, and
    the figures of the latter to ops.head_evaluation.

    The evaluated copy ends `PURCHASE_DAYS` before as_of: purchase and next category are judged on the days since. A later
    window for the spend would want twice `SPEND_DAYS` and more; it and the demographics are judged on customers
    of the training window whose label was not trained on.

    Raises
    ------
    PortraitError : when there is too little history for one snapshot, or no features to preprocess.
    """
    started = time.monotonic()
    with night_rows(settings, run) as night:
        evaluated = _Window(night, run.as_of - timedelta(days=PURCHASE_DAYS), params, hold=True)
        measured = evaluated.measured() if evaluated.usable else []
        if evaluated.usable:
            evaluated.save(version_folder(settings, run) / "evaluated")
        else:
            log.warning("history is too short to judge the profile model")
        serving = _Window(night, run.as_of, params, hold=False)
        if not serving.usable:
            raise PortraitError(
                f"the profile model needs {LEAST_HISTORY_DAYS} days of history before {run.as_of}; load more"
            )
        model = serving.model()
        serving.save(version_folder(settings, run) / "serving")
        views = serving.snapshots[0].with_features(serving.preprocessor)
        _write(predictions_file(settings, run), _predictions(settings, run, model, serving, views))
    schema = pa.schema(
        [*((n, pa.string()) for n in ("head", "model", "protocol", "metric")), ("value", pa.float64()),
         ("customers", pa.int64())]
    )  # fmt: skip
    _write(evaluation_file(settings, run), pa.Table.from_pylist([m.as_dict() for m in measured], schema))
    record_heads(settings, run, measured)
    auc = next((m.value for m in measured if (m.head, m.model, m.metric) == ("purchase", MODEL, "auc")), None)
    heads = tuple(n for n in PROTOCOLS if n in model.predict(views.take(np.arange(0))))
    result = ProfileModelResult(
        version_of(run), len(views), len(serving.examples), heads, auc, round(time.monotonic() - started, 2)
    )
    log.info("profile model: %s", result.as_dict())
    return result


class _Window:
    """A training window up to `end`: its snapshots, preprocessing, examples and model."""

    def __init__(self, night: NightRows, end: date, params: dict[str, Any] | None, hold: bool) -> None:
        self.night, self.end, self.params, self.hold = night, end, params, hold
        first = night.first_day
        days = [end - timedelta(days=d) for d in SNAPSHOT_DAYS]
        self.days = [d for d in days if first is not None and d >= first + timedelta(days=LEAST_HISTORY_DAYS)]
        self.usable = bool(self.days)
        if not self.usable:
            return
        self.world: World = world_at(night, end)
        self.snapshots: list[Snapshot] = [
            snapshot_at(night, self.world, d, with_events=WITH_EVENTS) for d in self.days
        ]
        chance = np.random.default_rng([night.run.seed, 1]).random(night.customers)
        self.held = np.flatnonzero(chance < HELD_SHARE) if hold else np.empty(0, np.int64)
        self.stopping = np.flatnonzero(chance >= 1 - VALIDATION_SHARE)
        newest = self.snapshots[0]
        learnt = ~np.isin(newest.rows, np.concatenate([self.held, self.stopping]))
        table = newest.features.filter(pa.array(learnt)) if learnt.any() else newest.features
        self.preprocessor = Preprocessor.fit(_entries(night.settings, table), table, end)
        self.labelled = examples_of(night, self.world, self.snapshots, self.preprocessor, end)
        self.examples, self.others = self._split()
        self._model: ProfileAutoencoder | None = None

    def _split(self) -> tuple[Examples, Examples]:
        """Examples to train on, less the labels to be judged by; and those of the customers training is stopped by."""
        train, others = [], []
        for snapshot, examples in zip(self.snapshots, self.labelled, strict=True):
            stops = np.isin(snapshot.rows, self.stopping)
            hidden = np.flatnonzero(np.isin(snapshot.rows, self.held))
            labels = examples.labels.without(hidden, "spend", "age_band", "gender")
            train.append(replace(examples, labels=labels).take(np.flatnonzero(~stops)))
            others.append(examples.take(np.flatnonzero(stops)))
        return Examples.joined(train), Examples.joined(others)

    def model(self) -> ProfileAutoencoder:
        """Trained."""
        if self._model is None:
            settings, run = self.night.settings, self.night.run
            made = ProfileAutoencoder(
                **{**PARAMS, **(self.params or {})},
                threads=settings.models.threads,
                device=settings.models.device,
                checkpoint_dir=str(self._checkpoints),
            )
            self._model = made.fit_examples(self.examples, self.others, run.seed)
        return self._model

    def measured(self) -> list[Measured]:
        """Figures on what this window has not seen."""
        newest, oldest = self.snapshots[0], self.snapshots[-1]
        later = examples_of(self.night, self.world, [newest], self.preprocessor, self.night.run.as_of)[0]
        found = self._judged(later, {k: v for k, v in PROTOCOLS.items() if v == "window"})
        demographics = {"age_band": "customers", "gender": "customers"}
        for snapshot, examples, protocols in (
            (newest, self.labelled[0], demographics),
            (oldest, self.labelled[-1], {"spend": "customers"}),
        ):
            rows = np.flatnonzero(np.isin(snapshot.rows, self.held))
            found += self._judged(examples.take(rows), protocols)
        return found

    def _judged(self, test: Examples, protocols: dict[str, str]) -> list[Measured]:
        return measure(self.model().predict(test.views), self.examples, test, protocols)

    def save(self, folder: Path) -> None:
        self.model().save(folder / "model")
        self.preprocessor.save(folder / "preprocess")
        shutil.rmtree(self._checkpoints, ignore_errors=True)

    @property
    def _checkpoints(self) -> Path:
        """What a killed training of this window goes on from."""
        return models_folder(self.night.settings, self.night.run) / "checkpoints" / f"profile_{self.end}"


def _entries(settings: Settings, table: pa.Table) -> Sequence[Any]:
    """`preprocess` of features.yaml, less columns that no training customer has a value of yet."""
    entries = settings.features.preprocess
    empty = [
        e.column
        for e in entries
        if e.column in table.column_names and table[e.column].null_count == len(table)
    ]
    if empty:
        log.warning("no training customer has a value of %s: left out", ", ".join(empty))
    return [e for e in entries if e.column not in empty]


def _predictions(
    settings: Settings, run: Run, model: ProfileAutoencoder, window: _Window, views: Views
) -> pa.Table:
    """A row for each customer there is today; of whom nothing is known the heads say what is true of most."""
    index = pq.read_table(features_dir(settings, run) / "matrix" / "customers.parquet").sort_by("row")
    current = np.flatnonzero(index["current"].to_numpy())
    seen = window.snapshots[0].rows
    place = np.full(window.night.customers, -1)
    place[seen] = np.arange(len(seen))
    everyone = Views.joined([views, _nobody(views)])
    outputs = model.predict(everyone.take(np.where(place[current] >= 0, place[current], len(seen))))
    n = len(current)
    columns: dict[str, pa.Array] = {
        name: pa.nulls(n, PREDICTION.field(name).type) for name in PREDICTION.names
    }
    columns["customer_id"] = index["customer_id"].combine_chunks().take(pa.array(current))
    columns["model_version"] = pa.array([version_of(run)] * n)
    if "purchase" in outputs:
        columns["churn_probability"] = pa.array(probabilities(outputs["purchase"])[:, 0])
    if "spend" in outputs:
        columns["expected_spend_90d"] = pa.array(outputs["spend"].astype(np.float64))
    columns |= _classes(outputs, model.meaning_)
    return pa.table(columns, schema=PREDICTION).sort_by("customer_id")


def _classes(outputs: dict[str, np.ndarray], meaning: Meaning) -> dict[str, pa.Array]:
    named = (
        ("category", "next_category", "next_category_probability", meaning.categories),
        ("age_band", "inferred_age_band", "age_band_confidence", meaning.age_bands),
        ("gender", "inferred_gender", "gender_confidence", meaning.genders),
    )
    found = {}
    for head, value, confidence, words in named:
        if head in outputs:
            chance = probabilities(outputs[head])
            found[value] = pa.array([words[c] for c in chance.argmax(axis=1)], pa.string())
            found[confidence] = pa.array(chance.max(axis=1))
    return found


def _nobody(views: Views) -> Views:
    """One customer of whom nothing is known, with the widths of these views."""
    empty = csr_matrix((1, views.basket.shape[1]), dtype=np.float32)

    def zeros(array: np.ndarray | None) -> np.ndarray | None:
        return None if array is None else np.zeros((1, array.shape[1]), array.dtype)

    events = Events.of_matrix(empty) if views.events is not None else None
    return Views(empty, events, zeros(views.interest), zeros(views.features), zeros(views.observed))


def _write(path: Path, table: pa.Table) -> None:
    with draft_of(path) as draft:
        pq.write_table(table, draft, compression="zstd")
