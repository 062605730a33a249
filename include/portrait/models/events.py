"""Event sequences of many customers without padding, and an encoder that reads them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Self

import numpy as np
import pyarrow as pa
from scipy.sparse import csr_matrix

NO_ITEM = -1


@dataclass(frozen=True)
class Events:
    """The events of n customers, one after the other, oldest first.

    Attributes
    ----------
    pointer : int64 [n + 1], where each customer's events start.
    item : int32, position of the item; -1 for an event without one.
    event, channel : int8, the codes of `features.sequence` (0: unknown).
    gap : int32, seconds since the event before.
    """

    pointer: np.ndarray
    item: np.ndarray
    event: np.ndarray
    channel: np.ndarray
    gap: np.ndarray

    def __len__(self) -> int:
        return len(self.pointer) - 1

    @property
    def lengths(self) -> np.ndarray:
        """Events of each customer, int64 [n]."""
        return np.diff(self.pointer)

    @classmethod
    def of_matrix(cls, matrix: csr_matrix) -> Self:
        """What a user x item matrix says of an order: weights fade, so the lightest item comes first.

        Equal weights are in the order of columns. Event, channel and gap are unknown.
        """
        order = np.lexsort(
            (matrix.indices, matrix.data, np.repeat(np.arange(matrix.shape[0]), np.diff(matrix.indptr)))
        )
        unknown = np.zeros(matrix.nnz, np.int8)
        item = matrix.indices[order].astype(np.int32)
        return cls(matrix.indptr.astype(np.int64), item, unknown, unknown, np.zeros(matrix.nnz, np.int32))

    @classmethod
    def of_steps(cls, steps: pa.Array | pa.ChunkedArray, rows: np.ndarray, n: int) -> Self:
        """The lists of `features/sequence.parquet`.

        Parameters
        ----------
        steps : one list of event, item, channel, gap a customer.
        rows : int [len(steps)], the row of each in the result, each once.
        n : rows of the result; those not named have no event.
        """
        lists = steps.combine_chunks() if isinstance(steps, pa.ChunkedArray) else steps
        lists = lists.take(pa.array(np.argsort(rows, kind="stable")))
        count = np.zeros(n, np.int64)
        count[np.sort(rows)] = lists.value_lengths().to_numpy(zero_copy_only=False)
        found = lists.flatten()
        columns = (found.field(name).to_numpy(zero_copy_only=False) for name in ("item", "event", "channel"))
        item, event, channel = columns
        gap = found.field("gap").to_numpy(zero_copy_only=False)
        pointer = np.concatenate([[0], np.cumsum(count)])
        return cls(
            pointer,
            item.astype(np.int32),
            event.astype(np.int8),
            channel.astype(np.int8),
            gap.astype(np.int32),
        )

    def take(self, rows: np.ndarray) -> Self:
        """These customers' events, in this order."""
        count = self.lengths[rows]
        pointer = np.concatenate([[0], np.cumsum(count)])
        place = np.repeat(self.pointer[rows] - pointer[:-1], count) + np.arange(pointer[-1])
        return type(self)(pointer, self.item[place], self.event[place], self.channel[place], self.gap[place])

    def within(self, n_items: int) -> Self:
        """The same with items beyond the first `n_items` made unknown: a model does not know them."""
        item = np.where(self.item < n_items, self.item, NO_ITEM).astype(np.int32)
        return type(self)(self.pointer, item, self.event, self.channel, self.gap)

    @classmethod
    def joined(cls, parts: Sequence["Events"]) -> Self:
        """Customers of several, one after the other."""
        pointer = np.concatenate([[0], np.cumsum(np.concatenate([p.lengths for p in parts]))])
        item, event, channel, gap = (
            np.concatenate([getattr(p, name) for p in parts]) for name in ("item", "event", "channel", "gap")
        )
        return cls(pointer, item, event, channel, gap)


class Padded(NamedTuple):
    """The last events of some customers as arrays [n, longest], filled up with zeros behind.

    `item` counts from 1 (0: none), `gap` is log(1 + seconds) / 10, `lengths` int64 [n].
    """

    item: np.ndarray
    event: np.ndarray
    channel: np.ndarray
    gap: np.ndarray
    lengths: np.ndarray


def padded(events: Events, length: int) -> Padded:
    """Up to the last `length` events of each customer; at least one column."""
    lengths = np.minimum(events.lengths, length)
    width = max(1, int(lengths.max(initial=0)))
    there = np.arange(width) < lengths[:, None]
    start = events.pointer[1:] - lengths
    place = (start[:, None] + np.arange(width))[there]

    def filled(values: np.ndarray, kind: type) -> np.ndarray:
        made = np.zeros(there.shape, kind)
        made[there] = values[place]
        return made

    gap = np.log1p(np.maximum(filled(events.gap, np.float32), 0)) / np.float32(10)
    return Padded(
        filled(events.item.astype(np.int64) + 1, np.int64),
        filled(events.event, np.int64),
        filled(events.channel, np.int64),
        gap.astype(np.float32),
        lengths,
    )
