"""Families of features a customer: each one function, one file, one row a customer it concerns.

A value depends on as_of only through windows of exactly 30, 90 or 365 days, so that it stays as it is until one of
the customer's events enters or leaves one; how long ago something was is `finish`'s.
"""

from collections.abc import Callable
from datetime import date

from ibis.expr import types as ir

from portrait.config import FeatureConfig
from portrait.features.families.basket import basket
from portrait.features.families.behaviour import behaviour
from portrait.features.families.channels import channels
from portrait.features.families.diversity import diversity
from portrait.features.families.intervals import intervals
from portrait.features.families.price import price
from portrait.features.families.rhythm import rhythm
from portrait.features.families.stores import stores
from portrait.features.weight import days_before

Family = Callable[[ir.Table, ir.Table, FeatureConfig, date], ir.Table]

FAMILIES: dict[str, Family] = {
    "intervals": intervals,
    "basket": basket,
    "channels": channels,
    "rhythm": rhythm,
    "diversity": diversity,
    "price": price,
    "behaviour": behaviour,
    "stores": stores,
}
"""Name -> function of (rows, catalogue, config, as_of), in the order of the documentation.

rows : customer int32, event_name, channel, item int32, basket int64, quantity, amount decimal, discount decimal,
    rating, occurred_at (UTC), local_hour, business_date, store_id; attributed, cleaned, dated up to as_of.
catalogue : item int32, category, brand, price_tier int32.
"""

__all__ = ["FAMILIES", "Family", "finish"]


def finish(table: ir.Table, as_of: date) -> ir.Table:
    """Replace each date ``last_<what>_on`` by the days from it to as_of, ``days_since_<what>``, in its place."""
    columns = {}
    for name in table.columns:
        if name.startswith("last_") and name.endswith("_on"):
            what = name.removeprefix("last_").removesuffix("_on")
            columns[f"days_since_{what}"] = days_before(as_of, table[name]).cast("int32")
        else:
            columns[name] = table[name]
    return table.select(**columns)
