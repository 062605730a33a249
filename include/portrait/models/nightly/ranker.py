"""The learned ranker on tonight's data: what was bought in one window, by what was known before it."""

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from portrait.config import Settings
from portrait.errors import PortraitError
from portrait.features.cells import last_days
from portrait.models.nightly.inputs import Inputs, Part
from portrait.models.nightly.side import beside
from portrait.models.rerank.model import METADATA_FILE, NightlyRecommender
from portrait.models.rerank.purchases import Purchases
from portrait.models.rerank.recipe import NAME, Recipe
from portrait.models.rerank.windows import learn_window
from portrait.run import Run

_BEFORE: dict[Part, Part] = {"full": "train", "train": "validation"}
"""The part that ends where the window begins that teaches a ranker of a part."""


def is_saved(folder: Path) -> bool:
    """Whether a folder holds a ranker rather than a model of one matrix."""
    return (folder / METADATA_FILE).is_file()


def fit_ranker(
    settings: Settings, run: Run, inputs: Inputs, part: Part, params: dict[str, object]
) -> NightlyRecommender:
    """Learn the order from the purchases of the last `holdout_days` of a part; to be saved, and opened to list.

    Beside the log it sees the customers' weights, views and carts among them, and the rest of `side.py`, as they were when
    the window began.

    Raises
    ------
    PortraitError : for a parameter that it does not know, or where hardly anybody bought in the window.
    """
    days = _days(settings, run)
    known = beside(settings, run, inputs).at(_BEFORE[part])
    return learn_window(
        read_purchases(inputs),
        days[part],
        days[part] - days[_BEFORE[part]],
        Recipe.of(params),
        run.seed,
        settings.models.threads,
        side=lambda _: known,
        device=settings.models.device,
    )


def open_ranker(
    settings: Settings,
    run: Run,
    inputs: Inputs,
    part: Part,
    folder: Path,
    other: NightlyRecommender | None = None,
) -> NightlyRecommender:
    """A saved ranker that looks at tonight's log, and what is known beside it, as they were at the end of a part.

    Parameters
    ----------
    other : one that was opened for the same part; what it sees is not made again.
    """
    model = NightlyRecommender.load(folder, settings.models.threads, settings.models.device)
    if other is not None and model.observe_as(other):
        return model
    log = read_purchases(inputs).before(_days(settings, run)[part] + 1)
    return model.observe(log, beside(settings, run, inputs).at(part))


def read_purchases(inputs: Inputs) -> Purchases:
    """The night's purchase log on the rows and columns of its matrices; a basket is a day.

    Raises
    ------
    PortraitError : if the run's features have no log, as those of an earlier version.
    """
    path = inputs.folder / "purchases.parquet"
    if not path.is_file():
        raise PortraitError(
            f"{path} is missing: model '{NAME}' needs it; run the features stage of this run again"
        )
    table = pq.read_table(path)
    customer, day, item = (table[c].to_numpy() for c in ("customer", "day", "item"))
    return Purchases.of(customer, day, item, inputs.height, inputs.width, day)


def last_day(settings: Settings, run: Run, part: Part) -> int:
    """Of a part, in days since 1970."""
    return _days(settings, run)[part]


def _days(settings: Settings, run: Run) -> dict[str, int]:
    """Last day of each part, in days since 1970."""
    found = last_days(run.as_of, settings.models.holdout_days)
    return {part: int(np.datetime64(day, "D").astype(int)) for part, day in found.items()}
