"""The wide table: one row a customer."""

from datetime import date

import ibis
from ibis.expr import types as ir

from portrait.profiles import rules
from portrait.profiles.inputs import Inputs

ACTIVITY_COLUMNS = (
    "first_seen_on",
    "last_seen_on",
    "online_events",
    "store_receipts",
    "views_30d",
    "searches_30d",
    "favourite_store",
)


def buyer_columns(rfm: ir.Table, as_of: date) -> ir.Table:
    """What the rules say about buyers: basket, spending tier, store share and lifecycle."""
    buyers = rfm.mutate(
        average_basket=rules.average_basket(rfm["monetary"], rfm["frequency"]),
        expected_interval=rules.expected_interval(rfm["interpurchase_days"]),
        store_share=rules.store_share(rfm["store_monetary"], rfm["monetary"]),
    )
    return buyers.select(
        "customer_id",
        "last_purchase_on",
        "frequency",
        "monetary",
        "refunded",
        "average_basket",
        "store_share",
        "value_type",
        recency_days=rules.days_since(buyers["last_purchase_on"], as_of),
        spending_tier=rules.spending_tier(buyers["average_basket"]),
        lifecycle=rules.lifecycle(
            buyers["first_purchase_on"], buyers["last_purchase_on"], buyers["expected_interval"], as_of
        ),
    )


def customer_profile(inputs: Inputs, as_of: date) -> ir.Table:
    """Every customer with all columns of `profile.customer_profile` but those of the segment.

    A customer who bought nothing is a prospect with frequency, monetary and refunded 0; one who left no event
    has 0 views and searches.
    """
    joined = inputs.customer
    for other in (
        buyer_columns(inputs.rfm, as_of),
        inputs.activity.select("customer_id", *ACTIVITY_COLUMNS),
        rules.favourites(inputs.affinity, "category"),
        rules.favourites(inputs.affinity, "brand"),
    ):
        joined = joined.left_join(other, "customer_id").drop("customer_id_right")
    counted = ("frequency", "monetary", "refunded", "views_30d", "searches_30d")
    cleaned = joined.mutate(
        as_of=ibis.literal(as_of),
        birth_date=rules.plausible_birth_date(joined["birth_date"], as_of),
        joined_on=joined["joined_on"].coalesce(joined["first_seen_on"]),
        home_store=rules.home_store(joined["home_store"], joined["favourite_store"]),
        lifecycle=joined["lifecycle"].coalesce("prospect"),
        **{column: joined[column].coalesce(0) for column in counted},
    )
    aged = cleaned.mutate(
        age=rules.age(cleaned["birth_date"], as_of),
        tenure_days=rules.days_since(cleaned["joined_on"], as_of),
        channels=rules.channels(cleaned["store_receipts"], cleaned["online_events"]),
    )
    return aged.mutate(age_band=rules.age_band(aged["age"]))
