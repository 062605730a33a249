"""Whose features may differ from those of an earlier run: all others' are taken over from it."""

import logging
import time
from collections.abc import Iterable
from datetime import date, timedelta

import ibis
from ibis.expr import types as ir

from portrait.features.engine import Engine
from portrait.features.facts import PARTS, Days, Facts, fact_rows
from portrait.features.rfm import WINDOWS
from portrait.features.state import State

log = logging.getLogger(__name__)

OWNER = ("kind", "code", "customer", "valid_from", "valid_to")


def touched(
    engine: Engine,
    before: State,
    facts: Facts,
    owners: ir.Table,
    catalogue: ir.Table,
    as_of: date,
    holdout_days: int,
) -> ir.Table:
    """Customers (column customer) who since `before`

    - gained, lost or exchanged an identifier,
    - are credited with an event of a business date whose rows changed, then or now,
    - have an event that entered or left one of the windows that features look at,
    - or have one with an item whose category, brand or price tier changed.
    """
    started = time.monotonic()
    former = engine.read(before.owners)
    own, theirs = owners.select(*OWNER), former.select(*OWNER)
    moved = ibis.union(own.difference(theirs), theirs.difference(own)).select("customer")
    dates = changed_dates(before.facts.until(before.as_of), facts.until(as_of))
    left = dates_that_leave(before.as_of, as_of, (*WINDOWS, holdout_days, 2 * holdout_days))
    items = engine.arrow(changed_items(engine.read(before.table("catalogue")), catalogue))
    codes = [
        _codes_on(engine, before.facts, dates, as_of),
        _codes_on(engine, facts, dates | left, as_of),
        *([_codes_with(engine, facts, ibis.memtable(items), as_of)] if items.num_rows else []),
    ]
    code = ibis.union(*codes, distinct=True)
    both = ibis.union(own, theirs)
    concerned = both.semi_join(code, ["kind", "code"]).select("customer")
    found = ibis.union(moved, concerned).distinct()
    log.info(
        "%d business dates changed, %d leave a window, %.1f s",
        len(dates),
        len(left),
        time.monotonic() - started,
    )
    return found


def changed_dates(before: Days, now: Days) -> set[date]:
    """Business dates whose file in the lake came, went or differs."""
    changed: set[date] = set()
    for table in {*before, *now}:
        was, is_ = before.get(table, {}).items(), now.get(table, {}).items()
        changed |= {date.fromisoformat(day) for day, _ in was ^ is_}
    return changed


def dates_that_leave(before: date, as_of: date, windows: Iterable[int]) -> set[date]:
    """Dates that were among the last n days, for a window n, at `before` and are no more at `as_of`."""
    nights = (as_of - before).days
    return {as_of - timedelta(days=n + night) for n in windows for night in range(nights)}


def changed_items(before: ir.Table, now: ir.Table) -> ir.Table:
    """Items (column item) of which customers' features know something else. None of them looks at the price itself."""
    columns = ("item", "category", "brand", "price_tier")
    was, is_ = before.select(*columns), now.select(*columns)
    return ibis.union(was.difference(is_), is_.difference(was)).select("item").distinct()


def _codes_on(engine: Engine, facts: Facts, dates: set[date], as_of: date) -> ir.Table:
    """Identifiers (kind, code) of what was done on some dates."""
    months = {str(day)[:7] for day in dates}
    found = []
    for part in PARTS:
        rows = fact_rows(engine, facts, part, as_of, months)
        found += _codes(
            rows.filter(rows.business_date.isin([ibis.literal(d) for d in sorted(dates)]))
            if dates
            else rows.limit(0)
        )
    return ibis.union(*found)


def _codes_with(engine: Engine, facts: Facts, items: ir.Table, as_of: date) -> ir.Table:
    """Identifiers (kind, code) of whoever did something with some items."""
    found = []
    for part in PARTS:
        rows = fact_rows(engine, facts, part, as_of)
        found += _codes(rows.semi_join(items, "item"))
    return ibis.union(*found)


def _codes(rows: ir.Table) -> list[ir.Table]:
    kinds = [c.removesuffix("_code") for c in rows.columns if c.endswith("_code")]
    return [
        rows.filter(rows[f"{k}_code"].notnull())
        .select(kind=ibis.literal(k), code=rows[f"{k}_code"])
        .distinct()
        for k in kinds
    ]
