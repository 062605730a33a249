"""What a customer takes home at once."""

from datetime import date

import ibis
from ibis.expr import types as ir

from portrait.config import FeatureConfig


def basket(rows: ir.Table, catalogue: ir.Table, config: FeatureConfig, as_of: date) -> ir.Table:
    """One row a buyer: amount, pieces and distinct items of their orders and receipts.

    A line without a quantity counts as one piece; lines without an item count for no item.
    """
    bought = rows.filter(rows.event_name.isin(config.purchases))
    pieces = ibis.coalesce(bought.quantity, ibis.literal(1.0)).abs().cast("decimal(18, 4)")
    # By item first: the distinct items of a basket are then a count.
    line = bought.group_by("customer", "channel", "basket", "item").agg(
        amount=bought.amount.sum(), pieces=pieces.sum()
    )
    whole = line.group_by("customer", "channel", "basket").agg(
        amount=line.amount.sum(), pieces=line.pieces.sum(), items=line["item"].count()
    )
    amount, number = whole.amount.cast("float64"), whole.pieces.cast("float64")
    baskets = whole.count().cast("float64")
    found = whole.group_by("customer").agg(
        basket_amount_mean=whole.amount.sum().cast("float64")
        / whole.amount.count().cast("float64").nullif(0.0),
        basket_amount_median=amount.quantile(0.5),
        basket_amount_max=amount.max(),
        basket_pieces_mean=whole.pieces.sum().cast("float64") / baskets,
        basket_pieces_median=number.quantile(0.5),
        basket_pieces_max=number.max(),
        basket_items_mean=whole["items"].sum().cast("float64") / baskets,
    )
    once = line.filter(line["item"].notnull()).select("customer", "item").distinct()
    variety = once.group_by(buyer=once.customer).agg(distinct_items=once.count())
    joined = found.left_join(variety, found.customer == variety.buyer).drop("buyer")
    return joined.mutate(distinct_items=ibis.coalesce(joined.distinct_items, ibis.literal(0)).cast("int32"))
