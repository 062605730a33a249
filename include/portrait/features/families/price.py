"""What customers pay: price tiers, discounts, what they send back."""

from datetime import date

import ibis
from ibis.expr import types as ir

from portrait.config import FeatureConfig
from portrait.features.families.ratio import ratio

DEAREST, CHEAPEST = 5, 1


def price(rows: ir.Table, catalogue: ir.Table, config: FeatureConfig, as_of: date) -> ir.Table:
    """One row a customer who bought or returned.

    Coupons are not among what is delivered (no entity of the contract has them): the discount of a receipt line is
    what is known.
    """
    shown = rows.filter(rows.event_name.isin([*config.purchases, *config.refunds]))
    tiers = catalogue.filter(catalogue.price_tier.notnull()).select(tier_item="item", tier="price_tier")
    shown = shown.left_join(tiers, shown["item"] == tiers.tier_item)
    bought = shown.event_name.isin(config.purchases)
    discounted = bought & shown.discount.notnull() & shown.amount.notnull()
    found = shown.group_by("customer").agg(
        tier=shown.tier.sum(where=bought),
        tiered=shown.tier.count(where=bought),
        spent_tiered=shown.amount.sum(where=bought & shown.tier.notnull()),
        spent_dearest=shown.amount.sum(where=bought & (shown.tier == DEAREST)),
        spent_cheapest=shown.amount.sum(where=bought & (shown.tier == CHEAPEST)),
        discount=shown.discount.sum(where=discounted),
        paid=shown.amount.sum(where=discounted),
        spent=shown.amount.sum(where=bought),
        refunded=shown.amount.sum(where=~bought),
    )
    returned = ratio(found.refunded, found.spent)
    return found.select(
        "customer",
        price_tier_mean=ratio(found.tier, found.tiered),
        dearest_tier_share=ratio(found.spent_dearest, found.spent_tiered),
        cheapest_tier_share=ratio(found.spent_cheapest, found.spent_tiered),
        discount_share=ratio(found.discount, found.discount + found.paid),
        return_rate=ibis.ifelse(returned > 1.0, ibis.literal(1.0), returned),
    )
