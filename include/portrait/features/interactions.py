"""What was done, online and in stores, one row an event or receipt line, whoever did it."""

import ibis
from ibis.expr import types as ir

from portrait.config import FeatureConfig

FACT = (
    "event_name",
    "channel",
    "item",
    "basket",
    "quantity",
    "amount",
    "discount",
    "rating",
    "occurred_at",
    "local_hour",
    "business_date",
    "store_id",
    "search_query",
)
"""Columns. `item` is the position of the sku; `basket` the hash of the order or receipt; `amount` and `discount`
are decimals, so that sums do not depend on the order of rows."""

RECEIPT_KEY = ("store_id", "workstation_id", "sequence_number", "business_date")
MONEY = "decimal(18, 4)"


def online(events: ir.Table, items: ir.Table, config: FeatureConfig) -> ir.Table:
    """Online events, with their identifiers' codes. An order line without an order id belongs to the basket of its moment."""
    codes = _codes(events)
    events = _placed(events, items)
    in_order = events.event_name.isin([*config.purchases, *config.refunds])
    moment = events.occurred_at.epoch_seconds().cast("string")
    basket = ibis.coalesce(events.order_id, ibis.ifelse(in_order, moment, ibis.null("string")))
    made = events.mutate(
        channel=ibis.literal("online"),
        basket=_hashed(basket),
        amount=ibis.coalesce(events.amount, events.quantity * events.unit_price).cast(MONEY),
        discount=ibis.null(MONEY),
    )
    return made.select(*FACT, *codes)


def in_store(lines: ir.Table, receipts: ir.Table, items: ir.Table) -> ir.Table:
    """Receipt lines with what their receipt knows; a line whose receipt is missing waits for it.

    A line with a negative quantity is a return, also on the receipt of a sale (an exchange).
    """
    codes = _codes(receipts)
    receipt = receipts.select(*RECEIPT_KEY, "occurred_at", "local_hour", "kind", *codes)
    line = _placed(lines.inner_join(receipt, list(RECEIPT_KEY)), items)
    returned = (line.kind == "return") | (line.quantity < 0)
    computed = line.quantity * line.unit_price - ibis.coalesce(line.discount_amount, ibis.literal(0.0))
    key = ibis.literal("|").join([line[c].cast("string") for c in RECEIPT_KEY])
    made = line.mutate(
        channel=ibis.literal("store"),
        event_name=ibis.ifelse(returned, "pos_return", "pos_sale"),
        basket=_hashed(key),
        amount=ibis.coalesce(line.line_amount, computed).abs().cast(MONEY),
        discount=line.discount_amount.cast(MONEY),
        quantity=line.quantity.abs(),
        rating=ibis.null("float64"),
        search_query=ibis.null("string"),
    )
    return made.select(*FACT, *codes)


def _placed(rows: ir.Table, items: ir.Table) -> ir.Table:
    """Add the item's position."""
    index = items.select(item="col", item_sku="sku")
    return rows.left_join(index, rows.sku == index.item_sku).drop("item_sku")


def _codes(rows: ir.Table) -> list[str]:
    return [c for c in rows.columns if c.endswith("_code")]


def _hashed(text: ir.StringValue) -> ir.IntegerValue:
    """Half of the engine's hash of a text, which fits a signed integer; null stays null."""
    return ibis.ifelse(text.notnull(), text.hash() >> ibis.literal(1), ibis.null("int64")).cast("int64")
