"""The learned order of candidates: two boosted tree ensembles, one pairwise within a customer, one pointwise."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from portrait.errors import PortraitError
from portrait.models.rerank.recipe import Recipe

if TYPE_CHECKING:
    from lightgbm import Booster

OBJECTIVES: dict[str, dict[str, Any]] = {
    "binary": {"objective": "binary"},
    "lambdarank": {"objective": "lambdarank", "lambdarank_truncation_level": 20, "label_gain": [0, 1]},
}
"""Burges, From RankNet to LambdaRank to LambdaMART (2010), and logistic loss; their mean is better than either."""


@dataclass(frozen=True, eq=False)
class Ranker:
    """Fitted ensembles and the columns, by name, that they were fitted on."""

    names: list[str]
    boosters: list["Booster"]

    def scores(self, table: np.ndarray, customer: np.ndarray, names: list[str], threads: int) -> np.ndarray:
        """float64 [pairs]: the sum over ensembles of scores standardised within each customer.

        `customer` is in order: the pairs of a customer stand together.
        """
        if names != self.names:
            raise PortraitError(
                f"model 'nightly' was trained on columns {', '.join(self.names)} and is given {', '.join(names)}; "
                "train it again with this log"
            )
        total = np.zeros(len(table))
        for booster in self.boosters:
            total += standardised(np.asarray(booster.predict(table, num_threads=threads)), customer)
        return total

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
