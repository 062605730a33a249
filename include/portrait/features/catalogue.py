"""What is known of each item."""

import ibis
from ibis.expr import types as ir

TIERS = 5


def catalogue(product: ir.Table, items: ir.Table) -> ir.Table:
    """One row an item with a product row: item (position), sku, category, category_1, brand, list_price, price_tier.

    `price_tier` is the quintile of the list price among the products of the category, 1 the cheapest; equal prices
    have one tier, and a category with fewer than five priced products has none.
    """
    index = items.select(item="col", item_sku="sku")
    known = product.inner_join(index, product.sku == index.item_sku).drop("item_sku")
    priced = product.filter(product.list_price.notnull() & product.category.notnull())
    category = ibis.window(group_by=priced.category, order_by=priced.list_price)
    whole = ibis.window(group_by=priced.category)
    priced = priced.mutate(place=ibis.rank().over(category), others=priced.count().over(whole) - 1)
    tier = (1 + (TIERS * priced.place) // priced.others.clip(lower=1)).clip(upper=TIERS).cast("int32")
    priced = priced.mutate(tier=tier).filter(priced.others >= TIERS - 1)
    tiers = priced.select(priced_sku="sku", price_tier="tier")
    joined = known.left_join(tiers, known.sku == tiers.priced_sku).drop("priced_sku")
    return joined.select("item", "sku", "category", "category_1", "brand", "list_price", "price_tier")
