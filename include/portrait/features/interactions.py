"""What customers did, online and in stores, one row an event or receipt line."""

from datetime import date

import ibis
from ibis.backends.duckdb import Backend
from ibis.expr import types as ir

from portrait.config import FeatureConfig, Settings
from portrait.features.tables import lake_table
from portrait.identity.kinds import kinds_of

INTERACTION = (
    "customer_id",
    "event_name",
    "channel",
    "sku",
    "basket_id",
    "quantity",
    "amount",
    "occurred_at",
    "business_date",
    "store_id",
    "search_query",
)
"""Columns. `amount` is a decimal, so that sums do not depend on the order of rows; `basket_id` is the order
or the receipt; `customer_id` is null where no identifier of the row has a customer."""

RECEIPT_KEY = ("store_id", "workstation_id", "sequence_number", "business_date")
MONEY = "decimal(18, 4)"


def interactions(engine: Backend, settings: Settings, identity: ir.Table, as_of: date) -> ir.Table:
    """Every interaction up to `as_of`, columns of `INTERACTION`.

    Attribution is by the highest-priority identifier of the row that has a customer.
    """
    priority = settings.identity.priority
    events = attribute(
        lake_table(engine, settings, "online_event", as_of), "online_event", identity, priority
    )
    receipts = attribute(
        lake_table(engine, settings, "pos_receipt", as_of), "pos_receipt", identity, priority
    )
    lines = lake_table(engine, settings, "pos_receipt_line", as_of)
    return ibis.union(online(events, settings.features), in_store(lines, receipts))


def attribute(rows: ir.Table, entity: str, identity: ir.Table, priority: tuple[str, ...]) -> ir.Table:
    """Add `customer_id` to rows of a `raw` table: that of the first kind in `priority` that has one on the row's date."""
    columns = kinds_of(entity)
    found = []
    for kind in (k for k in priority if columns.get(k) in rows.columns):
        owner = identity.filter(identity.kind == kind).select(
            **{f"{kind}_value": identity.value, f"{kind}_customer": identity.customer_id},
            valid_from=identity.valid_from.fill_null(date.min),
            valid_to=identity.valid_to.fill_null(date.max),
        )
        its = [
            rows[columns[kind]] == owner[f"{kind}_value"],
            rows.business_date >= owner.valid_from,
            rows.business_date < owner.valid_to,
        ]
        rows = rows.left_join(owner, its).drop(f"{kind}_value", "valid_from", "valid_to")
        found.append(f"{kind}_customer")
    if not found:
        return rows.mutate(customer_id=ibis.null("string"))
    return rows.mutate(customer_id=ibis.coalesce(*(rows[c] for c in found))).drop(*found)


def online(events: ir.Table, config: FeatureConfig) -> ir.Table:
    """Online events. An order line without an order id belongs to the basket of its moment."""
    in_order = events.event_name.isin([*config.purchases, *config.refunds])
    moment = events.occurred_at.epoch_seconds().cast("string")
    return events.select(
        "customer_id",
        "event_name",
        "sku",
        "quantity",
        "occurred_at",
        "business_date",
        "store_id",
        "search_query",
        channel=ibis.literal("online"),
        basket_id=ibis.coalesce(events.order_id, ibis.ifelse(in_order, moment, ibis.null("string"))),
        amount=ibis.coalesce(events.amount, events.quantity * events.unit_price).cast(MONEY),
    ).select(*INTERACTION)


def in_store(lines: ir.Table, receipts: ir.Table) -> ir.Table:
    """Receipt lines with what their receipt knows; a line whose receipt is missing waits for it.

    A line with a negative quantity is a return, also on the receipt of a sale (an exchange).
    """
    receipt = receipts.select(*RECEIPT_KEY, "customer_id", "occurred_at", "kind")
    line = lines.inner_join(receipt, list(RECEIPT_KEY))
    returned = (line.kind == "return") | (line.quantity < 0)
    computed = line.quantity * line.unit_price - ibis.coalesce(line.discount_amount, ibis.literal(0.0))
    return line.select(
        "customer_id",
        "sku",
        "occurred_at",
        "business_date",
        "store_id",
        channel=ibis.literal("store"),
        event_name=ibis.ifelse(returned, "pos_return", "pos_sale"),
        basket_id=receipt_id(line),
        quantity=line.quantity.abs(),
        amount=ibis.coalesce(line.line_amount, computed).abs().cast(MONEY),
        search_query=ibis.null("string"),
    ).select(*INTERACTION)


def receipt_id(rows: ir.Table) -> ir.StringValue:
    """The receipt's key as one text: store|workstation|sequence|business date."""
    parts = [rows[c].cast("string") for c in RECEIPT_KEY]
    return ibis.literal("|").join(parts)
