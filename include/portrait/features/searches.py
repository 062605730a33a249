"""What each customer searched for."""

from datetime import date

from ibis.expr import types as ir

from portrait.config import FeatureConfig
from portrait.features.weight import WEIGHT, days_before


def searches(rows: ir.Table, config: FeatureConfig, epoch: date) -> ir.Table:
    """One row a customer and query: how often, when last, and its weight counted at `epoch`, which fades as behaviour does."""
    typed = rows.filter((rows.event_name == "products_searched") & rows.search_query.notnull())
    half_lives = days_before(epoch, typed.business_date) / config.half_life_days
    typed = typed.mutate(query=typed.search_query, weight=(0.5**half_lives).cast(WEIGHT))
    return typed.group_by("customer", "query").agg(
        searches=typed.count().cast("int32"),
        last_on=typed.business_date.max(),
        weight=typed.weight.sum().cast("float64"),
    )
