"""Where customers look and where they buy."""

from datetime import date

import ibis
from ibis.expr import types as ir

from portrait.config import FeatureConfig
from portrait.features.families.ratio import ratio

DAY = 24 * 60 * 60
VIEW = "product_viewed"


def channels(rows: ir.Table, catalogue: ir.Table, config: FeatureConfig, as_of: date) -> ir.Table:
    """One row a customer: the online share of events and spending, last dates by channel, showrooming.

    What is not online is in stores: the stores' shares are one minus these.
    """
    online, store = rows.channel == "online", rows.channel == "store"
    bought = rows.event_name.isin(config.purchases)
    found = rows.group_by("customer").agg(
        events=rows.count(),
        online_events=rows.count(where=online),
        spent=rows.amount.sum(where=bought),
        spent_online=rows.amount.sum(where=bought & online),
        last_online_event_on=rows.business_date.max(where=online),
        last_store_event_on=rows.business_date.max(where=store),
        last_online_purchase_on=rows.business_date.max(where=bought & online),
        last_store_purchase_on=rows.business_date.max(where=bought & store),
    )
    looked = showrooming(rows, config).rename(shopper="customer")
    joined = found.left_join(looked, found.customer == looked.shopper)
    return joined.select(
        "customer",
        online_event_share=ratio(joined.online_events, joined.events),
        online_spend_share=ratio(joined.spent_online, joined.spent),
        last_online_event_on=joined.last_online_event_on,
        last_store_event_on=joined.last_store_event_on,
        last_online_purchase_on=joined.last_online_purchase_on,
        last_store_purchase_on=joined.last_store_purchase_on,
        showrooming_share=joined.showrooming_share,
    )


def showrooming(rows: ir.Table, config: FeatureConfig) -> ir.Table:
    """Of the lines a customer bought in stores, those whose item they had viewed online shortly before.

    Shortly: within `showrooming_days` times 24 hours, up to the moment of the receipt.
    """
    known = rows["item"].notnull()
    at = rows.occurred_at.epoch_seconds().cast("int64")
    lines = rows.filter(known & (rows.channel == "store") & rows.event_name.isin(config.purchases))
    lines = lines.select("customer", "item", at=at)
    views = rows.filter(known & (rows.channel == "online") & (rows.event_name == VIEW))
    views = views.select("customer", "item", viewed_at=at)
    # Most views are of items that the customer never bought in a store: they go before anything is compared.
    views = views.semi_join(lines.select("customer", "item").distinct(), ["customer", "item"])
    before = [
        lines.customer == views.customer,
        lines["item"] == views["item"],
        views.viewed_at <= lines.at,
        views.viewed_at >= lines.at - config.showrooming_days * DAY,
    ]
    looked_up = lines.semi_join(views, before)
    counted = ibis.union(
        lines.select("customer", looked=ibis.literal(0).cast("int32")),
        looked_up.select("customer", looked=ibis.literal(1).cast("int32")),
    )
    return counted.group_by("customer").agg(
        showrooming_share=ratio(counted.looked.sum(), counted.count(where=counted.looked == 0))
    )
