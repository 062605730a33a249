"""Small tools on a table held as a dict of equally long numpy arrays."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Columns = dict[str, Array]


def rows(table: Columns) -> int:
    """How many rows the table has."""
    return len(next(iter(table.values())))


def take(table: Columns, which: Array) -> Columns:
    """The rows that a boolean mask or an index array names."""
    return {name: values[which] for name, values in table.items()}


def concat(tables: Sequence[Columns]) -> Columns:
    """The tables one below the other; all have the same columns."""
    return {name: np.concatenate([t[name] for t in tables]) for name in tables[0]}


def within(sizes: Array) -> Array:
    """Position of each row in its group, for groups of these sizes: [2, 3] -> [0, 1, 0, 1, 2]."""
    starts = np.cumsum(sizes) - sizes
    return np.arange(int(sizes.sum())) - np.repeat(starts, sizes)


def scatter(number: Array, space: int, multiplier: int, shift: int) -> Array:
    """A one-to-one shuffle of 0..space-1, so that identifiers do not give away the order of creation."""
    return (number.astype(np.int64) * multiplier + shift) % space


def mix(number: Array) -> Array:
    """The one-to-one 64-bit finaliser of splitmix64 (Steele, Lea and Flood 2014)."""
    z = number.astype(np.uint64)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))
