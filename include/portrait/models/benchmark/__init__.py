"""Models on plain files, judged as the literature judges them: `portrait benchmark DATASET_DIR`.

A protocol is one module of this package with a function

    run(folder: Path, requests: Sequence[ModelRequest], options: Options) -> Iterator[Row]

that reads the data set's files, fits each requested model and gives its row of the table as soon as it has it.
"""

import importlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from portrait.errors import PortraitError
from portrait.models.benchmark.report import Figure, Row
from portrait.models.benchmark.request import ModelRequest, Options, model_requests
from portrait.models.rerank.recipe import NAME as NIGHTLY

__all__ = ["PROTOCOLS", "Figure", "ModelRequest", "Options", "Row", "model_requests", "run_benchmark"]

Protocol = Callable[[Path, Sequence[ModelRequest], Options], Iterator[Row]]

PROTOCOLS: dict[str, str] = {
    "strong": "portrait.models.benchmark.strong:run",
    "next-basket": "portrait.models.benchmark.next_basket:run",
    "temporal": "portrait.models.benchmark.temporal:run",
    "behaviours": "portrait.models.benchmark.behaviours:run",
}
"""Name -> module:function. Adding a protocol is one file and one line here."""

ORDERED = ("next-basket", "temporal")
"""Protocols whose files say what was bought before what."""


def run_benchmark(
    folder: Path, protocol: str, requests: Sequence[ModelRequest], options: Options
) -> Iterator[Row]:
    """Fit and judge the requested models on a data set, one row after the other.

    Raises
    ------
    PortraitError
        If the protocol or the model is unknown to it, the folder is absent, or the protocol refuses its files (it names them).
    """
    target = PROTOCOLS.get(protocol)
    if target is None:
        raise PortraitError(f"unknown protocol '{protocol}': choose one of {', '.join(PROTOCOLS)}")
    if protocol not in ORDERED and any(request.name == NIGHTLY for request in requests):
        raise PortraitError(
            f"model '{NIGHTLY}' learns from the order of purchases, which protocol '{protocol}' does not know: use --protocol "
            f"{' or '.join(ORDERED)}"
        )
    if not folder.is_dir():
        raise PortraitError(f"{folder} is not a folder: give the one that holds the data set's files")
    module, _, function = target.partition(":")
    run: Protocol = getattr(importlib.import_module(module), function)
    yield from run(folder, requests, options)
