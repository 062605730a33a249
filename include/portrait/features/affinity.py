"""Which categories, brands and price bands a customer is drawn to, and where and when they come."""

import ibis
from ibis.expr import types as ir

from portrait.config import FeatureConfig
from portrait.features.families.rhythm import DAYPARTS
from portrait.features.weight import TOTAL, WEIGHT

OF_PRODUCTS = ("category", "brand", "price_band")
OF_VISITS = ("channel", "store", "daypart")
DIMENSIONS = (*OF_PRODUCTS, *OF_VISITS)

MOST = {"price_band": 2, "channel": 2, "store": 3, "daypart": 2}
"""Values of a dimension that are kept of a customer, where `affinity_top` allows more: there are few to choose from."""


def affinity(rows: ir.Table, catalogue: ir.Table, config: FeatureConfig) -> ir.Table:
    """The strongest values of each customer and dimension.

    `score` is the value's share of the customer's recency-weighted interest over all values of the dimension,
    before the best are kept: it says the same however many those are. A receipt or order
    line counts as one event. `evidence` counts the events, `last_on` is the last of them.

    category, brand, price_band : of the products. The interest in one product counts by its square root: ten looks at it
        say less of its category than a look at each of ten. Products that the catalogue does not know, or whose category
        or brand it does not, count for nothing. A price band is the product's `price_tier`, 1 the cheapest fifth of its
        category.
    channel, store, daypart : of all events, also those without a product. An event without a store or an hour counts
        for nothing there.
    """
    shown = rows.filter(rows.event_name.isin(list(config.behaviour_weights)) & (rows.weight > 0))
    product = catalogue.select("item", "category", "brand", price_band=catalogue.price_tier.cast("string"))
    known = _of_products(shown).inner_join(product, "item")
    hour = shown.local_hour
    parts = [((hour >= first) & (hour < end), name) for name, (first, end) in DAYPARTS.items()]
    visit = shown.select(
        "customer",
        "weight",
        "channel",
        evidence=ibis.literal(1, "int64"),
        last_on="business_date",
        store="store_id",
        daypart=ibis.cases(*parts),
    )
    found = [_of_dimension(known, d, config.affinity_top) for d in OF_PRODUCTS]
    found += [_of_dimension(visit, d, config.affinity_top) for d in OF_VISITS]
    return ibis.union(*found)


def _of_products(shown: ir.Table) -> ir.Table:
    """Each customer's interest in each product: weight (the square root), evidence, last_on."""
    total = shown.group_by("customer", "item").agg(
        weight=shown.weight.sum(), evidence=shown.count(), last_on=shown.business_date.max()
    )
    # Back to a decimal: sums of it do not depend on the order of rows.
    return total.mutate(weight=total.weight.cast("float64").sqrt().cast(WEIGHT))


def _of_dimension(known: ir.Table, dimension: str, top: int) -> ir.Table:
    known = known.mutate(value=known[dimension]).filter(lambda t: t.value.notnull())
    interest = known.group_by("customer", "value").agg(
        weight=known.weight.sum().cast(TOTAL), evidence=known.evidence.sum(), last_on=known.last_on.max()
    )
    # One window for both the total and the rank: the engine sorts once.
    strongest = ibis.window(
        group_by=interest.customer, order_by=[interest.weight.desc(), interest.value], rows=(None, None)
    )
    total = interest.weight.sum().over(strongest)
    scored = interest.mutate(
        rank=ibis.row_number().over(strongest) + 1,
        score=interest.weight.cast("float64") / total.cast("float64"),
    )
    return scored.filter(scored["rank"] <= min(top, MOST.get(dimension, top))).select(
        "customer",
        dimension=ibis.literal(dimension),
        value=scored.value,
        rank=scored["rank"].cast("int32"),
        score=scored.score,
        evidence=scored.evidence.cast("int32"),
        last_on=scored.last_on,
    )
