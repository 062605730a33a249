"""The autoencoder among the ranker's models: how probable each item is for all that a customer did."""

from dataclasses import dataclass
from typing import Self

import numpy as np
from scipy.sparse import csr_matrix
from scipy.special import softmax

from portrait.errors import PortraitError
from portrait.models import create, model_class
from portrait.models.base import Recommender
from portrait.models.ranking import align, spread_evenly
from portrait.models.rerank.recipe import NAME, Recipe

EPOCHS = 8
"""Passes over the customers, unless the recipe says otherwise; nobody is held out to stop it by."""


@dataclass(frozen=True, eq=False)
class Decoded:
    """An autoencoder, and the histories it reads: csr_matrix [n_customers, n_items], weights of behaviour of any kind."""

    model: Recommender
    history: csr_matrix

    @classmethod
    def trained(
        cls, recipe: Recipe, history: csr_matrix, seed: int, threads: int, device: str = "auto"
    ) -> Self:
        """Learns from at most `autoencoder_customers` histories, evenly spread, for the epochs that the recipe says.

        Raises
        ------
        PortraitError : where the recipe names no autoencoder or a parameter that it does not have.
        """
        kind = model_class(recipe.autoencoder)
        if not kind.has_embedding:
            raise PortraitError(
                f"model '{NAME}': {recipe.autoencoder!r} is no autoencoder; take mult_dae, mult_vae or rec_vae, or '' for none"
            )
        rows = np.flatnonzero(np.diff(history.indptr))
        some = history[rows[spread_evenly(len(rows), recipe.autoencoder_customers)]]
        params = {"epochs": EPOCHS, **recipe.autoencoder_params, **kind.taken(threads=threads, device=device)}
        return cls(create(recipe.autoencoder, **params).fit(some, seed=seed), history)

    def scores(self, rows: np.ndarray) -> np.ndarray:
        """float32 [len(rows), n_items]: the softmax; of a customer without a history the items' shares."""
        history = align(self.history[rows], self.model.n_items)
        chances = softmax(self.model._scores(history), axis=1)
        chances[np.diff(history.indptr) == 0] = self.model.prior_
        found = np.zeros((len(rows), self.history.shape[1]), dtype=np.float32)
        both = min(found.shape[1], chances.shape[1])
        found[:, :both] = chances[:, :both]
        return found
