"""Several behaviours: does what customers marked or put in the cart help to tell what they buy?

A model is fitted on purchases alone and on purchases with the other behaviours beside them, each with a weight that
is chosen by the validation purchases.
"""

import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.sparse import csr_matrix

from portrait.errors import PortraitError
from portrait.models.base import Recommender
from portrait.models.benchmark.report import Figure, Row
from portrait.models.benchmark.request import ModelRequest, Options
from portrait.models.benchmark.strong import configured
from portrait.models.metrics import ndcg_at_k, recall_at_k

log = logging.getLogger(__name__)

PURCHASES = ("train", "validation", "test")
WEIGHTS = (0.5, 0.0, 0.25, 1.0)
"""What a cell of another behaviour may count, a purchase being 1; the first is where the search starts."""
K = 20
CHOSEN_BY = f"Recall@{K}"


@dataclass(frozen=True)
class Split:
    """Binary matrices of the same customers and items; `others` by the name of the behaviour."""

    train: csr_matrix
    validation: csr_matrix
    test: csr_matrix
    others: dict[str, csr_matrix]


def read_split(folder: Path) -> Split:
    """Read `train.txt`, `validation.txt` and `test.txt` (purchases); every other `NAME.txt` of pairs is a behaviour.

    A line is `user item`, two whole numbers that are not negative. Files may be gzipped; `count.txt` is left out.

    Raises
    ------
    PortraitError
        If a file of purchases or every other behaviour is missing, or a line is not two such numbers.
    """
    files = {f.name.split(".")[0]: f for f in sorted(folder.glob("*.txt*")) if f.suffix in (".txt", ".gz")}
    files.pop("count", None)
    for name in PURCHASES:
        if name not in files:
            raise PortraitError(
                f"{folder / name}.txt is missing: the protocol needs it, with lines 'user item'"
            )
    others = sorted(set(files) - set(PURCHASES))
    if not others:
        raise PortraitError(f"{folder} holds purchases only; add a behaviour, for example cart.txt")
    pairs = {name: _pairs(file) for name, file in files.items()}
    shape = tuple(1 + max(int(p[:, column].max()) for p in pairs.values()) for column in (0, 1))
    found = {name: _binary(p, shape) for name, p in pairs.items()}
    train, validation, test = (found[name] for name in PURCHASES)
    return Split(train, validation, test, {name: found[name] for name in others})


def run(folder: Path, requests: Sequence[ModelRequest], options: Options) -> Iterator[Row]:
    """Two rows a model: on purchases alone, and with the other behaviours at the weights that validate best.

    A list leaves out what was bought before it. The weights are chosen by Recall@20 on the validation purchases, one
    behaviour after the other; the test purchases are judged once with these, the validation purchases being known
    by then (as history of both rows; the model is not fitted again).
    """
    for request in requests:
        configured(request, options)  # a misspelt parameter is said before hours of reading and fitting
    split = read_split(folder)
    log.info(
        "%s: %d customers, %d items, %d purchases, %s", folder.name, *split.train.shape, split.train.nnz,
        ", ".join(f"{name} {matrix.nnz}" for name, matrix in split.others.items()),
    )  # fmt: skip
    for request in requests:
        alone, seconds = _fitted(request, options, split, {})
        yield _row(f"{request.name}, purchases", alone, split, {}, seconds)
        model, weights, seconds = _tuned(request, options, split)
        yield _row(f"{request.name}, all behaviours", model, split, weights, seconds)


def _tuned(
    request: ModelRequest, options: Options, split: Split
) -> tuple[Recommender, dict[str, float], float]:
    """The model and weights with the best validation, most frequent behaviour first, and the seconds of all fits."""
    weights = dict.fromkeys(sorted(split.others, key=lambda n: -split.others[n].nnz), WEIGHTS[0])
    model, seconds = _fitted(request, options, split, weights)
    best = _validation(model, split, weights)[CHOSEN_BY].value
    for name in list(weights):
        for weight in WEIGHTS[1:]:
            tried = {**weights, name: weight}
            other, spent = _fitted(request, options, split, tried)
            seconds += spent
            if (found := _validation(other, split, tried)[CHOSEN_BY].value) > best:
                model, weights, best = other, tried, found
    return model, weights, seconds


def _fitted(
    request: ModelRequest, options: Options, split: Split, weights: Mapping[str, float]
) -> tuple[Recommender, float]:
    started = time.monotonic()
    model = configured(request, options)
    history = _history(split.train, split, weights)
    model.fit(history, (history, split.validation), options.seed)
    seconds = time.monotonic() - started
    log.info("%s, %s: fitted in %.1f s", request.name, dict(weights) or "purchases", seconds)
    return model, seconds


def _history(bought: csr_matrix, split: Split, weights: Mapping[str, float]) -> csr_matrix:
    """A purchase counts 1, another behaviour its weight; cells with several are sums."""
    history = bought.copy()
    for name, weight in weights.items():
        if weight:
            history = csr_matrix(history + split.others[name] * np.float32(weight))
    return history


def _validation(model: Recommender, split: Split, weights: Mapping[str, float]) -> dict[str, Figure]:
    return _figures(model, split.train, split.validation, split, weights)


def _row(label: str, model: Recommender, split: Split, weights: Mapping[str, float], seconds: float) -> Row:
    known = csr_matrix(split.train + split.validation)
    params = model.lasting_params
    return Row(
        model=label,
        figures=_figures(model, known, split.test, split, weights),
        validation={CHOSEN_BY: _validation(model, split, weights)[CHOSEN_BY]},
        fit_seconds=seconds,
        params={**params, "behaviour_weights": dict(weights)},
    )


def _figures(
    model: Recommender, bought: csr_matrix, target: csr_matrix, split: Split, weights: Mapping[str, float]
) -> dict[str, Figure]:
    """Recall and NDCG at 20 of purchases after those of `bought`, over the customers who make any."""
    target = csr_matrix(target - target.multiply(bought > 0))
    target.eliminate_zeros()
    rows = np.flatnonzero(np.diff(target.indptr))
    history = _history(bought, split, weights)[rows]
    lists, _ = model.recommend(history, K, exclude=bought[rows])
    figures = {}
    for heading, metric in ((CHOSEN_BY, recall_at_k), (f"NDCG@{K}", ndcg_at_k)):
        values = metric(lists, target[rows], K)
        error = float(values.std(ddof=1) / np.sqrt(len(values))) if len(values) > 1 else None
        figures[heading] = Figure(float(values.mean()) if len(values) else float("nan"), error)
    return figures


def _pairs(file: Path) -> np.ndarray:
    try:
        pairs = np.loadtxt(file, dtype=np.int64, ndmin=2)
    except (ValueError, OSError) as error:
        raise PortraitError(f"{file} cannot be read as lines 'user item': {error}") from error
    if not len(pairs) or pairs.shape[1] != 2 or pairs.min() < 0:
        raise PortraitError(f"{file}: each line must be two whole numbers from 0 on, 'user item'")
    return pairs


def _binary(pairs: np.ndarray, shape: tuple[int, ...]) -> csr_matrix:
    matrix = csr_matrix((np.ones(len(pairs), np.float32), (pairs[:, 0], pairs[:, 1])), shape=shape)
    matrix.data[:] = 1
    return matrix
