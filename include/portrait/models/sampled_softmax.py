"""A multinomial likelihood on some of the items, for catalogues whose full softmax is too much work.

The normaliser of a customer's softmax, the sum over all items of exp(logit), is estimated: the customer's own items and
a drawn set of others are summed, each drawn one divided by its chance of being drawn (Horvitz and Thompson 1952; in the
logarithm this is the "logQ" correction of Bengio and Senecal, IEEE Transactions on Neural Networks 2008). Popular items
have a chance of one and so are always in it.
"""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from portrait.models.device import cells_at_once
from portrait.models.item_softmax import CELLS_AT_ONCE
from portrait.models.sparse_product import product, transposed_product
from portrait.models.training import SparseBatch

EXPONENT = 0.75
"""An item's chance grows with its share to this power (Mikolov et al., NIPS 2013)."""


def inclusion_chances(share: np.ndarray, samples: int) -> np.ndarray:
    """Chances in (0, 1] that add up to `samples` (all are 1 where there are no more items than that).

    Parameters
    ----------
    share : float [n_items]
        Shares of all weight; an item without any counts as if it had a tenth of the mean share.

    Returns
    -------
    float32 [n_items]
    """
    wanted = min(samples, len(share))
    size = np.maximum(share.astype(np.float64), 0.1 / len(share)) ** EXPONENT
    always = np.zeros(len(share), dtype=bool)
    while True:
        rest = wanted - int(always.sum())
        chance = np.where(always, 1.0, size * (rest / max(size[~always].sum(), 1e-300)))
        more = (chance >= 1) & ~always
        if not more.any():
            return chance.astype(np.float32)
        always |= more


def draw(chances: Tensor, noise: torch.Generator) -> Tensor:
    """Items drawn independently, each by its own chance: int64, ascending; about as many as the chances add up to."""
    lots = torch.rand(chances.shape, generator=noise).to(chances.device)
    return torch.nonzero(lots < chances).flatten()


def sampled_log_likelihood(
    hidden: Tensor,
    weight: Tensor,
    bias: Tensor,
    batch: SparseBatch,
    chances: Tensor,
    drawn: Tensor,
    kind: torch.dtype = torch.float32,
) -> Tensor:
    """Sum over items of count * log softmax(hidden @ weight.T + bias), the normaliser estimated; float [n].

    Parameters
    ----------
    hidden : float [n, d]
    weight, bias : float [n_items, d] and [n_items]
    batch : the counts; a customer's cells are of distinct items
    chances : float [n_items] of `inclusion_chances`
    drawn : int64, distinct items, of `draw`
    kind : of the products with the drawn items, float32 or bfloat16

    The estimate of the normaliser is without bias; its logarithm, and with it the gradient, is so in the limit of many
    samples, and exact where everything is drawn.
    """
    found: Tensor = _SampledLogLikelihood.apply(
        hidden, weight, bias, batch.offsets, batch.rows, batch.items, batch.weights, chances, drawn, kind
    )
    return found


class _SampledLogLikelihood(torch.autograd.Function):
    """With the gradient by the item layer as one sparse and one small dense product, not by cell."""

    @staticmethod
    def forward(
        ctx: Any,
        hidden: Tensor,
        weight: Tensor,
        bias: Tensor,
        offsets: Tensor,
        rows: Tensor,
        items: Tensor,
        counts: Tensor,
        chances: Tensor,
        drawn: Tensor,
        kind: torch.dtype,
    ) -> Tensor:
        n = len(hidden)
        narrow, some_weight = hidden.to(kind), weight[drawn].to(kind)
        own = _own_products(hidden, weight, rows, items) + bias[items]
        matrix = narrow @ some_weight.t()
        _leave_out_own(matrix, rows, items, drawn, len(weight))
        shift = bias[drawn] - chances[drawn].log()
        totals = bias.new_zeros(n).index_add_(0, rows, counts)
        highest = bias.new_full((n,), -torch.inf).scatter_reduce_(0, rows, own, "amax")
        log_sums, by_own = torch.empty_like(totals), torch.empty_like(own)
        size = max(1, cells_at_once(hidden.device, CELLS_AT_ONCE) // max(len(drawn), 1))
        for start in range(0, n, size):
            some = slice(start, start + size)
            cells = slice(int(offsets[start]), int(offsets[start + size]) if start + size < n else len(items))
            part = matrix[some] + shift
            greatest = highest[some]
            if len(drawn):
                greatest = torch.maximum(greatest, part.amax(dim=1))
            part.sub_(greatest[:, None]).exp_()
            of = rows[cells] - start
            own_part = (own[cells] - greatest[of]).exp_()
            sums = part.sum(dim=1).index_add_(0, of, own_part)
            log_sums[some] = sums.log() + greatest
            factor = totals[some] / sums
            matrix[some] = part.mul_(-factor[:, None])
            by_own[cells] = counts[cells] - own_part * factor[of]
        ctx.save_for_backward(hidden, weight, offsets, rows, items, drawn, matrix, some_weight, by_own)
        observed = bias.new_zeros(n).index_add_(0, rows, counts * own)
        return observed - totals * log_sums

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor | None, ...]:
        hidden, weight, offsets, rows, items, drawn, matrix, some_weight, by_own = ctx.saved_tensors
        scale = upstream[0][:, None]
        by_cell = by_own * upstream[0][rows]
        cells = SparseBatch(items, offsets, by_cell, rows)
        by_hidden = by_weight = by_bias = None
        if ctx.needs_input_grad[0]:
            by_hidden = (matrix @ some_weight).float() * scale
            by_hidden += product(cells, weight.detach())
        if ctx.needs_input_grad[1]:
            by_weight = transposed_product(cells, hidden.detach(), len(weight))
            by_weight.index_add_(0, drawn, (matrix.t() @ (hidden * scale).to(matrix.dtype)).float())
        if ctx.needs_input_grad[2]:
            by_bias = by_cell.new_zeros(len(weight)).index_add_(0, items, by_cell)
            by_bias.index_add_(0, drawn, (scale.t().to(matrix.dtype) @ matrix).float().flatten())
        return by_hidden, by_weight, by_bias, *(None,) * 7


def _own_products(hidden: Tensor, weight: Tensor, rows: Tensor, items: Tensor) -> Tensor:
    """hidden[row] . weight[item] of each cell, float [nnz], some cells at a time."""
    size = max(1, cells_at_once(hidden.device, CELLS_AT_ONCE) // hidden.shape[1])
    parts = [
        torch.einsum("nd,nd->n", hidden[rows[s : s + size]], weight[items[s : s + size]])
        for s in range(0, len(items), size)
    ]
    return torch.cat(parts) if parts else hidden.new_zeros(0)


def _leave_out_own(matrix: Tensor, rows: Tensor, items: Tensor, drawn: Tensor, n_items: int) -> None:
    """Set the cells of drawn items that are the customer's own to minus infinity: they are summed already."""
    place = items.new_full((n_items,), -1)
    place[drawn] = torch.arange(len(drawn), device=items.device)
    found = place[items]
    matrix[rows[found >= 0], found[found >= 0]] = -torch.inf
