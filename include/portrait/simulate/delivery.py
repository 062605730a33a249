"""When rows arrive: on time, late, twice, or spoilt."""

from collections.abc import Callable

import numpy as np

from portrait.simulate.columns import Array, Columns, concat, rows, take

LATEST = 7  # days after the event
LONGEST_CARRY = 14  # a refund seven days after the order, delivered seven days late
Tables = dict[str, Columns]


class Arrivals:
    """Collects what arrives on a day, whichever day it was caused on.

    `cause(day)` gives all rows that a day causes, each table with a column `arrival` (day). Only the few rows
    that arrive later are remembered; a day that was not asked for before is caused again, with the same rows.
    """

    def __init__(self, cause: Callable[[int], Tables]) -> None:
        self._cause = cause
        self._later: dict[int, Tables] = {}

    def on(self, day: int) -> Tables:
        """The rows that arrive on the day, by table."""
        tables = self._caused(day)
        found = {name: [take(table, table["arrival"] == day)] for name, table in tables.items()}
        for earlier in range(max(0, day - LONGEST_CARRY), day):
            if earlier not in self._later:
                self._caused(earlier)
            for name, table in self._later[earlier].items():
                found[name].append(take(table, table["arrival"] == day))
        for old in [d for d in self._later if d < day - LONGEST_CARRY]:
            del self._later[old]
        return {name: concat(parts) for name, parts in found.items()}

    def _caused(self, day: int) -> Tables:
        tables = self._cause(day)
        self._later[day] = {name: take(table, table["arrival"] > day) for name, table in tables.items()}
        return tables


def delays(rng: np.random.Generator, n: int, late: float) -> Array:
    """Days of delay: 0 for most rows, 1-7 for the late share."""
    return np.where(rng.random(n) < late, rng.integers(1, LATEST + 1, n), 0)


def spoilt(rng: np.random.Generator, table: Columns, rate: float, ways: Array) -> Columns:
    """Copies of a share of the rows, each with one of the `ways` of being bad in column `bad`."""
    which = np.flatnonzero(rng.random(rows(table)) < rate)
    copies = take(table, which)
    copies["bad"] = rng.choice(ways, len(which)).astype(np.int8)
    return copies
