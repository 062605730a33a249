"""Which of last night's customers each of tonight's components is.

A customer stays with the part that holds one of its cards, else with the part that holds most of its
identifiers, else with the oldest part. Where several customers meet in one component, the one that was known
first stays. What is left over is new.
"""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Matching:
    """Tonight's components against last night's customers; customers are positions in last night's list.

    Attributes
    ----------
    kept : int32 [components], the customer that the component goes on as, or -1.
    merged : int32 [k, 2], (customer that stays, customer taken in).
    split : int32 [k, 2], (component without a customer of its own, customer that most of it comes from).
    retired : int32 [k], customers none of whose identifiers is left.
    """

    kept: np.ndarray
    merged: np.ndarray
    split: np.ndarray
    retired: np.ndarray


def match(component: np.ndarray, previous: np.ndarray, is_card: np.ndarray, born: np.ndarray) -> Matching:
    """Match components to customers.

    Parameters
    ----------
    component : int [n], tonight's component of each identifier (oldest identifier first), -1 for none.
    previous : int [n], last night's customer of each identifier, -1 for none.
    is_card : bool [n].
    born : int [customers], day on which each customer's id was first given.
    """
    n_components = int(component.max(initial=-1)) + 1
    both = np.flatnonzero((component >= 0) & (previous >= 0))
    pair, first, inverse, overlap = np.unique(
        previous[both].astype(np.int64) * max(n_components, 1) + component[both],
        return_index=True,
        return_inverse=True,
        return_counts=True,
    )
    customer, part = np.divmod(pair, max(n_components, 1))
    has_card = np.bincount(inverse, weights=is_card[both], minlength=len(pair)) > 0
    oldest = both[first]

    choice = _first_of_each(customer, (oldest, -overlap, ~has_card))
    known_since = np.full(len(born), np.iinfo(np.int64).max)
    np.minimum.at(known_since, customer, oldest)

    chosen = customer[choice]
    winner = choice[_first_of_each(part[choice], (known_since[chosen], born[chosen]))]
    kept = np.full(n_components, -1, dtype=np.int32)
    kept[part[winner]] = customer[winner]
    loser = choice[kept[part[choice]] != chosen]

    # A component that kept nobody but holds somebody's identifiers came out of the one it holds most of.
    left_over = np.flatnonzero(kept[part] < 0)
    source = left_over[
        _first_of_each(part[left_over], (oldest[left_over], born[customer[left_over]], -overlap[left_over]))
    ]
    return Matching(
        kept=kept,
        merged=_pairs(kept[part[loser]], customer[loser]),
        split=_pairs(part[source], customer[source]),
        retired=np.setdiff1d(np.arange(len(born)), customer).astype(np.int32),
    )


def _first_of_each(group: np.ndarray, order: tuple[np.ndarray, ...]) -> np.ndarray:
    """Position of the first row of each group; `order` as for `np.lexsort`, the last key counts most."""
    ordered = np.lexsort((*order, group))
    start = np.ones(len(ordered), dtype=bool)
    start[1:] = group[ordered][1:] != group[ordered][:-1]
    return np.asarray(ordered[start])


def _pairs(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.stack([a, b], axis=1).astype(np.int32)
