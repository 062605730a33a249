"""Autoencoders with a multinomial likelihood: sparse rows in, a softmax over the catalogue out."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
import torch
from scipy.sparse import csr_matrix
from torch import Tensor, nn
from torch.nn import functional as F

from portrait.models.autoencoder import Autoencoder
from portrait.models.base import Pair, parameter
from portrait.models.device import chosen
from portrait.models.item_softmax import item_log_likelihood
from portrait.models.precision import PRECISIONS, item_layer_type
from portrait.models.sampled_softmax import draw, inclusion_chances, sampled_log_likelihood
from portrait.models.scoring import LinearDecoder
from portrait.models.sparse_product import transposed_product
from portrait.models.training import SparseBatch, adam, sparse_batch, train


class _WeightedSum(torch.autograd.Function):
    """`F.embedding_bag` with weights, whose gradient by the vectors is a sparse product: torch's own sorts all cells."""

    @staticmethod
    def forward(
        ctx: Any, vectors: Tensor, items: Tensor, offsets: Tensor, weights: Tensor, rows: Tensor
    ) -> Tensor:
        ctx.save_for_backward(items, offsets, weights, rows)
        ctx.size = len(vectors)
        return F.embedding_bag(items, vectors, offsets, mode="sum", per_sample_weights=weights)

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor | None, ...]:
        batch = SparseBatch(*ctx.saved_tensors)
        return transposed_product(batch, upstream[0], ctx.size), *(None,) * 4


class SparseLinear(nn.Module):
    """A linear layer on a sparse row: the weighted sum of item vectors, without a dense users x items input."""

    def __init__(self, n_items: int, width: int) -> None:
        super().__init__()
        self.item_vectors = nn.EmbeddingBag(n_items, width, mode="sum")
        self.bias = nn.Parameter(torch.zeros(width))

    def forward(self, batch: SparseBatch, weights: Tensor) -> Tensor:
        """Float [n, width]; `weights` [nnz] are the values of the batch's cells."""
        vectors, (items, offsets, _, rows) = self.item_vectors.weight, batch
        summed: Tensor
        if vectors.device.type == "cpu":
            summed = _WeightedSum.apply(vectors, items, offsets, weights, rows)
        else:
            summed = F.embedding_bag(items, vectors, offsets, mode="sum", per_sample_weights=weights)
        return summed + self.bias


