"""The nightly recommender in the next-basket protocol."""

from typing import Any

import numpy as np

from portrait.models.benchmark.baskets import Baskets, Keyset
from portrait.models.benchmark.request import Options
from portrait.models.rerank.evidence import Evidence, evidence
from portrait.models.rerank.model import NightlyRecommender
from portrait.models.rerank.recipe import Recipe


class NightlyBaskets:
    """Learns from everybody's history and the future baskets of the customers to train on."""

    def __init__(self, params: dict[str, Any], options: Options) -> None:
        self.params, self.options = params, options
        self.recipe = Recipe.of(params)
        self.known: Evidence | None = None

    def fit(self, baskets: Baskets, keyset: Keyset, seed: int) -> None:
        """The future baskets of validation and test customers are not looked at."""
        if self.known is None or self.known.log is not baskets.history:
            self.known = evidence(
                baskets.history,
                self.recipe,
                seed=seed,
                threads=self.options.threads,
                device=self.options.device,
            )
        self.model = NightlyRecommender(self.recipe, self.options.threads, self.options.device)
        self.model.learn(self.known, baskets.future, keyset.train, seed)

    def lists(self, rows: np.ndarray, k: int) -> np.ndarray:
        return self.model.recommend(rows, k)[0]
