"""Time-based holdout: what customers buy in the last days, from what they bought before."""

import logging
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from scipy.sparse import csr_matrix

from portrait.errors import PortraitError
from portrait.models.base import Recommender
from portrait.models.benchmark.files import read_columns
from portrait.models.benchmark.report import Figure, Row
from portrait.models.benchmark.request import ModelRequest, Options
from portrait.models.benchmark.strong import configured
from portrait.models.evaluation import Evaluation, evaluate, evaluate_lists
from portrait.models.rerank.purchases import Purchases
from portrait.models.rerank.recipe import NAME as NIGHTLY
from portrait.models.rerank.recipe import Recipe
from portrait.models.rerank.windows import fit_window

log = logging.getLogger(__name__)

FILE = "interactions.csv"
COLUMNS = ("user_id", "item_id", "date")
K = 10
FIGURES = (("all", "ndcg"), ("all", "recall"), ("again", "recall"), ("new", "ndcg"), ("new", "recall"))


@dataclass(frozen=True)
class Split:
    """Purchases a customer and item (rows and columns are the same in all): the last two windows and before.

    Attributes
    ----------
    before, validation, test : csr_matrix [customers, items]
        Purchases before both windows, in the first, and in the second.
    log : all of them by day; a basket is a day.
    validation_from, test_from : first days of the windows, as numbers of the log.
    """

    before: csr_matrix
    validation: csr_matrix
    test: csr_matrix
    log: Purchases
    validation_from: int
    test_from: int

    @property
    def window_days(self) -> int:
        return self.test_from - self.validation_from

    @property
    def known(self) -> csr_matrix:
        """Purchases before the `test` window."""
        return csr_matrix(self.before + self.validation)


def read_split(folder: Path, holdout_days: int) -> Split:
    """Read `interactions.csv` and cut it at two dates, `holdout_days` and twice as many before the last one.

    Raises
    ------
    PortraitError
        If the file or a column is missing, `date` holds no dates, or nothing is left before the first cut.
    """
    rows = read_columns(folder / FILE, COLUMNS)
    if not pa.types.is_temporal(rows["date"].type):
        raise PortraitError(
            f"{folder / FILE}: column date holds {rows['date'].type}, not dates as 2025-06-29"
        )
    day = pc.cast(rows["date"], pa.date32()).to_numpy().astype("datetime64[D]")
    last: date = day.max().astype(object)
    test_from, validation_from = (last - timedelta(days=n * holdout_days - 1) for n in (1, 2))
    users, user = np.unique(rows["user_id"].to_numpy(), return_inverse=True)
    items, item = np.unique(rows["item_id"].to_numpy(), return_inverse=True)

    def window(first: date | None, end: date | None) -> csr_matrix:
        kept = np.ones(len(day), dtype=bool)
        if first is not None:
            kept &= day >= np.datetime64(first)
        if end is not None:
            kept &= day < np.datetime64(end)
        ones = np.ones(int(kept.sum()), dtype=np.float32)
        return csr_matrix((ones, (user[kept], item[kept])), shape=(len(users), len(items)))

    before = window(None, validation_from)
    if not before.nnz:
        raise PortraitError(
            f"{folder / FILE} ends on {last} and has nothing before {validation_from}: lower --holdout-days"
        )
    log.info(
        "%s: trained before %s, validated before %s, tested to %s",
        folder.name,
        validation_from,
        test_from,
        last,
    )
    number = day.astype(np.int64)
    return Split(
        before,
        window(validation_from, test_from),
        window(test_from, None),
        Purchases.of(user, number, item, len(users), len(items), number),
        *(int(np.datetime64(first, "D").astype(int)) for first in (validation_from, test_from)),
    )


class DatedModel(Protocol):
    """What this protocol asks of a model; windows are judged in the order of time."""

    params: dict[str, Any]

    def fit(self, split: Split, seed: int) -> None:
        """Learn from what is before both windows; stop by the first."""
        ...

    def validated(self, split: Split) -> Evaluation:
        """Judged on the first window, knowing what is before it."""
        ...

    def tested(self, split: Split) -> Evaluation:
        """Judged on the second window, knowing what is before that; nothing is learnt again."""
        ...


class FromMatrix:
    """A `Recommender` on the counts of purchases."""

    def __init__(self, model: Recommender) -> None:
        self.model, self.params = model, model.lasting_params

    def fit(self, split: Split, seed: int) -> None:
        self.model.fit(split.before, (split.before, split.validation), seed)

    def validated(self, split: Split) -> Evaluation:
        return evaluate(self.model, split.before, split.validation, split.before, ks=(K,))

    def tested(self, split: Split) -> Evaluation:
        return evaluate(self.model, split.known, split.test, split.known, ks=(K,))


class Nightly:
    """The nightly recommender: its labels are what was bought in as many days before both windows as a window has."""

    def __init__(self, params: dict[str, Any], options: Options) -> None:
        self.params, self.recipe, self.options = params, Recipe.of(params), options

    def fit(self, split: Split, seed: int) -> None:
        self.model = fit_window(
            split.log,
            split.validation_from - 1,
            split.window_days,
            self.recipe,
            seed,
            self.options.threads,
            device=self.options.device,
        )

    def validated(self, split: Split) -> Evaluation:
        return evaluate_lists(self._lists, split.validation, split.before, (K,))

    def tested(self, split: Split) -> Evaluation:
        self.model.observe(split.log.before(split.test_from))
        return evaluate_lists(self._lists, split.test, split.known, (K,))

    def _lists(self, rows: np.ndarray, k: int, exclude: csr_matrix | None) -> np.ndarray:
        return self.model.recommend(rows, k, exclude)[0]


def run(folder: Path, requests: Sequence[ModelRequest], options: Options) -> Iterator[Row]:
    """Fit each model on what is before both windows, stop it by the first, judge it on the second.

    Gives NDCG and recall at 10 over the customers who buy in the test window: of all they buy, of what they
    had bought before (`again`) and of what they had not (`new`). A list is made from all that is known before
    its window. Beside the registered models it knows `nightly`.
    """
    models: list[DatedModel] = [
        Nightly(request.params, options)
        if request.name == NIGHTLY
        else FromMatrix(configured(request, options))
        for request in requests
    ]
    split = read_split(folder, options.holdout_days)
    for request, model in zip(requests, models, strict=True):
        started = time.monotonic()
        model.fit(split, options.seed)
        seconds = time.monotonic() - started
        log.info("%s: fitted in %.1f s", request.name, seconds)
        validated = _figures(model.validated(split))
        yield Row(
            model=request.name,
            figures=_figures(model.tested(split)),
            validation={f"all NDCG@{K}": validated[f"all NDCG@{K}"]},
            fit_seconds=seconds,
            params=model.params,
        )


def _figures(evaluation: Evaluation) -> dict[str, Figure]:
    found = {(m.task, m.metric): m for m in evaluation.metrics}
    headings = {"ndcg": "NDCG", "recall": "Recall"}
    return {
        f"{task} {headings[metric]}@{K}": Figure(
            found[task, metric].value, found[task, metric].standard_error
        )
        for task, metric in FIGURES
        if (task, metric) in found
    }
