"""What customers are interested in, as a vector: of what they typed and of what they touched."""

from collections.abc import Iterator

import numpy as np
from scipy.sparse import coo_matrix, csr_matrix

from portrait.features.text.model import unit

BLOCK = 100_000
"""Customers whose vectors are computed at once."""

Part = tuple[csr_matrix, np.ndarray]
"""Weights, customers x targets (queries or products), and the targets' vectors, float32 [targets, dimensions]."""


def touches(
    customer: np.ndarray, target: np.ndarray, weight: np.ndarray, shape: tuple[int, int]
) -> csr_matrix:
    """Weights as a matrix, float32 [customers, targets]; rows with the same customer and target add up.

    The order of the rows does not matter as long as each pair comes once.

    Raises
    ------
    ValueError : when a position lies outside `shape`, or a weight is no number.
    """
    if not np.isfinite(weight).all():
        raise ValueError("a weight is not a finite number")
    found = coo_matrix((weight.astype(np.float32, copy=False), (customer, target)), shape=shape).tocsr()
    found.sort_indices()
    return found


def customer_interest(*parts: Part) -> np.ndarray:
    """Float32 [customers, dimensions]: the weighted sum over all parts, of length 1.

    All zeros for a customer without anything that has a vector (`model.has_vector` says which).
    """
    return np.vstack([vectors for _, vectors in interest_blocks(*parts)])


def interest_blocks(*parts: Part) -> Iterator[tuple[int, np.ndarray]]:
    """The same a block of customers at a time: first position, vectors."""
    customers = parts[0][0].shape[0]
    for start in range(0, max(customers, 1), BLOCK):
        end = min(start + BLOCK, customers)
        total = np.zeros((end - start, parts[0][1].shape[1]), np.float32)
        for weights, vectors in parts:
            total += weights[start:end] @ vectors
        yield start, unit(total)
