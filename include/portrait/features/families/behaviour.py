"""What customers do online, and how one thing leads to the next."""

from datetime import date

from ibis.expr import types as ir

from portrait.config import FeatureConfig
from portrait.features.families.ratio import ratio
from portrait.features.weight import days_before

EVENTS = {
    "views": "product_viewed",
    "searches": "products_searched",
    "carts": "product_added",
    "favourites": "product_favorited",
    "shares": "product_shared",
    "reviews": "product_reviewed",
}
WINDOW = 90


def behaviour(rows: ir.Table, catalogue: ir.Table, config: FeatureConfig, as_of: date) -> ir.Table:
    """One row a customer who did something online.

    A conversion is the number of events of one kind divided by that of the kind before it, all time; it may exceed 1
    (three views after one search). Order lines bought online are what carts lead to.
    """
    online = rows.filter(rows.channel == "online")
    recent = days_before(as_of, online.business_date) < WINDOW
    # Kind and window in one small number: the texts and dates are looked at once for all counts.
    kinds = [(event, n) for n, event in enumerate(EVENTS.values())]
    kind = online.event_name.cases(
        *kinds, *((p, len(EVENTS)) for p in config.purchases), else_=len(EVENTS) + 1
    )
    coded = online.select("customer", "rating", kind=kind.cast("int8"), recent=recent)
    counts = {}
    for n, name in enumerate(EVENTS):
        counts[f"{name}_90d"] = coded.count(where=(coded.kind == n) & coded.recent).cast("int32")
        counts[name] = coded.count(where=coded.kind == n).cast("int32")
    rated = coded.rating.cast("decimal(9, 4)")
    found = coded.group_by("customer").agg(
        **{f"{name}_total" if not name.endswith("_90d") else name: c for name, c in counts.items()},
        orders=coded.count(where=coded.kind == len(EVENTS)),
        rating_sum=rated.sum(),
        ratings=rated.count(),
    )
    columns = [f"{name}{end}" for end in ("_90d", "_total") for name in EVENTS]
    return found.select(
        "customer",
        *columns,
        rating_mean=ratio(found.rating_sum, found.ratings),
        search_to_view=ratio(found.views_total, found.searches_total),
        view_to_cart=ratio(found.carts_total, found.views_total),
        cart_to_purchase=ratio(found.orders, found.carts_total),
    )
