"""Which nodes belong together: connected components, and the few that must be held apart."""

from dataclasses import dataclass

import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from portrait.config import IdentityConfig
from portrait.identity.apart import Cut, hold_apart
from portrait.identity.graph import Graph


@dataclass(frozen=True)
class Manual:
    """Pairs of nodes that people decided about, int32 [k, 2] each."""

    must: np.ndarray
    cannot: np.ndarray


@dataclass(frozen=True)
class Components:
    """The outcome.

    Attributes
    ----------
    component : int32 [n], numbered by the age of the oldest node; -1 where a node belongs to nobody.
    block : int32 [n], smallest code of all identifiers that one decision may depend on; -1 as above.
    cuts : links that were not followed.
    """

    component: np.ndarray
    block: np.ndarray
    cuts: list[Cut]


def components(graph: Graph, manual: Manual, config: IdentityConfig) -> Components:
    """Number the components of the graph without its demoted nodes.

    All of them are found with scipy's `connected_components`. Only those that break a rule (two values of a unique
    kind, more of a kind than a customer may have, a pair that must not be linked) are taken apart again.
    """
    if not graph.size:
        return Components(np.empty(0, np.int32), np.empty(0, np.int32), [])
    in_use = ~graph.demoted
    in_use[manual.must.ravel()] = True
    left = np.concatenate([graph.left, manual.must[:, 0]])
    right = np.concatenate([graph.right, manual.must[:, 1]])
    label = _connected(left, right, graph.size)

    # One decision may depend on everything that is linked over any time of an identifier.
    _, position = np.unique(graph.code, return_inverse=True)
    by_code = _connected(position[left], position[right], int(position.max()) + 1)[position]
    smallest = np.full(int(by_code.max()) + 1, np.iinfo(np.int32).max, dtype=np.int32)
    np.minimum.at(smallest, by_code, graph.code)
    block = np.where(in_use, smallest[by_code], -1).astype(np.int32)

    broken = _breaks_a_rule(graph, label, in_use, manual, config)
    cuts: list[Cut] = []
    if broken.any():
        label, cuts = hold_apart(graph, label, broken, manual.must, manual.cannot, config)
    return Components(_by_age(label, in_use, graph.former), block, cuts)


def oldest(component: np.ndarray) -> np.ndarray:
    """int64 [components]: each component's oldest node."""
    nodes = np.flatnonzero(component >= 0)
    _, first = np.unique(component[nodes], return_index=True)
    return np.asarray(nodes[first])


def _connected(left: np.ndarray, right: np.ndarray, size: int) -> np.ndarray:
    ones = np.ones(len(left), dtype=np.int8)
    _, label = connected_components(coo_matrix((ones, (left, right)), (size, size)), directed=False)
    return np.asarray(label)


def _breaks_a_rule(
    graph: Graph, label: np.ndarray, in_use: np.ndarray, manual: Manual, config: IdentityConfig
) -> np.ndarray:
    """bool [labels]."""
    count = int(label.max()) + 1
    broken = np.zeros(count, dtype=bool)
    limits = [(kind, 1) for kind in config.unique] + list(config.per_customer.items())
    for kind, limit in limits:
        of_kind = graph.of_kind(kind) & in_use & ~graph.former
        broken |= np.bincount(label[of_kind], minlength=count) > limit
    together = label[manual.cannot[:, 0]] == label[manual.cannot[:, 1]]
    broken[label[manual.cannot[together, 0]]] = True
    return broken


def _by_age(label: np.ndarray, in_use: np.ndarray, former: np.ndarray) -> np.ndarray:
    """Labels numbered by their oldest node; those that only hold times that have ended are nobody."""
    alive = np.zeros(int(label.max()) + 1, dtype=bool)
    alive[label[in_use & ~former]] = True
    kept = in_use & alive[label]
    component = np.full(len(label), -1, dtype=np.int32)
    _, first, inverse = np.unique(label[kept], return_index=True, return_inverse=True)
    place = np.empty(len(first), dtype=np.int32)
    place[np.argsort(first)] = np.arange(len(first), dtype=np.int32)
    component[kept] = place[inverse]
    return component
