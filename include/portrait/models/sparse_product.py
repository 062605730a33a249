"""Products of a sparse batch and a dense matrix, each by what is quick on its device."""

import numpy as np
import torch
from scipy.sparse import csr_matrix
from torch import Tensor
from torch.nn import functional as F

from portrait.models.training import SparseBatch


def product(batch: SparseBatch, dense: Tensor) -> Tensor:
    """The batch, as a matrix [n, n_items], times `dense`, float [n_items, d]; without a gradient."""
    if dense.device.type == "cpu":
        return torch.from_numpy(_on_the_cpu(batch, len(dense)) @ dense.numpy())
    return F.embedding_bag(batch.items, dense, batch.offsets, mode="sum", per_sample_weights=batch.weights)


def transposed_product(batch: SparseBatch, dense: Tensor, n_items: int) -> Tensor:
    """The batch's transpose, [n_items, n], times `dense`, float [n, d]; without a gradient."""
    if dense.device.type == "cpu":
        return torch.from_numpy(_on_the_cpu(batch, n_items).T @ dense.numpy())
    order = batch.items.argsort(stable=True)
    offsets = torch.searchsorted(batch.items[order], torch.arange(n_items, device=dense.device))
    return F.embedding_bag(
        batch.rows[order], dense, offsets, mode="sum", per_sample_weights=batch.weights[order]
    )


def _on_the_cpu(batch: SparseBatch, n_items: int) -> csr_matrix:
    """For scipy, whose products of sparse matrices are many times as fast as torch's."""
    pointer = np.append(batch.offsets.numpy(), len(batch.items))
    return csr_matrix(
        (batch.weights.numpy(), batch.items.numpy(), pointer), shape=(len(batch.offsets), n_items)
    )