@dataclass(kw_only=True, eq=False)
class MultinomialAutoencoder(Autoencoder):
    """What Mult-DAE, Mult-VAE and RecVAE share; a subclass has the network and the loss of a batch.

    The input is L2-normalised and dropped out while training; the counts of the multinomial are the
    behaviour weights. With a `validation` pair, training stops `patience` epochs after the best
    NDCG@`validation_k` and keeps that state.

    Parameters
    ----------
    dropout : float
        Share of the input's items dropped while training.
    weight_decay : float
        L2 penalty on all weights.
    batch_size : int
        Customers a step. The papers take 500; fewer get there sooner with some thousands of customers, more
        are quicker with hundreds of thousands.
    epochs, patience : int
        Greatest number of passes over the customers, and passes without a better validation score before
        training stops (0: never).
    log_counts : bool
        Use log2(1 + weight), which leaves a weight of 1 as it is and keeps heavy buyers from deciding
        everything; False takes the weights themselves.
    popularity_start : bool
        Start the decoder's bias at the log of each item's share, as if popularity had been learned already. The
        papers start at nothing; with few customers Adam would then take most of its steps to get there.
    full_softmax_items : int
        With more items than this training takes a sampled softmax (`sampled_softmax`); ranking is by all items always.
    softmax_samples : int
        Items, about, that a step of the sampled softmax looks at beside the customers' own.
    precision : auto, float32 or bfloat16
        Of the item layer's products while training; `auto` takes bfloat16 where the processor or GPU has units for it.
    validation_k : int
        List length of the NDCG that stops training.
    validation_exclude_seen : bool
        Judge on items outside the validation history only (as the papers do); False also counts repeats.
    """

    can_go_on: ClassVar[bool] = True
    ranks_by_item_layer: ClassVar[bool] = False
    """Whether `_decode` is the item layer of `_last_hidden` and nothing else: then lists are made much faster."""

    dropout: float = parameter(0.5, low=0, high=0.99)
    learning_rate: float = parameter(1e-3, low=0)
    weight_decay: float = parameter(0.0, low=0)
    batch_size: int = parameter(200, low=1)
    epochs: int = parameter(100, low=1)
    patience: int = parameter(10, low=0)
    log_counts: bool = parameter(True)
    popularity_start: bool = parameter(True)
    full_softmax_items: int = parameter(50_000, low=1)
    softmax_samples: int = parameter(8192, low=1)
    precision: str = parameter("auto", choices=PRECISIONS)
    validation_k: int = parameter(100, low=1)
    validation_exclude_seen: bool = parameter(True)

    def _loss(self, batch: SparseBatch, epoch: float, noise: torch.Generator) -> Tensor:
        """Mean loss of a batch; `epoch` says how many passes have been made, with fractions."""
        raise NotImplementedError

    def _latent(self, batch: SparseBatch, weights: Tensor) -> Tensor:
        """The latent vector of a batch as it is used when ranking."""
        raise NotImplementedError

    @property
    def _item_layer(self) -> nn.Linear:
        """The last layer, which gives the item logits."""
        layer: nn.Linear = self.module_.to_items  # type: ignore[assignment]
        return layer

    def _linear_decoder(self) -> LinearDecoder | None:
        if not self.ranks_by_item_layer:
            return None
        return LinearDecoder(self._item_layer.weight, self._item_layer.bias)

    @cached_property
    def _chances(self) -> Tensor:
        return torch.from_numpy(inclusion_chances(self.prior_, self.softmax_samples)).to(self._device)

    def _log_likelihood(
        self, hidden: Tensor, batch: SparseBatch, noise: torch.Generator, frozen: bool = False
    ) -> Tensor:
        """Of the batch's counts for what the item layer is given, float [n]; `frozen`: the layer gets no gradient."""
        layer = self._item_layer
        weight, bias = (layer.weight.detach(), layer.bias.detach()) if frozen else (layer.weight, layer.bias)
        if self.n_items <= self.full_softmax_items:
            kind = item_layer_type(self.precision, weight.numel(), weight.device)
            return item_log_likelihood(hidden, weight, bias, batch, kind)
        drawn = draw(self._chances, noise)
        kind = item_layer_type(self.precision, len(drawn) * weight.shape[1], weight.device)
        return sampled_log_likelihood(hidden, weight, bias, batch, self._chances, drawn, kind)

    @property
    def _passes_a_validation(self) -> int:
        """Passes over the customers between two validations; epochs and patience are counted in these."""
        return 1

    def _train(self, train_matrix: csr_matrix, validation: Pair | None, seed: int) -> None:
        self.module_ = module = self._begin(seed)
        self.__dict__.pop("_chances", None)  # of an earlier fit
        counts = self._counts(train_matrix)
        if self.popularity_start or self.items_before_:
            self._start_at_popularity(counts)
        module.to(chosen(self.device))
        steps = int(np.ceil(counts.shape[0] / self.batch_size))

        def batch_loss(rows: np.ndarray, step: int, noise: torch.Generator) -> Tensor:
            batch = sparse_batch(counts[rows], self._device)
            return self._loss(batch, self.passes_before_ + step / steps, noise)

        def validate() -> float:
            assert validation is not None
            return self._validation_ndcg(validation, self.validation_k, self.validation_exclude_seen)

        self.log_ = train(
            module,
            adam(module, self.learning_rate, self.weight_decay),
            batch_loss,
            counts.shape[0],
            epochs=self.epochs * self._passes_a_validation,
            batch_size=self.batch_size,
            seed=seed,
            validate=validate if validation is not None else None,
            validate_every=self._passes_a_validation,
            judge_start=self.start_from is not None,
            patience=self.patience * self._passes_a_validation,
            checkpoint=self._checkpoint(seed, train_matrix, validation),
        ).log

    def _start_at_popularity(self, counts: csr_matrix) -> None:
        """The decoder's bias is the log of each item's share of all counts (one added to every item).

        Items that the start knew keep theirs, and the others are put on their level.
        """
        totals = np.asarray(counts.sum(axis=0), dtype=np.float32).ravel() + 1
        share, known = torch.from_numpy(np.log(totals / totals.sum())), self.items_before_
        with torch.no_grad():
            bias = self._item_layer.bias
            level = (bias[:known] - share[:known]).median() if known else 0.0
            bias[known:] = share[known:] + level

    def _counts(self, matrix: csr_matrix) -> csr_matrix:
        if not self.log_counts:
            return matrix
        data = np.log1p(matrix.data) / np.float32(np.log(2))
        return csr_matrix((data, matrix.indices, matrix.indptr), shape=matrix.shape)

    def _encode(self, history: csr_matrix) -> Tensor:
        batch = sparse_batch(self._counts(history), self._device)
        return self._latent(batch, l2_normalised(batch))


def l2_normalised(batch: SparseBatch) -> Tensor:
    """The batch's weights, float [nnz], such that each row's squares sum to 1."""
    squares = batch.weights.new_zeros(len(batch.offsets)).index_add_(0, batch.rows, batch.weights**2)
    return batch.weights / squares.sqrt()[batch.rows]


def drop(values: Tensor, share: float, noise: torch.Generator) -> Tensor:
    """Set a share of the values to zero and scale up the rest (inverted dropout)."""
    kept = torch.rand(values.shape, generator=noise) >= share
    return values * kept.to(values.device) / (1 - share)


def multinomial_log_likelihood(logits: Tensor, batch: SparseBatch) -> Tensor:
    """Sum over items of count * log softmax(logits), float [n].

    Gathers the logits of the stored items and subtracts count total * logsumexp: no dense target.
    """
    gathered = logits.flatten()[batch.rows * logits.shape[1] + batch.items]
    zeros = batch.weights.new_zeros(len(batch.offsets))
    observed = zeros.index_add(0, batch.rows, batch.weights * gathered)
    totals = zeros.index_add(0, batch.rows, batch.weights)
    return observed - totals * torch.logsumexp(logits, dim=1)


def normal_sample(mean: Tensor, log_variance: Tensor, noise: torch.Generator) -> Tensor:
    """One draw from N(mean, exp(log_variance)) that gradients pass through."""
    drawn = torch.randn(mean.shape, generator=noise).to(mean.device)
    return mean + torch.exp(0.5 * log_variance) * drawn
