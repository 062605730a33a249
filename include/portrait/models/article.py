"""The source article's autoencoder, with its mistakes corrected."""

from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
import torch
from scipy.sparse import csr_matrix
from torch import Tensor, nn
from torch.nn import functional as F

from portrait.models.autoencoder import Autoencoder
from portrait.models.base import Pair, parameter
from portrait.models.device import chosen
from portrait.models.training import adam, initialised, train


class ArticleNetwork(nn.Module):
    """items -> 128 -> 64 -> 128 -> items, ReLU between, sigmoid at the end."""

    def __init__(self, n_items: int, hidden: int, latent: int) -> None:
        super().__init__()
        self.encoder = nn.Sequential(
            nn.Linear(n_items, hidden), nn.ReLU(), nn.Linear(hidden, latent), nn.ReLU()
        )
        self.decoder = nn.Sequential(
            nn.Linear(latent, hidden), nn.ReLU(), nn.Linear(hidden, n_items), nn.Sigmoid()
        )


@dataclass(kw_only=True, eq=False)
class Article(Autoencoder):
    """Linear-ReLU-Linear-ReLU and its mirror with a sigmoid, MSE, Adam 0.001, batch 64, 10 epochs.

    The design of the article that Portrait grew from, kept as a baseline. Corrected here:

    - it trained on single user-item cells; a sample is now a customer's whole row of items;
    - it took `len(batch)` of a tuple (always 3) for the batch size; batches are counted in customers, and
      the mean loss of an epoch is weighted by them;
    - a sigmoid was asked to reproduce ratings up to 5; a row is divided by its greatest weight, so that it
      lies in [0, 1];
    - validation data got freshly fitted id encoders; item positions here are the same everywhere;
    - nothing was saved, though the service loaded a file; `save` and `load` do;
    - what the customer already has was recommended back; `recommend` leaves it out unless told otherwise;
    - an unknown item raised; it is ignored here, and an empty history gets the popular items.

    `validation` is not looked at: the article has no early stopping. `embed` gives the 64 bottleneck units.
    """

    name: ClassVar[str] = "article"
    module_: ArticleNetwork = field(init=False, repr=False)
    hidden: int = parameter(128, low=1)
    latent: int = parameter(64, low=1)
    learning_rate: float = parameter(1e-3, low=0)
    batch_size: int = parameter(64, low=1)
    epochs: int = parameter(10, low=1)

    def _build(self) -> ArticleNetwork:
        return ArticleNetwork(self.n_items, self.hidden, self.latent)

    def _train(self, train_matrix: csr_matrix, validation: Pair | None, seed: int) -> None:
        self.module_ = module = initialised(self._build, seed).to(chosen(self.device))

        def batch_loss(rows: np.ndarray, step: int, noise: torch.Generator) -> Tensor:
            target = scaled_rows(train_matrix[rows]).to(self._device)
            return F.mse_loss(module.decoder(module.encoder(target)), target)

        checkpoint = self._checkpoint(seed, train_matrix, None)
        self.log_ = train(
            module,
            adam(module, self.learning_rate),
            batch_loss,
            train_matrix.shape[0],
            epochs=self.epochs,
            batch_size=self.batch_size,
            seed=seed,
            checkpoint=checkpoint,
        ).log

    def _encode(self, history: csr_matrix) -> Tensor:
        latent: Tensor = self.module_.encoder(scaled_rows(history).to(self._device))
        return latent

    def _decode(self, latent: Tensor) -> Tensor:
        scores: Tensor = self.module_.decoder(latent)
        return scores


def scaled_rows(matrix: csr_matrix) -> Tensor:
    """Dense float32 [n, n_items] in [0, 1]: each row divided by its greatest weight (an empty one is 0)."""
    dense = matrix.toarray().astype(np.float32, copy=False)
    return torch.from_numpy(dense / np.maximum(dense.max(axis=1, keepdims=True), np.float32(1e-12)))
