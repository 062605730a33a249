"""Mult-DAE: the denoising autoencoder with a multinomial likelihood (Liang et al. 2018)."""

from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor, nn

from portrait.models.base import parameter
from portrait.models.multinomial import (
    MultinomialAutoencoder,
    SparseLinear,
    drop,
    l2_normalised,
)
from portrait.models.training import SparseBatch


class MultDaeNetwork(nn.Module):
    """items -> latent (tanh) -> item logits."""

    def __init__(self, n_items: int, latent: int) -> None:
        super().__init__()
        self.to_latent = SparseLinear(n_items, latent)
        self.to_items = nn.Linear(latent, n_items)

    def encode(self, batch: SparseBatch, weights: Tensor) -> Tensor:
        """Float [n, latent]; `weights` [nnz] are the values of the input."""
        return torch.tanh(self.to_latent(batch, weights))

    def decode(self, latent: Tensor) -> Tensor:
        """Item logits, float [n, n_items]."""
        logits: Tensor = self.to_items(latent)
        return logits


@dataclass(kw_only=True, eq=False)
class MultDae(MultinomialAutoencoder):
    """Mult-DAE: the items that were dropped from the input are predicted from the rest.

    Liang, Krishnan, Hoffman, Jebara, Variational Autoencoders for Collaborative Filtering (WWW 2018), with the
    items -> 200 -> items network of the authors' notebook. `embed` gives the 200 units.

    Parameters
    ----------
    latent : int
        Size of the one hidden layer.
    """

    name: ClassVar[str] = "mult_dae"
    ranks_by_item_layer: ClassVar[bool] = True
    module_: MultDaeNetwork = field(init=False, repr=False)
    latent: int = parameter(200, low=1)

    def _build(self) -> MultDaeNetwork:
        return MultDaeNetwork(self.n_items, self.latent)

    def _loss(self, batch: SparseBatch, epoch: float, noise: torch.Generator) -> Tensor:
        inputs = drop(l2_normalised(batch), self.dropout, noise)
        hidden = self.module_.encode(batch, inputs)
        return -self._log_likelihood(hidden, batch, noise).mean()

    def _latent(self, batch: SparseBatch, weights: Tensor) -> Tensor:
        return self.module_.encode(batch, weights)

    def _decode(self, latent: Tensor) -> Tensor:
        return self.module_.decode(latent)
