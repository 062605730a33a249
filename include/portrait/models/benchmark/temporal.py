"""Time-based holdout: what customers buy in the last days, from what they bought before."""

import logging
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path

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
from portrait.models.evaluation import evaluate

log = logging.getLogger(__name__)

FILE = "interactions.csv"
COLUMNS = ("user_id", "item_id", "date")
K = 10
FIGURES = (("all", "ndcg"), ("all", "recall"), ("again", "recall"), ("new", "ndcg"), ("new", "recall"))


@dataclass(frozen=True)
class Split:
    """Purchases a customer and item (rows and columns are the same in all): the last two windows and before.

    `before` ends where the `validation` window begins, which ends where the `test` window begins.
    """

    before: csr_matrix
    validation: csr_matrix
    test: csr_matrix


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
    return Split(before, window(validation_from, test_from), window(test_from, None))


def run(folder: Path, requests: Sequence[ModelRequest], options: Options) -> Iterator[Row]:
    """Fit each model on what is before both windows, stop it by the first, judge it on the second.

    Gives NDCG and recall at 10 over the customers who buy in the test window: of all they buy, of what they
    had bought before (`again`) and of what they had not (`new`). A list is made from all that is known before
    its window.
    """
    models = [configured(request, options) for request in requests]
    split = read_split(folder, options.holdout_days)
    for model in models:
        started = time.monotonic()
        model.fit(split.before, (split.before, split.validation), options.seed)
        seconds = time.monotonic() - started
        log.info("%s: fitted in %.1f s", model.name, seconds)
        validated = _figures(model, split.before, split.validation)
        yield Row(
            model=model.name,
            figures=_figures(model, csr_matrix(split.before + split.validation), split.test),
            validation={f"all NDCG@{K}": validated[f"all NDCG@{K}"]},
            fit_seconds=seconds,
            params={k: v for k, v in model.params.items() if k not in model.runtime_parameters},
        )


def _figures(model: Recommender, history: csr_matrix, target: csr_matrix) -> dict[str, Figure]:
    found = {(m.task, m.metric): m for m in evaluate(model, history, target, history, ks=(K,)).metrics}
    headings = {"ndcg": "NDCG", "recall": "Recall"}
    return {
        f"{task} {headings[metric]}@{K}": Figure(
            found[task, metric].value, found[task, metric].standard_error
        )
        for task, metric in FIGURES
        if (task, metric) in found
    }
