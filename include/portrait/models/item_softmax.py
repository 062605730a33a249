"""The multinomial likelihood of a linear item layer: one matrix of customers x items in memory, in float32 or bfloat16."""

from typing import Any

import torch
from torch import Tensor

from portrait.models.device import cells_at_once
from portrait.models.training import SparseBatch

CELLS_AT_ONCE = 400_000
"""Logits that are exponentiated together on the CPU: as many as stay in a core's cache."""


def item_log_likelihood(
    hidden: Tensor, weight: Tensor, bias: Tensor, batch: SparseBatch, kind: torch.dtype = torch.float32
) -> Tensor:
    """Sum over items of count * log softmax(hidden @ weight.T + bias), float32 [n].

    Parameters
    ----------
    hidden : float32 [n, d]
    weight, bias : float32 [n_items, d] and [n_items]
    batch : the counts; a customer's cells are of distinct items
    kind : of the three matrix products, float32 or bfloat16; exponentials and sums are float32.

    The gradient by the logits, count - total * softmax, takes the place of the logits as soon as they have been used.
    """
    found: Tensor = _ItemLogLikelihood.apply(
        hidden, weight, bias, batch.rows, batch.items, batch.weights, kind
    )
    return found


class _ItemLogLikelihood(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        hidden: Tensor,
        weight: Tensor,
        bias: Tensor,
        rows: Tensor,
        items: Tensor,
        counts: Tensor,
        kind: torch.dtype,
    ) -> Tensor:
        hidden, weight = hidden.to(kind), weight.to(kind)
        matrix = hidden @ weight.t()  # without the bias, whose size would cost bfloat16 its last digits
        cells = rows * len(weight) + items
        totals = bias.new_zeros(len(hidden)).index_add_(0, rows, counts)
        own = matrix.flatten()[cells].float() + bias[items]
        observed = bias.new_zeros(len(hidden)).index_add_(0, rows, counts * own)
        log_sums = torch.empty_like(totals)
        size = max(1, cells_at_once(weight.device, CELLS_AT_ONCE) // len(weight))
        for start in range(0, len(hidden), size):
            some = slice(start, start + size)
            part = matrix[some] + bias
            greatest = part.amax(dim=1, keepdim=True)
            sums = part.sub_(greatest).exp_().sum(dim=1, keepdim=True)
            log_sums[some] = (sums.log() + greatest).flatten()
            matrix[some] = part.mul_(-totals[some, None] / sums)
        matrix.flatten().index_add_(0, cells, counts.to(kind))
        ctx.save_for_backward(matrix, hidden, weight)
        return observed - totals * log_sums

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor | None, ...]:
        by_logits, hidden, weight = ctx.saved_tensors
        scale = upstream[0][:, None]
        by_hidden = by_weight = by_bias = None
        if ctx.needs_input_grad[0]:
            by_hidden = (by_logits @ weight).float() * scale
        if ctx.needs_input_grad[1]:
            by_weight = (by_logits.t() @ (hidden * scale).to(hidden.dtype)).float()
        if ctx.needs_input_grad[2]:
            by_bias = (scale.t().to(by_logits.dtype) @ by_logits).float().flatten()
        return by_hidden, by_weight, by_bias, None, None, None, None
