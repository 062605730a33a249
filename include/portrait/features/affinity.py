"""Which categories and brands a customer is drawn to."""

import ibis
from ibis.expr import types as ir

from portrait.config import FeatureConfig
from portrait.features.weight import TOTAL

DIMENSIONS = ("category", "brand")


def affinity(rows: ir.Table, catalogue: ir.Table, config: FeatureConfig) -> ir.Table:
    """The strongest values of each customer and dimension.

    `score` is the value's share of the customer's recency-weighted interest over all values of the dimension,
    before the best `affinity_top` are kept: it says the same whatever that setting is. A receipt or order
    line counts as one event. `evidence` counts the events, `last_on` is the last of them. Products that the
    catalogue does not know, or whose category or brand it does not, count for nothing.
    """
    shown = rows.filter(rows.event_name.isin(list(config.behaviour_weights)) & (rows.weight > 0))
    known = shown.inner_join(catalogue, "item")
    ranked = ibis.union(*(_of_dimension(known, d, config.affinity_top) for d in DIMENSIONS))
    return ranked


def _of_dimension(known: ir.Table, dimension: str, top: int) -> ir.Table:
    known = known.mutate(value=known[dimension]).filter(lambda t: t.value.notnull())
    interest = known.group_by("customer", "value").agg(
        weight=known.weight.sum().cast(TOTAL), evidence=known.count(), last_on=known.business_date.max()
    )
    # One window for both the total and the rank: the engine sorts once.
    strongest = ibis.window(
        group_by=interest.customer, order_by=[interest.weight.desc(), interest.value], rows=(None, None)
    )
    total = interest.weight.sum().over(strongest)
    scored = interest.mutate(
        rank=ibis.row_number().over(strongest) + 1,
        score=interest.weight.cast("float64") / total.cast("float64"),
    )
    return scored.filter(scored["rank"] <= top).select(
        "customer",
        dimension=ibis.literal(dimension),
        value=scored.value,
        rank=scored["rank"].cast("int32"),
        score=scored.score,
        evidence=scored.evidence.cast("int32"),
        last_on=scored.last_on,
    )
