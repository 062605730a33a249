"""When and how often a customer was seen, buyers or not."""

from datetime import date

import ibis
from ibis.expr import types as ir

from portrait.features.weight import days_before

RECENT_DAYS = 30


def activity(rows: ir.Table, as_of: date) -> ir.Table:
    """One row a customer with any interaction.

    `interactions` counts events and receipt lines, `online_events` events, `store_receipts` distinct receipts (returns included); `views_30d`,
    `searches_30d` and `carts_30d` count the last 30 days, as_of included. `favourite_store` is the store with
    most receipts, the first by id where several have as many; null without receipts.
    """
    seen = rows
    in_store = seen.channel == "store"
    recent = days_before(as_of, seen.business_date) < RECENT_DAYS

    def lately(event: str) -> ir.IntegerScalar:
        return seen.count(where=recent & (seen.event_name == event)).cast("int32")

    counted = seen.group_by("customer").agg(
        interactions=seen.count(),
        first_seen_on=seen.business_date.min(),
        last_seen_on=seen.business_date.max(),
        online_events=seen.count(where=~in_store).cast("int32"),
        store_receipts=seen.basket.nunique(where=in_store).cast("int32"),
        views_30d=lately("product_viewed"),
        searches_30d=lately("products_searched"),
        carts_30d=lately("product_added"),
    )
    store = favourite_store(seen).rename(buyer="customer")
    return counted.left_join(store, counted.customer == store.buyer).drop("buyer")


def favourite_store(rows: ir.Table) -> ir.Table:
    """The store of most receipts of each customer."""
    in_store = rows.filter((rows.channel == "store") & rows.store_id.notnull())
    visits = in_store.group_by("customer", "store_id").agg(receipts=in_store.basket.nunique())
    most = ibis.window(group_by=visits.customer, order_by=[visits.receipts.desc(), visits.store_id])
    ranked = visits.mutate(place=ibis.row_number().over(most))
    return ranked.filter(ranked.place == 0).select("customer", favourite_store=ranked.store_id)
