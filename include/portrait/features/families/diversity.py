"""How widely a customer's interest is spread over categories and brands."""

from datetime import date

import ibis
from ibis.expr import types as ir

from portrait.config import FeatureConfig

DIMENSIONS = ("category", "brand")
VIEW = "product_viewed"
UNITS = 10_000.0
"""Of the heaviest event. Weights, and below the terms of the entropy, are whole numbers kept as floats: their sums
are exact and so do not depend on the order of rows, and engines add them faster than decimals."""
FINE = 1024.0


def diversity(rows: ir.Table, catalogue: ir.Table, config: FeatureConfig, as_of: date) -> ir.Table:
    """One row a customer who viewed or bought something of a known category or brand.

    The entropy is Shannon's, in nats, of the shares of behaviour weight: 0 when all goes to one value, ln(n) when n
    values have as much each. Views and purchases count, with `behaviour_weights` and without fading.
    """
    counted = {e: w for e, w in config.behaviour_weights.items() if w > 0 and e in (*config.purchases, VIEW)}
    shown = rows.filter(rows.event_name.isin(list(counted)) & rows["item"].notnull())
    heaviest = max(counted.values(), default=1.0)
    units = [(event, max(1, round(UNITS * weight / heaviest))) for event, weight in sorted(counted.items())]
    weight = shown.event_name.cases(*units, else_=0) if units else ibis.literal(0)
    shown = shown.select("customer", "item", weight=weight.cast("float64"))
    interest = shown.inner_join(_coded(catalogue), "item")
    category, brand = (_spread(interest, d).rename(**{f"{d}_customer": "customer"}) for d in DIMENSIONS)
    joined = category.outer_join(brand, category.category_customer == brand.brand_customer)
    return joined.select(
        customer=ibis.coalesce(joined.category_customer, joined.brand_customer),
        **{
            f"{d}_count": ibis.coalesce(joined[f"{d}_count"], ibis.literal(0)).cast("int32")
            for d in DIMENSIONS
        },
        **{f"{d}_entropy": joined[f"{d}_entropy"] for d in DIMENSIONS},
    )


def _coded(catalogue: ir.Table) -> ir.Table:
    """Categories and brands as whole numbers, which group faster than texts; null stays null."""
    codes = {
        f"{d}_code": ibis.ifelse(
            catalogue[d].notnull(),
            ibis.dense_rank().over(ibis.window(order_by=catalogue[d])),
            ibis.null("int64"),
        ).cast("int32")
        for d in DIMENSIONS
    }
    return catalogue.select("item", **codes)


def _spread(interest: ir.Table, dimension: str) -> ir.Table:
    code = interest[f"{dimension}_code"]
    shares = (
        interest.filter(code.notnull()).group_by("customer", f"{dimension}_code").agg(w=interest.weight.sum())
    )
    w = shares.w
    found = shares.group_by("customer").agg(
        values=shares.count(), total=shares.w.sum(), terms=(w * w.ln() * FINE).round().cast("float64").sum()
    )
    total = found.total
    # ln W - (sum of w ln w) / W is the entropy of the shares w / W.
    entropy = ibis.greatest(total.ln() - found.terms / FINE / total, ibis.literal(0.0))
    single = found["values"] == 1
    return found.select(
        "customer",
        **{
            f"{dimension}_count": found["values"],
            f"{dimension}_entropy": ibis.ifelse(single, ibis.literal(0.0), entropy),
        },
    )
