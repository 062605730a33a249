"""Taking components apart that hold what must stay apart, the weakest links first.

Links are followed from the strongest to the weakest (Kruskal's order) and one that would join what must stay apart is
left out. The order depends on the data alone, so the outcome does not depend on the order of rows or nights.
"""

from dataclasses import dataclass

import numpy as np

from portrait.config import IdentityConfig
from portrait.identity.graph import Graph


@dataclass(frozen=True)
class Cut:
    """A link that was not followed.

    Attributes
    ----------
    node, other : its weaker and its stronger end.
    reason : unique, per_customer or cannot_link.
    kind : the kind that would be too many; of the other end for cannot_link.
    touched, cap : how many the customer would have had, and may have.
    """

    node: int
    other: int
    reason: str
    kind: str
    touched: int
    cap: int


def hold_apart(
    graph: Graph,
    label: np.ndarray,
    broken: np.ndarray,
    must: np.ndarray,
    cannot: np.ndarray,
    config: IdentityConfig,
) -> tuple[np.ndarray, list[Cut]]:
    """New labels, those of `broken` ones refined, and what was cut.

    A link's strength is the priority of its weaker end, then of its stronger end, then how many rows showed it, then
    how lately, then the age of its ends. Two values of a unique kind may come together over links whose weaker end is
    of that kind or a stronger one, and over manual rules.
    """
    nodes = np.flatnonzero(broken[label])
    inside = np.flatnonzero(broken[label[graph.left]])
    left, right = graph.left[inside], graph.right[inside]
    weaker = np.maximum(graph.kind[left], graph.kind[right])
    stronger = np.minimum(graph.kind[left], graph.kind[right])
    keys = (np.maximum(left, right), np.minimum(left, right), graph.first[inside], -graph.last[inside],
            -graph.sightings[inside], stronger, weaker)  # fmt: skip
    order = np.lexsort(keys)
    forest = _Forest(graph, nodes, cannot, config)
    for a, b in must.tolist():
        if broken[label[a]]:
            forest.must(a, b)
    cuts = [
        cut
        for a, b, rank in zip(
            left[order].tolist(), right[order].tolist(), weaker[order].tolist(), strict=True
        )
        if (cut := forest.link(a, b, rank)) is not None
    ]
    refined = label.astype(np.int64) + len(label)
    refined[nodes] = [forest.root(n) for n in nodes.tolist()]
    _, compact = np.unique(refined, return_inverse=True)
    return compact.astype(np.int32), cuts


class _Forest:
    """Disjoint sets that know how many identifiers of each guarded kind they hold."""

    def __init__(self, graph: Graph, nodes: np.ndarray, cannot: np.ndarray, config: IdentityConfig) -> None:
        self._kind, self._priority = graph.kind, graph.priority
        self._parent = {n: n for n in nodes.tolist()}
        self._limits = [
            ("unique", graph.priority.index(k), 1) for k in config.unique if k in graph.priority
        ] + [
            ("per_customer", graph.priority.index(k), limit)
            for k, limit in config.per_customer.items()
            if k in graph.priority
        ]
        guarded = {place for _, place, _ in self._limits}
        self._held = {
            n: {place: 1} if (place := int(graph.kind[n])) in guarded and not graph.former[n] else {}
            for n in self._parent
        }
        self._enemies: dict[int, set[int]] = {}
        for a, b in cannot.tolist():
            if a in self._parent and b in self._parent:
                self._enemies.setdefault(a, set()).add(b)
                self._enemies.setdefault(b, set()).add(a)

    def root(self, node: int) -> int:
        parent = self._parent
        while parent[node] != node:
            parent[node] = node = parent[parent[node]]
        return node

    def must(self, a: int, b: int) -> None:
        """Join whatever the guards say, but for a pair that must not be linked."""
        a, b = self.root(a), self.root(b)
        if a != b and not self._forbidden(a, b):
            self._join(a, b)

    def link(self, a: int, b: int, rank: int) -> Cut | None:
        """Join unless a guard forbids it; `rank` is the priority of the weaker end."""
        x, y = self.root(a), self.root(b)
        if x == y:
            return None
        node, other = (a, b) if (self._kind[a], a) > (self._kind[b], b) else (b, a)
        if self._forbidden(x, y):
            kind = self._priority[self._kind[other]]
            return Cut(node, other, "cannot_link", kind, 2, 1)
        held_x, held_y = self._held[x], self._held[y]
        for reason, place, limit in self._limits:
            mine, theirs = held_x.get(place, 0), held_y.get(place, 0)
            if not mine or not theirs or mine + theirs <= limit:
                continue
            if reason == "unique" and rank <= place:
                continue
            return Cut(node, other, reason, self._priority[place], mine + theirs, limit)
        self._join(x, y)
        return None

    def _forbidden(self, x: int, y: int) -> bool:
        return any(self.root(e) == y for e in self._enemies.get(x, ()))

    def _join(self, x: int, y: int) -> None:
        self._parent[y] = x
        for place, count in self._held.pop(y).items():
            self._held[x][place] = self._held[x].get(place, 0) + count
        if y in self._enemies:
            self._enemies.setdefault(x, set()).update(self._enemies.pop(y))
