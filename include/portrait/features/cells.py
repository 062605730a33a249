"""One row a customer and item: the numbers of every matrix, from one pass over the interactions."""

from datetime import date
from functools import reduce
from operator import or_

import ibis
from ibis.expr import types as ir

from portrait.config import FeatureConfig
from portrait.features.weight import decayed_weight
from portrait.run import holdout_cutoff

VALUES = (
    "full_weights",
    "full_bought",
    "train_weights",
    "train_bought",
    "target",
    "validation_weights",
    "validation_bought",
    "validation_target",
)


def cells(rows: ir.Table, config: FeatureConfig, as_of: date, holdout_days: int) -> ir.Table:
    """customer_id, sku and one float64 column for each matrix in `VALUES`.

    `full` sees everything up to as_of, `train` up to the cutoff `holdout_days` earlier, `validation` up to
    one more holdout earlier. Each decays from its own last day: an older part knows nothing of a later one.
    A target is 1 where the item was bought in the `holdout_days` after the last day of its part.
    """
    weighted = sorted(event for event, weight in config.behaviour_weights.items() if weight > 0)
    shown = rows.filter(
        rows.customer_id.notnull() & rows.sku.notnull() & rows.event_name.isin([*weighted, *config.purchases])
    )
    cutoff = holdout_cutoff(as_of, holdout_days)
    earlier = holdout_cutoff(cutoff, holdout_days)
    buying = shown.event_name.isin(config.purchases)
    day = shown.business_date
    values: dict[str, ir.Value] = {}
    for part, last in (("full", as_of), ("train", cutoff), ("validation", earlier)):
        before = day <= ibis.literal(last)
        values[f"{part}_weights"] = decayed_weight(shown, config, last).sum(where=before)
        values[f"{part}_bought"] = shown.count(where=before & buying)
    for name, after, until in (("target", cutoff, as_of), ("validation_target", earlier, cutoff)):
        within = (day > ibis.literal(after)) & (day <= ibis.literal(until))
        values[name] = (shown.count(where=within & buying) > 0).cast("int8")
    found = shown.group_by("customer_id", "sku").agg(**values)
    return found.mutate(
        **{name: ibis.coalesce(found[name].cast("float64"), ibis.literal(0.0)) for name in VALUES}
    ).filter(lambda t: reduce(or_, [t[name] > 0 for name in VALUES]))
