"""What customers are interested in, as a vector: of what they typed and of what they touched."""

from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
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


def asked_queries(searched: pa.Table) -> pa.Table:
    """query and count, ascending by query: what was searched for and how often, of columns query and searches."""
    found = searched.group_by("query").aggregate([("searches", "sum")]).sort_by("query")
    return found.rename_columns({"searches_sum": "count"})


def searched_touches(
    searched: pa.Table, queries: pa.Table, customer: np.ndarray, customers: int
) -> csr_matrix:
    """Weights of searches as a matrix, float32 [customers, queries].

    Parameters
    ----------
    searched : columns query and weight.
    queries : as `asked_queries` gives them; its rows are the matrix's columns.
    customer : int [rows of `searched`], the row of each.
    """
    place = pc.index_in(searched["query"], value_set=queries["query"].combine_chunks())
    shape = (customers, queries.num_rows)
    return touches(customer, place.to_numpy(), searched["weight"].to_numpy(), shape)


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
