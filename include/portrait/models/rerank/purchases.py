"""Who bought what in which basket: the log that the ranker learns from."""

from dataclasses import dataclass
from functools import cached_property
from typing import Self

import numpy as np
from scipy.sparse import csr_matrix

from portrait.errors import PortraitError


@dataclass(frozen=True, eq=False)
class Purchases:
    """One row a customer, basket and item, sorted by customer and basket; a basket holds an item once.

    Attributes
    ----------
    customer : int32 [n]
        Row of the customer, 0 .. n_customers - 1.
    basket : int32 [n]
        Number of the basket among the customer's, 0 the oldest, without gaps.
    item : int32 [n]
        Column of the item, 0 .. n_items - 1.
    day : int32 [n], optional
        Any day number that grows with time (days since 1970). None where only the order is known.
    """

    customer: np.ndarray
    basket: np.ndarray
    item: np.ndarray
    n_customers: int
    n_items: int
    day: np.ndarray | None = None

    @classmethod
    def of(
        cls,
        customer: np.ndarray,
        basket: np.ndarray,
        item: np.ndarray,
        n_customers: int,
        n_items: int,
        day: np.ndarray | None = None,
    ) -> Self:
        """Sort, drop repeated lines and number the baskets of each customer from 0.

        Parameters
        ----------
        basket : int [n]
            Any number that grows with time within a customer and is equal within a basket: an order number, or
            the day where baskets are days.

        Raises
        ------
        PortraitError
            If the columns differ in length, or a customer or item is outside its range.
        """
        lengths = {len(column) for column in (customer, basket, item, *([] if day is None else [day]))}
        if len(lengths) > 1:
            raise PortraitError(f"the columns of a purchase log must be of one length, not {sorted(lengths)}")
        for name, column, limit in (("customer", customer, n_customers), ("item", item, n_items)):
            if len(column) and (column.min() < 0 or column.max() >= limit):
                raise PortraitError(
                    f"purchase log: {name} {column.min()}..{column.max()} outside 0..{limit - 1}; "
                    "build the log and the matrices from the same index"
                )
        order = np.lexsort((item, basket, customer))
        c, b, i = customer[order], basket[order], item[order]
        first = np.ones(len(c), dtype=bool)
        first[1:] = (c[1:] != c[:-1]) | (b[1:] != b[:-1]) | (i[1:] != i[:-1])
        order = order[first]
        c, b = customer[order], basket[order]
        opens = np.ones(len(c), dtype=bool)
        opens[1:] = (c[1:] != c[:-1]) | (b[1:] != b[:-1])
        number = np.cumsum(opens) - 1
        starts = np.searchsorted(c, np.arange(n_customers))
        before = number[np.minimum(starts, max(len(c) - 1, 0))] if len(c) else np.zeros(n_customers, np.int64)
        return cls(
            c.astype(np.int32),
            (number - before[c]).astype(np.int32),
            item[order].astype(np.int32),
            n_customers,
            n_items,
            None if day is None else day[order].astype(np.int32),
        )

    def __len__(self) -> int:
        return len(self.customer)

    @cached_property
    def n_baskets(self) -> np.ndarray:
        """int32 [n_customers]: baskets of each customer."""
        count = np.zeros(self.n_customers, dtype=np.int32)
        np.maximum.at(count, self.customer, self.basket + 1)
        return count

    @cached_property
    def age(self) -> np.ndarray:
        """int32 [n]: how many baskets of the customer came later; 0 is the last one."""
        return np.asarray(self.n_baskets[self.customer] - 1 - self.basket, dtype=np.int32)

    @cached_property
    def counts(self) -> csr_matrix:
        """float32 [n_customers, n_items]: in how many baskets a customer had an item."""
        ones = np.ones(len(self), dtype=np.float32)
        return csr_matrix((ones, (self.customer, self.item)), shape=(self.n_customers, self.n_items))

    def weighted(self, weight: np.ndarray) -> csr_matrix:
        """float32 [n_customers, n_items]: the sum of a weight a row of the log."""
        data = weight.astype(np.float32, copy=False)
        return csr_matrix((data, (self.customer, self.item)), shape=(self.n_customers, self.n_items))

    def where(self, kept: np.ndarray) -> "Purchases":
        """The rows for which `kept` (bool [n]) holds; baskets are numbered anew."""
        day = None if self.day is None else self.day[kept]
        return Purchases.of(
            self.customer[kept], self.basket[kept], self.item[kept], self.n_customers, self.n_items, day
        )

    def without_last(self, baskets: int) -> "Purchases":
        """What was known before the last `baskets` baskets of every customer."""
        return self.where(self.age >= baskets)

    def basket_from_end(self, age: int) -> csr_matrix:
        """float32 [n_customers, n_items]: 1 for what is in a customer's last basket but `age`."""
        chosen = self.age == age
        ones = np.ones(int(chosen.sum()), dtype=np.float32)
        return csr_matrix(
            (ones, (self.customer[chosen], self.item[chosen])), shape=(self.n_customers, self.n_items)
        )

    def before(self, day: int) -> "Purchases":
        """What was bought before a day. Raises PortraitError where days are not known."""
        if self.day is None:
            raise PortraitError("this purchase log has no days: cut it by baskets (without_last)")
        return self.where(self.day < day)

    def bought_between(self, first: int, last: int) -> csr_matrix:
        """float32 [n_customers, n_items]: 1 for what was bought from day `first` to day `last`, both included.

        Raises
        ------
        PortraitError
            Where days are not known.
        """
        if self.day is None:
            raise PortraitError("this purchase log has no days: label it by baskets (basket_from_end)")
        chosen = (self.day >= first) & (self.day <= last)
        pairs = np.unique(self.customer[chosen].astype(np.int64) * self.n_items + self.item[chosen])
        customer, item = np.divmod(pairs, self.n_items)
        ones = np.ones(len(pairs), dtype=np.float32)
        return csr_matrix((ones, (customer, item)), shape=(self.n_customers, self.n_items))
