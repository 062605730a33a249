"""One row a customer and item: the numbers of every matrix, from one pass over the interactions."""

from datetime import date
from functools import reduce
from operator import or_

import ibis
from ibis.expr import types as ir

from portrait.config import FeatureConfig
from portrait.run import holdout_cutoff

WEIGHTS = ("full_weights", "train_weights", "validation_weights")
COUNTS = ("full_bought", "train_bought", "target", "validation_bought", "validation_target")
VALUES = (*WEIGHTS, *COUNTS)


def last_days(as_of: date, holdout_days: int) -> dict[str, date]:
    """The last day that each part of the data sees."""
    cutoff = holdout_cutoff(as_of, holdout_days)
    return {"full": as_of, "train": cutoff, "validation": holdout_cutoff(cutoff, holdout_days)}


def cells(rows: ir.Table, config: FeatureConfig, as_of: date, holdout_days: int) -> ir.Table:
    """customer, item and one float64 column for each matrix in `VALUES`; weights are counted as those of the rows.

    `full` sees everything up to as_of, `train` up to the cutoff `holdout_days` earlier, `validation` up to
    one more holdout earlier: an older part knows nothing of a later one.
    A target is 1 where the item was bought in the `holdout_days` after the last day of its part.
    """
    weighted = sorted(event for event, weight in config.behaviour_weights.items() if weight > 0)
    shown = rows.filter(rows["item"].notnull() & rows.event_name.isin([*weighted, *config.purchases]))
    buying = shown.event_name.isin(config.purchases)
    day = shown.business_date
    last = last_days(as_of, holdout_days)
    values: dict[str, ir.Value] = {}
    for part, until in last.items():
        before = day <= ibis.literal(until)
        values[f"{part}_weights"] = shown.weight.sum(where=before)
        values[f"{part}_bought"] = shown.count(where=before & buying)
    for name, after, until in (
        ("target", last["train"], last["full"]),
        ("validation_target", last["validation"], last["train"]),
    ):
        within = (day > ibis.literal(after)) & (day <= ibis.literal(until))
        values[name] = (shown.count(where=within & buying) > 0).cast("int8")
    found = shown.group_by("customer", "item").agg(**values)
    return found.mutate(
        **{name: ibis.coalesce(found[name].cast("float64"), ibis.literal(0.0)) for name in VALUES}
    ).filter(lambda t: reduce(or_, [t[name] > 0 for name in VALUES]))
