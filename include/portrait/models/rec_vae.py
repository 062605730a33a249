"""RecVAE: a variational autoencoder with a composite prior and alternating updates (Shenbin et al. 2020)."""

from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from portrait.models.base import parameter
from portrait.models.multinomial import (
    MultinomialAutoencoder,
    SparseLinear,
    drop,
    l2_normalised,
    normal_sample,
)
from portrait.models.training import SparseBatch

HIDDEN_LAYERS = 5
NORM_EPSILON = 0.1
PRIOR_SHARES = (3 / 20, 3 / 4, 1 / 10)
"""Weights of the composite prior's parts: standard normal, the encoder of before, a broad normal."""
BROAD_LOG_VARIANCE = 10.0
LOG_TWO_PI = float(np.log(2 * np.pi))


class DenseEncoder(nn.Module):
    """Five layers, each fed the sum of all before it: swish, then layer norm; heads for mean and log variance."""

    def __init__(self, n_items: int, hidden: int, latent: int) -> None:
        super().__init__()
        self.first = SparseLinear(n_items, hidden)
        self.others = nn.ModuleList(nn.Linear(hidden, hidden) for _ in range(HIDDEN_LAYERS - 1))
        self.norms = nn.ModuleList(nn.LayerNorm(hidden, eps=NORM_EPSILON) for _ in range(HIDDEN_LAYERS))
        self.to_mean = nn.Linear(hidden, latent)
        self.to_log_variance = nn.Linear(hidden, latent)

    def forward(self, batch: SparseBatch, weights: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log variance, float [n, latent] each; `weights` [nnz] are the values of the input."""
        state = self.norms[0](F.silu(self.first(batch, weights)))
        before = state
        for layer, norm in zip(self.others, self.norms[1:], strict=True):
            state = norm(F.silu(layer(state) + before))
            before = before + state
        return self.to_mean(state), self.to_log_variance(state)


class RecVaeNetwork(nn.Module):
    """A dense encoder, the encoder as it was one alternation ago (part of the prior), a linear decoder."""

    def __init__(self, n_items: int, hidden: int, latent: int) -> None:
        super().__init__()
        self.encoder = DenseEncoder(n_items, hidden, latent)
        self.encoder_before = DenseEncoder(n_items, hidden, latent).requires_grad_(False)
        self.to_items = nn.Linear(latent, n_items)

    def remember_encoder(self) -> None:
        """The prior's encoder becomes the one of now."""
        self.encoder_before.load_state_dict(self.encoder.state_dict())


@dataclass(kw_only=True, eq=False)
class RecVae(MultinomialAutoencoder):
    """RecVAE: encoder and decoder are trained in turn, the KL weight grows with the customer's items.

    Shenbin, Alekseev, Tutubalina, Malykh, Nikolenko, RecVAE: a New Variational Autoencoder for Top-N
    Recommendations with Implicit Feedback (WSDM 2020). An epoch is `encoder_passes` passes that change the
    encoder, with a dropped-out input, then `decoder_passes` that change the decoder, with the whole one. `embed`
    gives the posterior mean.

    Parameters
    ----------
    hidden, latent : int
        Sizes of the layers; the paper's 600 and 200.
    gamma : float
        KL weight per unit of a customer's total weight; the paper takes 0.0035 to 0.01 by data set.
    encoder_passes, decoder_passes : int
        Passes over the customers in turn; the paper's 3 and 1.
    """

    name: ClassVar[str] = "rec_vae"
    ranks_by_item_layer: ClassVar[bool] = True
    module_: RecVaeNetwork = field(init=False, repr=False)
    hidden: int = parameter(600, low=1)
    latent: int = parameter(200, low=1)
    gamma: float = parameter(0.005, low=0)
    encoder_passes: int = parameter(3, low=1)
    decoder_passes: int = parameter(1, low=1)
    learning_rate: float = parameter(5e-4, low=0)
    batch_size: int = parameter(500, low=1)
    epochs: int = parameter(50, low=1)

    @property
    def _passes_a_validation(self) -> int:
        return self.encoder_passes + self.decoder_passes

    def _build(self) -> RecVaeNetwork:
        return RecVaeNetwork(self.n_items, self.hidden, self.latent)

    def _loss(self, batch: SparseBatch, epoch: float, noise: torch.Generator) -> Tensor:
        within = epoch % self._passes_a_validation
        if within < self.encoder_passes:
            return self._encoder_loss(batch, noise)
        if within == self.encoder_passes:
            self.module_.remember_encoder()
        return self._decoder_loss(batch, noise)

    def _encoder_loss(self, batch: SparseBatch, noise: torch.Generator) -> Tensor:
        """-(log-likelihood - gamma * total weight * KL), of which only the encoder gets a gradient."""
        whole = l2_normalised(batch)
        mean, log_variance = self.module_.encoder(batch, drop(whole, self.dropout, noise))
        with torch.no_grad():
            prior_mean, prior_log_variance = self.module_.encoder_before(batch, whole)
        latent = normal_sample(mean, log_variance, noise)
        divergence = log_normal(latent, mean, log_variance) - log_composite_prior(
            latent, prior_mean, prior_log_variance
        )
        totals = batch.weights.new_zeros(len(batch.offsets)).index_add_(0, batch.rows, batch.weights)
        likelihood = self._log_likelihood(latent, batch, noise, frozen=True)
        return (self.gamma * totals * divergence.sum(dim=1) - likelihood).mean()

    def _decoder_loss(self, batch: SparseBatch, noise: torch.Generator) -> Tensor:
        """-log-likelihood, of which only the decoder gets a gradient (the KL does not depend on it)."""
        with torch.no_grad():
            mean, log_variance = self.module_.encoder(batch, l2_normalised(batch))
            latent = normal_sample(mean, log_variance, noise)
        return -self._log_likelihood(latent, batch, noise).mean()

    def _latent(self, batch: SparseBatch, weights: Tensor) -> Tensor:
        mean: Tensor = self.module_.encoder(batch, weights)[0]
        return mean

    def _decode(self, latent: Tensor) -> Tensor:
        logits: Tensor = self.module_.to_items(latent)
        return logits


def log_normal(values: Tensor, mean: Tensor, log_variance: Tensor) -> Tensor:
    """Log density of N(mean, exp(log_variance)) at each value, elementwise."""
    return -0.5 * (LOG_TWO_PI + log_variance + (values - mean) ** 2 / log_variance.exp())


def log_composite_prior(latent: Tensor, mean_before: Tensor, log_variance_before: Tensor) -> Tensor:
    """Log density, elementwise, of the mixture of N(0, 1), the encoder of before, and a broad N(0, e^10)."""
    zero = latent.new_zeros(())
    parts = (
        log_normal(latent, zero, zero),
        log_normal(latent, mean_before, log_variance_before),
        log_normal(latent, zero, zero + BROAD_LOG_VARIANCE),
    )
    shares = torch.tensor(PRIOR_SHARES).log()  # three numbers, for any device
    weighted = [part + share for part, share in zip(parts, shares, strict=True)]
    return torch.stack(weighted).logsumexp(dim=0)
