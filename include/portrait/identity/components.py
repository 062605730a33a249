"""Which identifiers belong together: connected components of what has met."""

import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from portrait.identity.graph import Graph


def components(graph: Graph, demoted: np.ndarray) -> np.ndarray:
    """Number the components of the graph without its demoted identifiers.

    Returns
    -------
    int32 [n]: the component of each identifier, numbered by the age of its oldest one; -1 where demoted.
    """
    if not graph.size:
        return np.empty(0, dtype=np.int32)
    linking = ~(demoted[graph.left] | demoted[graph.right])
    left, right = graph.left[linking], graph.right[linking]
    ones = np.ones(len(left), dtype=np.int8)
    _, label = connected_components(
        coo_matrix((ones, (left, right)), (graph.size, graph.size)), directed=False
    )
    component = np.full(graph.size, -1, dtype=np.int32)
    kept = label[~demoted]
    _, first, inverse = np.unique(kept, return_index=True, return_inverse=True)
    by_age = np.empty(len(first), dtype=np.int32)
    by_age[np.argsort(first)] = np.arange(len(first), dtype=np.int32)
    component[~demoted] = by_age[inverse]
    return component


def oldest(component: np.ndarray) -> np.ndarray:
    """int64 [components]: the code of each component's oldest identifier."""
    codes = np.flatnonzero(component >= 0)
    _, first = np.unique(component[codes], return_index=True)
    return np.asarray(codes[first])
