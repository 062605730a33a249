"""The learned order of candidates: two boosted tree ensembles, one pairwise within a customer, one pointwise."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from scipy.special import expit

from portrait.errors import PortraitError
from portrait.models.rerank.recipe import Recipe

if TYPE_CHECKING:
    from lightgbm import Booster

OBJECTIVES: dict[str, dict[str, Any]] = {
    "binary": {"objective": "binary"},
    "lambdarank": {"objective": "lambdarank", "lambdarank_truncation_level": 20, "label_gain": [0, 1]},
}
"""Burges, From RankNet to LambdaRank to LambdaMART (2010), and logistic loss; their mean is better than either."""

FIRST_LOOK = 0.2
"""Share of each ensemble's trees that every pair is shown to."""
LOOKED_AT_AGAIN = 40
"""Pairs of a customer, of bought items and of others each, that the other trees see as well: the best by the first ones."""


@dataclass(frozen=True, eq=False)
class Ranker:
    """Fitted ensembles and the columns, by name, that they were fitted on."""

    names: list[str]
    boosters: list["Booster"]

    def scores(
        self, table: np.ndarray, customer: np.ndarray, own: np.ndarray, names: list[str], threads: int
    ) -> np.ndarray:
        """float64 [pairs]: the sum over ensembles of scores standardised within each customer.

        Most pairs are hopeless, and a fifth of the trees tells: whoever comes behind `LOOKED_AT_AGAIN` others stays there, in
        the order of those trees.

        Parameters
        ----------
        table : float32 [pairs, columns]
        customer : int [pairs], in order: the pairs of a customer stand together.
        own : bool [pairs], whether the customer bought the item before.
        names : the table's columns
        """
        if names != self.names:
            raise PortraitError(
                f"model 'nightly' was trained on columns {', '.join(self.names)} and is given {', '.join(names)}; "
                "train it again with this log"
            )
        first = [max(1, round(FIRST_LOOK * booster.num_trees())) for booster in self.boosters]
        raw = [
            np.asarray(booster.predict(table, raw_score=True, num_iteration=trees, num_threads=threads))
            for booster, trees in zip(self.boosters, first, strict=True)
        ]
        found = _together(raw, customer)
        again = _places(found, 2 * customer + own) < LOOKED_AT_AGAIN
        if not len(found):
            return found
        chosen = table[again]
        for booster, trees, some in zip(self.boosters, first, raw, strict=True):
            if trees < booster.num_trees():
                some[again] += booster.predict(
                    chosen, raw_score=True, start_iteration=trees, num_threads=threads
                )
        found = _together(raw, customer)
        found[~again] -= found.max() - found.min() + 1
        return found

    def texts(self) -> list[str]:
        """LightGBM's own text format, one an ensemble."""
        return [booster.model_to_string() for booster in self.boosters]

    @classmethod
    def of_texts(cls, names: list[str], texts: Sequence[str]) -> Self:
        boosting = lightgbm()
        return cls(names, [boosting.Booster(model_str=text) for text in texts])


def fit_ranker(
    table: np.ndarray,
    label: np.ndarray,
    customer: np.ndarray,
    names: list[str],
    recipe: Recipe,
    seed: int,
    threads: int,
) -> Ranker:
    """Learn to put what was bought first.

    Parameters
    ----------
    table : float32 [pairs, columns]
    label : bool [pairs], whether the customer bought the item next.
    customer : int [pairs], in order.
    threads : int
        0 means the cores the process may run on. Trees are the same for any number (LightGBM `deterministic`).
    """
    boosting = lightgbm()
    group = np.unique(customer, return_counts=True)[1]
    boosters = []
    for objective in OBJECTIVES.values():
        settings = {
            **objective,
            "num_leaves": recipe.leaves,
            "learning_rate": recipe.learning_rate,
            "min_data_in_leaf": max(1, min(60, len(label) // 50)),
            "feature_fraction": 0.5,
            "bagging_fraction": 0.8,
            "bagging_freq": 1,
            "lambda_l2": 5.0,
            "max_bin": 63,
            "num_threads": threads,
            "seed": seed,
            "deterministic": True,
            "force_row_wise": True,
            "verbose": -1,
        }
        data = boosting.Dataset(table, label.astype(np.float32), group=group, feature_name=names)
        boosters.append(boosting.train(settings, data, recipe.rounds))
    return Ranker(names, boosters)


def _together(raw: list[np.ndarray], customer: np.ndarray) -> np.ndarray:
    """The sum of the ensembles' scores, those of the logistic one as chances, standardised within each customer."""
    return sum(
        (
            standardised(expit(scores) if objective == "binary" else scores, customer)
            for objective, scores in zip(OBJECTIVES, raw, strict=True)
        ),
        np.zeros(len(customer)),
    )


def _places(scores: np.ndarray, group: np.ndarray) -> np.ndarray:
    """int [n]: how many scores of the same group come before each, the greatest first."""
    order = np.lexsort((-scores, group))
    sorted_group = group[order]
    starts = np.flatnonzero(np.r_[True, sorted_group[1:] != sorted_group[:-1]])
    sizes = np.diff(np.r_[starts, len(group)])
    places = np.empty(len(group), dtype=np.int64)
    places[order] = np.arange(len(group)) - np.repeat(starts, sizes)
    return places


def standardised(scores: np.ndarray, customer: np.ndarray) -> np.ndarray:
    """Scores less their mean, by their standard deviation, within each customer; 0 where all are equal."""
    if not len(scores):
        return scores
    _, starts, place, counts = np.unique(customer, return_index=True, return_inverse=True, return_counts=True)
    mean = np.add.reduceat(scores, starts) / counts
    centred = scores - mean[place]
    spread = np.sqrt(np.add.reduceat(centred**2, starts) / counts)
    return np.asarray(centred / np.where(spread > 0, spread, 1)[place])


def lightgbm() -> Any:
    """The library. Raises PortraitError where it, or the OpenMP runtime it needs, is not installed."""
    try:
        import lightgbm as library
    except (ImportError, OSError) as error:
        raise PortraitError(
            f"model 'nightly' needs LightGBM and the OpenMP runtime libgomp ({error}); "
            "pip install -r requirements.txt, and apt-get install libgomp1 on Debian"
        ) from error
    return library
