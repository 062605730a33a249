"""What each derived column of `profile.customer_profile` means, one rule a function.

A rule takes Ibis columns of one table and gives an Ibis column, so that it runs on every engine.
Null in means null out unless the rule says otherwise.
"""

from datetime import date

import ibis
from ibis.expr import types as ir

OLDEST_AGE = 105
"""Beyond it a birth date is a form's default (1900-01-01), not a customer's."""

NEW_WITHIN_DAYS = 30
ACTIVE_INTERVALS = 1.5
AT_RISK_INTERVALS = 3.0
DORMANT_INTERVALS = 6.0
SHORTEST_INTERVAL_DAYS = 7.0
UNKNOWN_INTERVAL_DAYS = 30.0
"""Expected interval where not one buyer has two purchase days."""

SILENCES = (
    ("frequency_30d", "frequency_90d", 60),
    ("frequency_30d", "frequency_365d", 335),
    ("frequency_90d", "frequency_365d", 275),
)
"""Bought within the shorter window and not in the rest of the longer one: silent for at least so many days before."""

LOYAL_PURCHASES = 3
INTERESTED_VIEWS = 3


def days_since(day: ir.DateValue, as_of: date) -> ir.IntegerValue:
    """Whole days from `day` to `as_of`: 0 on the day itself."""
    return ibis.literal(as_of).delta(day, unit="day").cast("int32")


def age(birth_date: ir.DateValue, as_of: date) -> ir.IntegerValue:
    """Completed years at `as_of`: born 1990-03-02, a customer is 35 on 2026-03-01 and 36 a day later."""
    birthday = birth_date.month() * 100 + birth_date.day()
    ahead = (birthday > as_of.month * 100 + as_of.day).cast("int32")
    return (as_of.year - birth_date.year() - ahead).cast("int32")


def plausible_birth_date(birth_date: ir.DateValue, as_of: date) -> ir.DateValue:
    """`birth_date`, or null when it lies after `as_of` or makes the customer older than `OLDEST_AGE`."""
    plausible = (birth_date <= as_of) & (age(birth_date, as_of) <= OLDEST_AGE)
    return plausible.ifelse(birth_date, ibis.null("date"))


def age_band(age: ir.IntegerValue) -> ir.StringValue:
    """under 18, 18-24, 25-34, 35-44, 45-54, 55-64, 65+."""
    return ibis.cases(
        (age < 18, "under 18"),
        (age < 25, "18-24"),
        (age < 35, "25-34"),
        (age < 45, "35-44"),
        (age < 55, "45-54"),
        (age < 65, "55-64"),
        (age >= 65, "65+"),
    )


def channels(store_receipts: ir.IntegerValue, online_events: ir.IntegerValue) -> ir.StringValue:
    """both, store or online: where the customer left a receipt or an event; none when nowhere (or null)."""
    in_store, online = store_receipts.coalesce(0) > 0, online_events.coalesce(0) > 0
    return ibis.cases((in_store & online, "both"), (in_store, "store"), (online, "online"), else_="none")


def expected_interval(interpurchase_days: ir.FloatingValue) -> ir.FloatingValue:
    """Days after which the customer's next purchase is expected.

    Their own mean days between purchases; with one purchase day (null) the median of the buyers who have
    more; `UNKNOWN_INTERVAL_DAYS` where nobody has. At least a week: two days in a row make no daily buyer.
    """
    typical = interpurchase_days.median().over()
    return ibis.greatest(
        ibis.coalesce(interpurchase_days, typical, UNKNOWN_INTERVAL_DAYS), SHORTEST_INTERVAL_DAYS
    )


def lifecycle(
    first_purchase_on: ir.DateValue,
    last_purchase_on: ir.DateValue,
    expected_interval: ir.FloatingValue,
    as_of: date,
    silence: ir.IntegerValue,
    last_seen_on: ir.DateValue | None = None,
) -> ir.StringValue:
    """Where the customer stands in their own purchase rhythm.

    Parameters
    ----------
    silence : days for which they had not bought before they last did (`silence`).
    last_seen_on : last event of any kind; who still looks around has not gone. Null: the last purchase.

    prospect : never bought (null dates).
    new : one purchase day, at most `NEW_WITHIN_DAYS` ago.
    returned : active, after a silence in which they counted as dormant.
    active : last purchase at most 1.5 expected intervals ago.
    at_risk : at most 3, or longer ago and still seen within 3.
    dormant : neither bought nor seen for more than 3, at most 6.
    lost : neither for longer.
    """
    recency = days_since(last_purchase_on, as_of)
    unseen = recency
    if last_seen_on is not None:
        unseen = ibis.least(recency, days_since(last_seen_on, as_of).coalesce(recency))
    active = recency <= expected_interval * ACTIVE_INTERVALS
    newcomer = (first_purchase_on == last_purchase_on) & (recency <= NEW_WITHIN_DAYS)
    return ibis.cases(
        (last_purchase_on.isnull(), "prospect"),
        (newcomer, "new"),
        (active & (silence >= expected_interval * AT_RISK_INTERVALS), "returned"),
        (active, "active"),
        (unseen <= expected_interval * AT_RISK_INTERVALS, "at_risk"),
        (unseen <= expected_interval * DORMANT_INTERVALS, "dormant"),
        else_="lost",
    )


