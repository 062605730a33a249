"""Mult-VAE: the variational autoencoder with a multinomial likelihood (Liang et al. 2018)."""

from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
import torch
from scipy.sparse import csr_matrix
from torch import Tensor, nn
from torch.nn import functional as F

from portrait.models.autoencoder import Autoencoder
from portrait.models.base import Pair, parameter
from portrait.models.training import SparseBatch, initialised, sparse_batch, train


class MultVaeNetwork(nn.Module):
    """items -> hidden (tanh) -> mean and log variance of the latent -> hidden (tanh) -> item logits.

    The first layer is a weighted sum of item vectors (`F.embedding_bag`), which is a linear layer on a
    sparse row: the users x items input is never made dense.
    """

    def __init__(self, n_items: int, hidden: int, latent: int) -> None:
        super().__init__()
        self.item_vectors = nn.EmbeddingBag(n_items, hidden, mode="sum")
        self.input_bias = nn.Parameter(torch.zeros(hidden))
        self.to_latent = nn.Linear(hidden, 2 * latent)
        self.from_latent = nn.Linear(latent, hidden)
        self.to_items = nn.Linear(hidden, n_items)

    def encode(self, batch: SparseBatch, weights: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log variance, float [n, latent] each; `weights` [nnz] are the values of the input."""
        summed = F.embedding_bag(
            batch.items, self.item_vectors.weight, batch.offsets, mode="sum", per_sample_weights=weights
        )
        mean, log_variance = self.to_latent(torch.tanh(summed + self.input_bias)).chunk(2, dim=1)
        return mean, log_variance

    def decode(self, latent: Tensor) -> Tensor:
        """Item logits, float [n, n_items]."""
        logits: Tensor = self.to_items(torch.tanh(self.from_latent(latent)))
        return logits


@dataclass(kw_only=True, eq=False)
class MultVae(Autoencoder):
    """Mult-VAE with partial regularisation: log-likelihood - beta * KL, beta growing to a cap.

    Liang, Krishnan, Hoffman, Jebara, Variational Autoencoders for Collaborative Filtering (WWW 2018). The
    input is L2-normalised and dropped out; the counts of the multinomial are the behaviour weights.
    With a `validation` pair, training stops `patience` epochs after the best NDCG@`validation_k` and keeps
    that state. `embed` gives the posterior mean.

    Parameters
    ----------
    hidden, latent : int
        Sizes of the layers; the paper's 600 and 200.
    dropout : float
        Share of the input's items dropped while training.
    anneal_cap : float
        Greatest beta.
    anneal_epochs : float
        Epochs over which beta grows from 0 to the cap.
    weight_decay : float
        L2 penalty on all weights.
    batch_size : int
        Customers a step. The paper takes 500; 200 gets there sooner with some thousands of customers, 500 and
        more is quicker with hundreds of thousands.
    log_counts : bool
        Use log2(1 + weight), which leaves a weight of 1 as it is and keeps heavy buyers from deciding
        everything; False takes the weights themselves.
    validation_k : int
        List length of the NDCG that stops training.
    validation_exclude_seen : bool
        Judge on items outside the validation history only (as the paper does); False also counts repeats.
    """

    name: ClassVar[str] = "multvae"
    module_: MultVaeNetwork = field(init=False, repr=False)
    hidden: int = parameter(600, low=1)
    latent: int = parameter(200, low=1)
    dropout: float = parameter(0.5, low=0, high=0.99)
    anneal_cap: float = parameter(0.2, low=0)
    anneal_epochs: float = parameter(50.0, low=0)
    learning_rate: float = parameter(1e-3, low=0)
    weight_decay: float = parameter(0.0, low=0)
    batch_size: int = parameter(200, low=1)
    epochs: int = parameter(100, low=1)
    patience: int = parameter(10, low=0)
    log_counts: bool = parameter(True)
    validation_k: int = parameter(100, low=1)
    validation_exclude_seen: bool = parameter(True)

    def _build(self) -> MultVaeNetwork:
        return MultVaeNetwork(self.n_items, self.hidden, self.latent)

    def _train(self, train_matrix: csr_matrix, validation: Pair | None, seed: int) -> None:
        self.module_ = module = initialised(self._build, seed)
        optimiser = torch.optim.Adam(
            module.parameters(), lr=self.learning_rate, weight_decay=self.weight_decay, fused=True
        )
        counts = self._counts(train_matrix)
        n_rows = counts.shape[0]
        anneal_steps = self.anneal_epochs * np.ceil(n_rows / self.batch_size)

        def batch_loss(rows: np.ndarray, step: int, noise: torch.Generator) -> Tensor:
            batch = sparse_batch(counts[rows])
            inputs = drop(l2_normalised(batch), self.dropout, noise)
            mean, log_variance = module.encode(batch, inputs)
            latent = mean + torch.exp(0.5 * log_variance) * torch.randn(mean.shape, generator=noise)
            beta = self.anneal_cap * min(1.0, (step + 1) / anneal_steps) if anneal_steps else self.anneal_cap
            likelihood = multinomial_log_likelihood(module.decode(latent), batch)
            return (beta * kl_from_standard_normal(mean, log_variance) - likelihood).mean()

        def validate() -> float:
            assert validation is not None
            return self._validation_ndcg(validation, self.validation_k, self.validation_exclude_seen)

        self.log_ = train(
            module,
            optimiser,
            batch_loss,
            n_rows,
            epochs=self.epochs,
            batch_size=self.batch_size,
            seed=seed,
            validate=validate if validation is not None else None,
            patience=self.patience,
            checkpoint=self._checkpoint(seed, train_matrix, validation),
        ).log

    def _counts(self, matrix: csr_matrix) -> csr_matrix:
        if not self.log_counts:
            return matrix
        data = np.log1p(matrix.data) / np.float32(np.log(2))
        return csr_matrix((data, matrix.indices, matrix.indptr), shape=matrix.shape)

    def _encode(self, history: csr_matrix) -> Tensor:
        batch = sparse_batch(self._counts(history))
        return self.module_.encode(batch, l2_normalised(batch))[0]

    def _decode(self, latent: Tensor) -> Tensor:
        return self.module_.decode(latent)


def l2_normalised(batch: SparseBatch) -> Tensor:
    """The batch's weights, float [nnz], such that each row's squares sum to 1."""
    squares = torch.zeros(len(batch.offsets)).index_add_(0, batch.rows, batch.weights**2)
    return batch.weights / squares.sqrt()[batch.rows]


def drop(values: Tensor, share: float, noise: torch.Generator) -> Tensor:
    """Set a share of the values to zero and scale up the rest (inverted dropout)."""
    return values * (torch.rand(values.shape, generator=noise) >= share) / (1 - share)


def multinomial_log_likelihood(logits: Tensor, batch: SparseBatch) -> Tensor:
    """Sum over items of count * log softmax(logits), float [n].

    Gathers the logits of the stored items and subtracts count total * logsumexp: no dense target.
    """
    gathered = logits.flatten()[batch.rows * logits.shape[1] + batch.items]
    zeros = torch.zeros(len(batch.offsets))
    observed = zeros.index_add(0, batch.rows, batch.weights * gathered)
    totals = zeros.index_add(0, batch.rows, batch.weights)
    return observed - totals * torch.logsumexp(logits, dim=1)


def kl_from_standard_normal(mean: Tensor, log_variance: Tensor) -> Tensor:
    """KL(N(mean, variance) || N(0, 1)) summed over the latent dimensions, float [n]."""
    return 0.5 * (mean**2 + log_variance.exp() - 1 - log_variance).sum(dim=1)
