"""Strong generalisation (Liang et al. 2018): customers never trained on, some of whose items are folded in."""

import logging
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
from scipy.sparse import csr_matrix

from portrait.errors import PortraitError
from portrait.models import create, model_class
from portrait.models.base import Pair, Recommender
from portrait.models.benchmark.files import read_columns
from portrait.models.benchmark.report import Figure, Row
from portrait.models.benchmark.request import ModelRequest, Options
from portrait.models.evaluation import strong_generalisation

log = logging.getLogger(__name__)

FILES = ("train", "validation_tr", "validation_te", "test_tr", "test_te")
COLUMNS = ("uid", "sid")
FIGURES = (("ndcg", "NDCG", 100), ("recall", "Recall", 20), ("recall", "Recall", 50))


@dataclass(frozen=True)
class Split:
    """The data set as binary matrices with the same columns: the items of all files, in order of their ids."""

    train: csr_matrix
    validation: Pair
    test: Pair


def read_split(folder: Path) -> Split:
    """Read the five files that Liang's code writes, `uid,sid` each.

    Raises
    ------
    PortraitError
        If a file or a column is missing or empty, or a customer is both trained on and held out.
    """
    tables = {name: read_columns(folder / f"{name}.csv", COLUMNS) for name in FILES}
    _check_types(folder, tables)
    items = _ids(tables, FILES, "sid")
    users = {
        "train": _ids(tables, ("train",), "uid"),
        "validation": _ids(tables, ("validation_tr", "validation_te"), "uid"),
        "test": _ids(tables, ("test_tr", "test_te"), "uid"),
    }
    _check_disjoint(folder, users)
    matrices = {name: _binary(tables[name], users[name.split("_")[0]], items) for name in FILES}
    return Split(
        train=matrices["train"],
        validation=(matrices["validation_tr"], matrices["validation_te"]),
        test=(matrices["test_tr"], matrices["test_te"]),
    )


def run(folder: Path, requests: Sequence[ModelRequest], options: Options) -> Iterator[Row]:
    """Fit each model on `train`, stop it by `validation`, judge it on `test`.

    Gives NDCG@100, Recall@20 and Recall@50 (denominator min(k, held-out items)) with standard errors over the
    test customers, and the validation customers' NDCG@100, by which settings are to be chosen.
    """
    models = [configured(request, options) for request in requests]
    split = read_split(folder)
    log.info(
        "%s: %d customers to train on, %d to validate, %d to test, %d items",
        folder.name, split.train.shape[0], split.validation[0].shape[0], split.test[0].shape[0], split.train.shape[1],
    )  # fmt: skip
    for model in models:
        started = time.monotonic()
        model.fit(split.train, split.validation, options.seed)
        seconds = time.monotonic() - started
        figures, validated = _figures(model, split.test), _figures(model, split.validation)
        log.info("%s: fitted in %.1f s, NDCG@100 %s", model.name, seconds, figures["NDCG@100"])
        yield Row(
            model=model.name,
            figures=figures,
            validation={"NDCG@100": validated["NDCG@100"]},
            fit_seconds=seconds,
            params=model.lasting_params,
        )


def configured(request: ModelRequest, options: Options) -> Recommender:
    """The untrained model of a request, with the threads and the device of `options` where it takes them."""
    given = model_class(request.name).taken(threads=options.threads, device=options.device)
    return create(request.name, **{**given, **request.params})


def _figures(model: Recommender, pair: Pair) -> dict[str, Figure]:
    found = strong_generalisation(model, None, *pair, ks=sorted({k for _, _, k in FIGURES}))
    by_name = {(m.metric, m.k): Figure(m.value, m.standard_error) for m in found.metrics}
    return {f"{heading}@{k}": by_name[metric, k] for metric, heading, k in FIGURES}


def _ids(tables: dict[str, pa.Table], names: Sequence[str], column: str) -> np.ndarray:
    """The distinct ids of some files, sorted."""
    return np.unique(np.concatenate([tables[name][column].to_numpy() for name in names]))


def _binary(rows: pa.Table, users: np.ndarray, items: np.ndarray) -> csr_matrix:
    at = np.searchsorted(users, rows["uid"].to_numpy()), np.searchsorted(items, rows["sid"].to_numpy())
    matrix = csr_matrix((np.ones(len(rows), np.float32), at), shape=(len(users), len(items)))
    matrix.data[:] = 1
    return matrix


def _check_types(folder: Path, tables: dict[str, pa.Table]) -> None:
    """An id is a number in every file or a text in every file."""
    for column in COLUMNS:
        first = pa.types.is_integer(tables["train"][column].type)
        for name in FILES[1:]:
            if pa.types.is_integer(tables[name][column].type) != first:
                kinds = ("a number", "text") if first else ("text", "a number")
                raise PortraitError(
                    f"{folder}: {column} is {kinds[0]} in train.csv and {kinds[1]} in {name}.csv; write it the same way"
                )


def _check_disjoint(folder: Path, users: dict[str, np.ndarray]) -> None:
    for first, second in (("train", "validation"), ("train", "test"), ("validation", "test")):
        both = np.intersect1d(users[first], users[second])
        if len(both):
            raise PortraitError(
                f"{folder}: uid {both[0]} and {len(both) - 1} others are in {first} and in {second}; strong "
                "generalisation needs customers who are in one of train, validation and test only"
            )
