"""Who bought what on which day: the log that a ranker of next baskets learns from."""

import ibis
from ibis.expr import types as ir

from portrait.config import FeatureConfig

EPOCH = "1970-01-01"


def purchases(rows: ir.Table, config: FeatureConfig) -> ir.Table:
    """customer, day (int32, days since 1970-01-01), item: each item once a customer and day, online or in a store.

    Parameters
    ----------
    rows : interactions with their customer, as `interactions.py` and `attribution.py` make them.
    """
    bought = rows.filter(rows["item"].notnull() & rows.event_name.isin(config.purchases))
    day = bought.business_date.delta(ibis.date(EPOCH), unit="day").cast("int32")
    return bought.select("customer", "item", day=day).distinct().select("customer", "day", "item")
