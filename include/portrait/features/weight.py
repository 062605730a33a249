"""How much interest an event shows, and how it fades."""

from datetime import date

import ibis
from ibis.expr import types as ir

from portrait.config import FeatureConfig

WEIGHT = "decimal(18, 12)"


def days_before(day: date, column: ir.DateColumn) -> ir.IntegerColumn:
    """Days from a column's date to `day`."""
    return ibis.literal(day).delta(column, unit="day")


def decayed_weight(rows: ir.Table, config: FeatureConfig, as_of: date) -> ir.DecimalColumn:
    """behaviour_weights[event] * 0.5 ** (days before as_of / half_life_days).

    A decimal with twelve places: its sums do not depend on the order of rows. Events without a weight have 0.
    """
    weights = sorted(config.behaviour_weights.items())
    base = rows.event_name.cases(*weights, else_=0.0) if weights else ibis.literal(0.0)
    age = days_before(as_of, rows.business_date) / config.half_life_days
    return (base * ibis.literal(0.5).pow(age)).cast(WEIGHT)
