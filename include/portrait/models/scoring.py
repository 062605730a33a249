"""Top-k of a linear decoder for any number of customers, at about the speed of its matrix product."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from scipy.sparse import csr_matrix
from torch import Tensor
from torch.nn import functional as F

from portrait.models.device import cells_at_once
from portrait.models.ranking import BLOCK, mask_out, top_k

ENCODED_ROWS = 4096
"""Customers that are encoded at once."""
SCORED_CELLS = 4_000_000
"""Scores at once on the CPU: few enough to be still in a cache when they are sorted, many enough for a fast product."""


@dataclass(frozen=True)
class LinearDecoder:
    """Item scores of a hidden vector h: `weight` @ h + `bias`; float32 [n_items, d] and [n_items]."""

    weight: Tensor
    bias: Tensor


def ranked(
    decoder: LinearDecoder,
    hidden: Callable[[slice], Tensor],
    cold: np.ndarray,
    prior: np.ndarray,
    mask: csr_matrix | None,
    k: int,
) -> tuple[np.ndarray, np.ndarray]:
    """The k best items of each customer, best first, equal scores by item.

    Parameters
    ----------
    decoder : LinearDecoder
    hidden : slice of customers -> float32 [rows, d]
        The decoder's input, asked for `ENCODED_ROWS` customers at a time.
    cold : bool [n]
        Customers who get `prior`, float32 [n_items], for scores.
    mask : csr_matrix [n, n_items], optional
        Items to leave out. Only the mask's own cells are touched.
    k : int

    Returns
    -------
    items : int32 [n, k], -1 where there are fewer than k candidates
    scores : float32 [n, k], -inf at the padding
    """
    n_rows, n_items = len(cold), decoder.weight.shape[0]
    items = np.empty((n_rows, k), dtype=np.int32)
    values = np.empty((n_rows, k), dtype=np.float32)
    step = min(ENCODED_ROWS, max(1, cells_at_once(decoder.weight.device, SCORED_CELLS) // n_items))
    scores = decoder.weight.new_empty((min(step, n_rows), n_items))
    prior_scores = torch.from_numpy(prior).to(scores.device)
    # The bias as one more column: adding it to the product costs a second pass over all the scores.
    transposed = torch.cat([decoder.weight, decoder.bias.unsqueeze(1)], dim=1).t()
    for first in range(0, n_rows, ENCODED_ROWS):
        encoded = F.pad(hidden(slice(first, min(first + ENCODED_ROWS, n_rows))), (0, 1), value=1.0)
        for start in range(0, len(encoded), step):
            part = encoded[start : start + step]
            rows = slice(first + start, first + start + len(part))
            block = scores[: len(part)]
            torch.mm(part, transposed, out=block)
            block[torch.from_numpy(cold[rows]).to(block.device)] = prior_scores
            items[rows], values[rows] = _best(block, mask[rows] if mask is not None else None, k)
    return items, values


def _best(scores: Tensor, mask: csr_matrix | None, k: int) -> tuple[np.ndarray, np.ndarray]:
    """`ranking.top_k` of a block, which is changed, without the items of `mask`."""
    if scores.shape[1] < 4 * BLOCK * (k + 1):
        on_host = scores.cpu().numpy()
        if mask is not None:
            mask_out(on_host, mask)
        return top_k(on_host, k)
    if mask is not None:
        owner = np.repeat(np.arange(mask.shape[0], dtype=np.int64), np.diff(mask.indptr))
        cells = torch.from_numpy(owner * scores.shape[1] + mask.indices)
        scores.view(-1).index_fill_(0, cells.to(scores.device), -torch.inf)
    found, columns = _block_top(scores, k + 1)
    items = columns[:, :k].to(torch.int32).cpu().numpy()
    values = found[:, :k].cpu().numpy()
    # A score that is also the next one's may be that of a column not looked at; so may -inf.
    level = ~(found[:, k - 1] > found[:, k])
    if level.any():
        rows = level.cpu().numpy()
        items[rows], values[rows] = top_k(scores[level].cpu().numpy(), k)
    return items, values


def _block_top(scores: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """The k greatest scores of each row and their columns, descending, equal scores by column.

    The k greatest of the maxima of `BLOCK` columns each tell k blocks outside which no score is greater than all
    of theirs; only these are sorted.
    """
    n_rows, n_items = scores.shape
    n_blocks = n_items // BLOCK
    # Column c is in block c % n_blocks, so that the maximum runs over whole vectors.
    maxima = scores[:, : BLOCK * n_blocks].view(n_rows, BLOCK, n_blocks).amax(dim=1)
    blocks = maxima.topk(k, dim=1, sorted=False).indices
    within = torch.arange(BLOCK, device=scores.device) * n_blocks
    inside = (blocks[:, :, None] + within).view(n_rows, -1)
    rest = torch.arange(BLOCK * n_blocks, n_items, device=scores.device).expand(n_rows, -1)
    candidates = torch.cat([inside, rest], dim=1)
    found, place = scores.gather(1, candidates).topk(k, dim=1, sorted=False)
    columns, by_column = candidates.gather(1, place).sort(dim=1)
    found, by_score = found.gather(1, by_column).sort(dim=1, descending=True, stable=True)
    return found, columns.gather(1, by_score)
