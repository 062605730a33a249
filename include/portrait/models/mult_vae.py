"""Mult-VAE: the variational autoencoder with a multinomial likelihood (Liang et al. 2018)."""

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
    normal_sample,
)
from portrait.models.training import SparseBatch


class MultVaeNetwork(nn.Module):
    """items -> hidden (tanh) -> mean and log variance of the latent -> hidden (tanh) -> item logits."""

    def __init__(self, n_items: int, hidden: int, latent: int) -> None:
        super().__init__()
        self.to_hidden = SparseLinear(n_items, hidden)
        self.to_latent = nn.Linear(hidden, 2 * latent)
        self.from_latent = nn.Linear(latent, hidden)
        self.to_items = nn.Linear(hidden, n_items)

    def encode(self, batch: SparseBatch, weights: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log variance, float [n, latent] each; `weights` [nnz] are the values of the input."""
        mean, log_variance = self.to_latent(torch.tanh(self.to_hidden(batch, weights))).chunk(2, dim=1)
        return mean, log_variance

    def last_hidden(self, latent: Tensor) -> Tensor:
        """What the item layer is given, float [n, hidden]."""
        return torch.tanh(self.from_latent(latent))

    def decode(self, latent: Tensor) -> Tensor:
        """Item logits, float [n, n_items]."""
        logits: Tensor = self.to_items(self.last_hidden(latent))
        return logits


class ShallowVaeNetwork(nn.Module):
    """items -> mean and log variance of the latent -> item logits: the paper's I -> K -> I."""

    def __init__(self, n_items: int, latent: int) -> None:
        super().__init__()
        self.to_latent = SparseLinear(n_items, 2 * latent)
        self.to_items = nn.Linear(latent, n_items)

    def encode(self, batch: SparseBatch, weights: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log variance, float [n, latent] each; `weights` [nnz] are the values of the input."""
        mean, log_variance = self.to_latent(batch, weights).chunk(2, dim=1)
        return mean, log_variance

    def last_hidden(self, latent: Tensor) -> Tensor:
        """What the item layer is given: the latent vector."""
        return latent

    def decode(self, latent: Tensor) -> Tensor:
        """Item logits, float [n, n_items]."""
        logits: Tensor = self.to_items(latent)
        return logits


@dataclass(kw_only=True, eq=False)
class MultVae(MultinomialAutoencoder):
    """Mult-VAE with partial regularisation: log-likelihood - beta * KL, beta growing to a cap.

    Liang, Krishnan, Hoffman, Jebara, Variational Autoencoders for Collaborative Filtering (WWW 2018). `embed`
    gives the posterior mean.

    Parameters
    ----------
    hidden : int
        Size of the layer on either side of the latent; the paper's 600. 0 leaves both out, which overfits
        less where there are only some thousands of customers.
    latent : int
        Size of the latent; the paper's 200.
    anneal_cap : float
        Greatest beta.
    anneal_epochs : float
        Epochs over which beta grows from 0 to the cap.
    """

    name: ClassVar[str] = "mult_vae"
    ranks_by_item_layer: ClassVar[bool] = True
    module_: MultVaeNetwork | ShallowVaeNetwork = field(init=False, repr=False)
    hidden: int = parameter(600, low=0)
    latent: int = parameter(200, low=1)
    anneal_cap: float = parameter(0.2, low=0)
    anneal_epochs: float = parameter(50.0, low=0)

    def _build(self) -> MultVaeNetwork | ShallowVaeNetwork:
        if self.hidden == 0:
            return ShallowVaeNetwork(self.n_items, self.latent)
        return MultVaeNetwork(self.n_items, self.hidden, self.latent)

    def _loss(self, batch: SparseBatch, epoch: float, noise: torch.Generator) -> Tensor:
        inputs = drop(l2_normalised(batch), self.dropout, noise)
        mean, log_variance = self.module_.encode(batch, inputs)
        hidden = self.module_.last_hidden(normal_sample(mean, log_variance, noise))
        beta = self.anneal_cap * (min(1.0, epoch / self.anneal_epochs) if self.anneal_epochs else 1.0)
        divergence = kl_from_standard_normal(mean, log_variance)
        return (beta * divergence - self._log_likelihood(hidden, batch, noise)).mean()

    def _latent(self, batch: SparseBatch, weights: Tensor) -> Tensor:
        return self.module_.encode(batch, weights)[0]

    def _decode(self, latent: Tensor) -> Tensor:
        return self.module_.decode(latent)

    def _last_hidden(self, latent: Tensor) -> Tensor:
        return self.module_.last_hidden(latent)


def kl_from_standard_normal(mean: Tensor, log_variance: Tensor) -> Tensor:
    """KL(N(mean, variance) || N(0, 1)) summed over the latent dimensions, float [n]."""
    return 0.5 * (mean**2 + log_variance.exp() - 1 - log_variance).sum(dim=1)
