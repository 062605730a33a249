"""A multinomial likelihood on some of the items, for catalogues whose full softmax is too much work.

The normaliser of a customer's softmax, the sum over all items of exp(logit), is estimated: the customer's own items and
a drawn set of others are summed, each drawn one divided by its chance of being drawn (Horvitz and Thompson 1952; in the
logarithm this is the "logQ" correction of Bengio and Senecal, IEEE Transactions on Neural Networks 2008). Popular items
have a chance of one and so are always in it.
"""

import numpy as np
import torch
from torch import Tensor

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
    return torch.nonzero(torch.rand(chances.shape, generator=noise) < chances).flatten()


def sampled_log_likelihood(
    hidden: Tensor, weight: Tensor, bias: Tensor, batch: SparseBatch, chances: Tensor, drawn: Tensor
) -> Tensor:
    """Sum over items of count * log softmax(hidden @ weight.T + bias), the normaliser estimated; float [n].

    Parameters
    ----------
    hidden : float [n, d]
    weight, bias : float [n_items, d] and [n_items]
    batch : the counts; a customer's cells are of distinct items
    chances : float [n_items] of `inclusion_chances`
    drawn : int64, distinct items, of `draw`

    The estimate of the normaliser is without bias; its logarithm, and with it the gradient, is so in the limit of many
    samples, and exact where everything is drawn.
    """
    own = (hidden[batch.rows] * weight[batch.items]).sum(dim=1) + bias[batch.items]
    others = torch.addmm(bias[drawn] - chances[drawn].log(), hidden, weight[drawn].t())
    others = others.masked_fill(_own_cells(batch, drawn, others.shape, len(chances)), -torch.inf)
    totals = torch.zeros(len(hidden)).index_add(0, batch.rows, batch.weights)
    observed = torch.zeros(len(hidden)).index_add(0, batch.rows, batch.weights * own)
    return observed - totals * _log_sum(own, others, batch.rows)


def _own_cells(batch: SparseBatch, drawn: Tensor, shape: torch.Size, n_items: int) -> Tensor:
    """Bool [n, drawn]: the drawn items that are the customer's own, which are summed already."""
    place = torch.full((n_items,), -1, dtype=torch.int64)
    place[drawn] = torch.arange(len(drawn))
    found = place[batch.items]
    cells = torch.zeros(shape, dtype=torch.bool)
    cells[batch.rows[found >= 0], found[found >= 0]] = True
    return cells


def _log_sum(own: Tensor, others: Tensor, rows: Tensor) -> Tensor:
    """log of the sums of exp(own) by row and of exp(others), float [n]; the greatest is taken out of the sum first."""
    with torch.no_grad():
        greatest = others.amax(dim=1) if others.shape[1] else torch.full((len(others),), -torch.inf)
        greatest = greatest.scatter_reduce(0, rows, own, "amax")
    sums = (others - greatest[:, None]).exp().sum(dim=1)
    return sums.index_add(0, rows, (own - greatest[rows]).exp()).log() + greatest
