"""The wide table: one row a customer."""

from datetime import date

import ibis
import pyarrow as pa
from ibis.expr import types as ir

from portrait.profiles import rules
from portrait.profiles.city_tiers import spelling, tier_of_city
from portrait.profiles.inferred import COLUMNS as INFERRED_COLUMNS
from portrait.profiles.inputs import Inputs

ACTIVITY_COLUMNS = (
    "first_seen_on",
    "last_seen_on",
    "online_events",
    "store_receipts",
    "views_30d",
    "searches_30d",
    "carts_30d",
    "favourite_store",
)
RFM_COLUMNS = (
    "frequency_90d",
    "monetary_90d",
    "frequency_365d",
    "monetary_365d",
    "interpurchase_days",
    "r_score",
    "f_score",
    "m_score",
)
VALUE_COLUMNS = (
    "p_alive",
    "expected_orders_90d",
    "expected_spend_90d",
    "clv_12m",
    "clv_12m_low",
    "clv_12m_high",
)


def buyer_columns(rfm: ir.Table, activity: ir.Table, power: ir.Table, as_of: date) -> ir.Table:
    """What the rules say about buyers: basket, spending tier, store share and lifecycle."""
    seen = activity.select("customer_id", "last_seen_on")
    rfm = rfm.left_join(seen, "customer_id").drop("customer_id_right")
    rfm = rfm.left_join(power, "customer_id").drop("customer_id_right")
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
        *RFM_COLUMNS,
        recency_days=rules.days_since(buyers["last_purchase_on"], as_of),
        price_level=buyers["price_level"],
        spending_tier=buyers["power"].coalesce(rules.spending_tier(buyers["average_basket"])),
        lifecycle=rules.lifecycle(
            buyers["first_purchase_on"],
            buyers["last_purchase_on"],
            buyers["expected_interval"],
            as_of,
            rules.silence(buyers),
            buyers["last_seen_on"],
        ),
    )


def habit_columns(habits: ir.Table) -> ir.Table:
    """How much a buyer looks at the price and waits for promotions, thirds of those of whom it is known; when they come."""
    return habits.select(
        "customer_id",
        "return_rate",
        "discount_share",
        price_sensitivity=rules.third(-habits["price_tier_mean"]),
        promotion_sensitivity=rules.third(habits["discount_share"]),
        favourite_daypart=rules.daypart(habits),
    )


def city_tiers(cities: list[str]) -> ir.Table:
    """city and city_tier of these spellings; cities of no known tier have no row."""
    tiers = tier_of_city()
    found = {c: tiers[spelling(c)] for c in cities if spelling(c) in tiers}
    schema = ibis.schema({"graded_city": "string", "city_tier": "string"})
    columns = {"graded_city": list(found), "city_tier": list(found.values())}
    return ibis.memtable(pa.table(columns, schema=schema.to_pyarrow()))


def customer_profile(
    inputs: Inputs,
    value: ir.Table,
    power: ir.Table,
    inferred: ir.Table,
    graded: ir.Table,
    as_of: date,
) -> ir.Table:
    """Every customer with all columns of `profile.customer_profile` but those of the segment.

    A customer who bought nothing is a prospect with frequency, monetary and refunded 0; one who left no event has 0 views
    and searches.

    Parameters
    ----------
    value : rows of `profile.customer_value`.
    power : `spending_power`'s rows.
    inferred : `inferred`'s rows.
    graded : `city_tiers` of the customers' cities.
    """
    joined = inputs.customer.left_join(graded, inputs.customer["city"] == graded["graded_city"])
    joined = joined.drop("graded_city")
    for other in (
        buyer_columns(inputs.rfm, inputs.activity, power, as_of),
        inputs.activity.select("customer_id", *ACTIVITY_COLUMNS),
        rules.favourites(inputs.affinity, "category"),
        rules.favourites(inputs.affinity, "brand"),
        habit_columns(inputs.habits),
        value.select("customer_id", *VALUE_COLUMNS),
        inferred.select("customer_id", *INFERRED_COLUMNS),
    ):
        joined = joined.left_join(other, "customer_id").drop("customer_id_right")
    counted = (
        "frequency",
        "monetary",
        "refunded",
        "views_30d",
        "searches_30d",
        "carts_30d",
        *RFM_COLUMNS[:4],
    )
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
    return aged.mutate(age_band=rules.age_band(aged["age"]), aipl_stage=rules.aipl_stage(aged))