def silence(buyers: ir.Table) -> ir.IntegerValue:
    """Days for which a buyer had certainly not bought before they bought lately: 0, 60, 275 or 335.

    By the counts of the last 30, 90 and 365 days; only who had bought before the silence can break it.
    """
    known = [
        ((buyers[short] > 0) & (buyers[short] == buyers[long]) & (buyers["frequency"] > buyers[long])).ifelse(
            days, 0
        )
        for short, long, days in SILENCES
    ]
    return ibis.greatest(*known)


def aipl_stage(customers: ir.Table) -> ir.StringValue:
    """aware, interested, purchased or loyal: Alibaba's AIPL of the last year; null for who was never seen.

    loyal : at least `LOYAL_PURCHASES` purchases in 365 days.
    purchased : at least one.
    interested : in the last 30 days put into the cart, searched, or viewed `INTERESTED_VIEWS` products.
    aware : was seen at all.
    """
    bought = customers["frequency_365d"].coalesce(0)
    interested = (
        (customers["carts_30d"].coalesce(0) > 0)
        | (customers["searches_30d"].coalesce(0) > 0)
        | (customers["views_30d"].coalesce(0) >= INTERESTED_VIEWS)
    )
    return ibis.cases(
        (bought >= LOYAL_PURCHASES, "loyal"),
        (bought > 0, "purchased"),
        (interested, "interested"),
        (customers["first_seen_on"].notnull(), "aware"),
    )


def third(value: ir.FloatingValue) -> ir.StringValue:
    """low, mid or high: the third in which the value lies among those that are known; null stays null.

    Equal values share a third, by the rule of `spending_tier`.
    """
    known = value.notnull()
    smaller = ibis.rank().over(group_by=known, order_by=value)
    larger = ibis.rank().over(group_by=known, order_by=value.desc())
    lead, number = (smaller - larger) * 3, value.count().over()
    return ibis.cases(
        (value.isnull(), ibis.null("string")), (lead <= -number, "low"), (lead >= number, "high"), else_="mid"
    )


def daypart(shares: ir.Table) -> ir.StringValue:
    """night, morning, afternoon or evening: when the customer is seen most; null when no hour is known."""
    parts = ("night", "morning", "afternoon", "evening")
    most = ibis.greatest(*(shares[f"{part}_share"] for part in parts))
    return ibis.cases(*((shares[f"{part}_share"] == most, part) for part in parts))


def average_basket(monetary: ir.FloatingValue, frequency: ir.IntegerValue) -> ir.FloatingValue:
    """Spent a purchase; null when nothing was bought."""
    return (frequency > 0).ifelse(monetary / frequency, ibis.null("float64"))


def spending_tier(average_basket: ir.FloatingValue) -> ir.StringValue:
    """low, mid or high: the third of the buyers in which the average basket lies.

    Equal baskets share a tier, so a tier may hold more or less than a third: a basket is low when those who
    spend more outnumber those who spend less by a third of the buyers, high in the opposite case, else mid.
    The table must hold buyers only.
    """
    smaller = ibis.rank().over(order_by=average_basket)
    larger = ibis.rank().over(order_by=average_basket.desc())
    buyers = average_basket.count().over()
    lead = (smaller - larger) * 3
    return ibis.cases((lead <= -buyers, "low"), (lead >= buyers, "high"), else_="mid")


def store_share(store_monetary: ir.FloatingValue, monetary: ir.FloatingValue) -> ir.FloatingValue:
    """Share of the spending that was in stores, 0 to 1; null when nothing was spent."""
    share = (store_monetary / monetary).clip(0.0, 1.0)
    return (monetary > 0).ifelse(share, ibis.null("float64"))


def home_store(registered: ir.StringValue, favourite: ir.StringValue) -> ir.StringValue:
    """Store of registration, else the store bought in most."""
    return registered.coalesce(favourite)


def favourites(affinity: ir.Table, dimension: str) -> ir.Table:
    """`customer_id` and `favourite_<dimension>`: the value of rank 1 in that dimension of the affinities."""
    first = affinity.filter(affinity["dimension"] == dimension, affinity["rank"] == 1)
    return first.group_by("customer_id").agg(first["value"].min().name(f"favourite_{dimension}"))
