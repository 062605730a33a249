"""How much interest an event shows, and how it fades."""

from datetime import date

import ibis
from ibis.expr import types as ir

from portrait.config import FeatureConfig

WEIGHT = "decimal(18, 12)"
TOTAL = "decimal(38, 12)"
"""Of sums of weights, in any engine."""


def days_before(day: date, column: ir.DateColumn) -> ir.IntegerColumn:
    """Days from a column's date to `day`."""
    return ibis.literal(day).delta(column, unit="day")


def epoch_of(as_of: date, half_life_days: float) -> date:
    """The day at which weights are counted in full, so that those of two nights can be compared.

    All weights fade alike: counted from one day, those of last night are still right tonight. The day moves before
    weights outgrow their type: yearly, monthly where interest halves within a month, nightly within three days.
    """
    if half_life_days >= 30:
        return as_of.replace(month=1, day=1)
    return as_of.replace(day=1) if half_life_days >= 3 else as_of


def weight_at(rows: ir.Table, config: FeatureConfig, epoch: date) -> ir.DecimalColumn:
    """behaviour_weights[event] * 2 ** (days after epoch / half_life_days).

    A decimal with twelve places: its sums do not depend on the order of rows. Events without a weight have 0.
    """
    weights = sorted(config.behaviour_weights.items())
    base = rows.event_name.cases(*weights, else_=0.0) if weights else ibis.literal(0.0)
    age = days_before(epoch, rows.business_date) / config.half_life_days
    return (base * ibis.literal(0.5).pow(age)).cast(WEIGHT)


def fading(epoch: date, day: date, half_life_days: float) -> float:
    """What a weight counted at `epoch` is worth on `day`."""
    return float(0.5 ** ((day - epoch).days / half_life_days))
