"""The nightly recommender on a dated log: what was bought in the last days teaches what comes next."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from portrait.models.rerank.model import NightlyRecommender
from portrait.models.rerank.purchases import Purchases
from portrait.models.rerank.recipe import Recipe
from portrait.models.rerank.side import Side

SideOn = Callable[[int], Side]
"""Last day known -> what was known beside the log on that day."""


def learn_window(
    log: Purchases,
    last_day: int,
    window_days: int,
    recipe: Recipe | None = None,
    seed: int = 0,
    threads: int = 0,
    side: SideOn | None = None,
    device: str = "auto",
) -> NightlyRecommender:
    """Learn from who bought what in a window, by what was known before it; the model still looks at the log before it.

    For the nightly decision `last_day` is the day before the held-out ones; for serving it is the night's own.
    Without label models (`folds` is 1): what others buy in the days to come is not known at night.

    Parameters
    ----------
    log : Purchases
        With days; later ones than `last_day` are not looked at.
    last_day : int
        Day number, as in the log.
    window_days : int
        Length of the window, best that of the days the lists are judged by.
    side : day -> Side, optional
        Asked for the day before the window.

    Raises
    ------
    PortraitError
        If the log has no days, or fewer than two customers bought something in the window.
    """
    known_until = last_day - window_days
    labels = log.bought_between(known_until + 1, last_day)
    model = NightlyRecommender(replace(recipe or Recipe(), folds=1), threads, device)
    return model.fit(
        log.before(known_until + 1),
        labels,
        np.flatnonzero(np.diff(labels.indptr)),
        seed,
        side(known_until) if side else None,
    )


def fit_window(
    log: Purchases,
    last_day: int,
    window_days: int,
    recipe: Recipe | None = None,
    seed: int = 0,
    threads: int = 0,
    side: SideOn | None = None,
    device: str = "auto",
) -> NightlyRecommender:
    """`learn_window`, then look at the log up to its end: lists are for the days after `last_day`, which nothing in the model
    has seen. `side` is asked for that day, too."""
    model = learn_window(log, last_day, window_days, recipe, seed, threads, side, device)
    return model.observe(log.before(last_day + 1), side(last_day) if side else None)
