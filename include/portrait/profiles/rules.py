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
SHORTEST_INTERVAL_DAYS = 7.0
UNKNOWN_INTERVAL_DAYS = 30.0
"""Expected interval where not one buyer has two purchase days."""


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
) -> ir.StringValue:
    """Where the customer stands in their own purchase rhythm.

    prospect : never bought (null dates).
    new : one purchase day, at most `NEW_WITHIN_DAYS` ago.
    active : last purchase at most 1.5 expected intervals ago.
    at_risk : at most 3.
    lost : longer ago.
    """
    recency = days_since(last_purchase_on, as_of)
    newcomer = (first_purchase_on == last_purchase_on) & (recency <= NEW_WITHIN_DAYS)
    return ibis.cases(
        (last_purchase_on.isnull(), "prospect"),
        (newcomer, "new"),
        (recency <= expected_interval * ACTIVE_INTERVALS, "active"),
        (recency <= expected_interval * AT_RISK_INTERVALS, "at_risk"),
        else_="lost",
    )


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
