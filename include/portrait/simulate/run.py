"""A whole span of days."""

import logging
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path

from portrait.errors import PortraitError
from portrait.simulate.day import counts_of, write_day
from portrait.simulate.reference import write_reference
from portrait.simulate.retailer import Counts, Retailer

log = logging.getLogger(__name__)


def simulate(
    retailer: Retailer,
    out: Path,
    start: date,
    end: date,
    progress: Callable[[date, Counts], None] | None = None,
) -> Counts:
    """Write the reference files and all delivery dates from start to end.

    Safe to repeat: complete days are left alone, an interrupted one is written again. A day's bytes depend on
    the retailer and the date alone, not on which days were written before.

    Parameters
    ----------
    out
        The folder of all sources.
    start, end
        First and last delivery date, both included.
    progress
        Called after each day with its date and its rows.

    Returns
    -------
    Counts
        The rows of all these days, whether written now or before.

    Raises
    ------
    PortraitError
        For an end before the start, a start before the retailer's, or a folder of another retailer.
    """
    if end < start:
        raise PortraitError(f"The last day to simulate, {end}, lies before the first, {start}.")
    retailer.day(start)
    write_reference(retailer, out)
    total = Counts()
    for offset in range((end - start).days + 1):
        day = start + timedelta(days=offset)
        counts = counts_of(out, day) or write_day(retailer, out, day)
        total += counts
        if progress is not None:
            progress(day, counts)
    log.info(
        "Simulated %d days: %d online events, %d receipts with %d lines, %d members, %d accounts",
        total.days, total.events, total.receipts, total.receipt_lines, total.members, total.accounts,
    )  # fmt: skip
    return total
