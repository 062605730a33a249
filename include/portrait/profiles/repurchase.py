"""When a customer is due to buy again from a category, where people do buy again."""

from datetime import date

import ibis
from ibis.expr import types as ir

LEAST_BUYERS = 20
"""Fewer buyers of a category say too little about whether it is bought again."""

REPEAT_SHARE = 0.5
"""Of a category's buyers who could have come back, so many must have: else it is no consumable."""

CATEGORY_WEIGHT = 2.0
"""The category's median interval counts as so many intervals of the customer's own."""

AHEAD_DAYS = 7
OVERDUE_INTERVALS = 2.0
"""Who is that far beyond the day they were due has stopped, and is not due any more."""


def repurchase(bought: ir.Table, as_of: date) -> ir.Table:
    """One row a customer and category that is bought again: the columns of `profile.repurchase`.

    Whether a category is bought again is learned from its buyers: of those whose first purchase is longer ago than the
    median interval of all who came back, half must have come back, and there must be twenty.

    Parameters
    ----------
    bought : customer_id, category, purchase_days, first_on, last_on.
    """
    days = bought["last_on"].delta(bought["first_on"], unit="day").cast("float64")
    known = bought.mutate(
        span=days,
        own=days / (bought["purchase_days"] - 1).nullif(0),
        age=ibis.literal(as_of).delta(bought["first_on"], unit="day").cast("float64"),
    )
    typical = known.group_by("category").agg(category_interval_days=known["own"].median())
    known = known.inner_join(typical, "category")
    could = known["age"] > known["category_interval_days"]
    judged = known.group_by("category").agg(
        could=known.count(where=could),
        did=known.count(where=could & (known["purchase_days"] > 1)),
    )
    again = judged.filter(
        (judged["could"] >= LEAST_BUYERS) & (judged["did"] >= judged["could"] * REPEAT_SHARE)
    ).select("category")
    rows = known.semi_join(again, "category")
    interval = ibis.greatest(
        (rows["span"] + CATEGORY_WEIGHT * rows["category_interval_days"])
        / (rows["purchase_days"] - 1 + CATEGORY_WEIGHT),
        1.0,
    )
    rows = rows.mutate(interval_days=interval)
    # As a timestamp: DuckDB's date plus an interval is none any more, whatever Ibis says.
    waits = rows["interval_days"].round().cast("int64").as_interval("D")
    rows = rows.mutate(due_on=(rows["last_on"].cast("timestamp") + waits).date())
    late = ibis.literal(as_of).delta(rows["due_on"], unit="day")
    is_due = (late >= -AHEAD_DAYS) & (late <= rows["interval_days"] * OVERDUE_INTERVALS)
    return rows.mutate(is_due=is_due)
