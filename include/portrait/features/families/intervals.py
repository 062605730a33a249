"""How long customers take to come back."""

from datetime import date

import ibis
from ibis.expr import types as ir

from portrait.config import FeatureConfig


def intervals(rows: ir.Table, catalogue: ir.Table, config: FeatureConfig, as_of: date) -> ir.Table:
    """One row a buyer: days between consecutive purchase days.

    Two purchases on one day are one purchase day. The standard deviation is that of a sample; quantiles are
    interpolated between the two values around them. All are null with fewer intervals than they need.
    """
    bought = rows.filter(rows.event_name.isin(config.purchases))
    days = bought.group_by("customer", on=bought.business_date).agg(lines=bought.count())
    order = ibis.window(group_by=days.customer, order_by=days.on)
    gaps = days.select("customer", gap=days.on.delta(days.on.lag().over(order), unit="day").cast("int64"))
    found = gaps.group_by("customer").agg(
        purchase_days=gaps.count(),
        number=gaps.gap.count(),
        total=gaps.gap.sum(),
        squares=(gaps.gap * gaps.gap).sum(),
        **{f"interval_p{p}_days": gaps.gap.cast("float64").quantile(p / 100) for p in (25, 50, 75)},
    )
    number = found.number.cast("float64")
    spread = number * found.squares.cast("float64") - found.total.cast("float64") * found.total.cast(
        "float64"
    )
    return found.select(
        "customer",
        purchase_days=found.purchase_days.cast("int32"),
        interval_mean_days=found.total.cast("float64") / number.nullif(0.0),
        interval_sd_days=(spread / (number * (number - 1)).nullif(0.0)).sqrt(),
        interval_p25_days=found.interval_p25_days,
        interval_p50_days=found.interval_p50_days,
        interval_p75_days=found.interval_p75_days,
    )
