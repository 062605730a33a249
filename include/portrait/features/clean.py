"""What is taken out of the events before anything is counted, and the record of it."""

from dataclasses import dataclass

import ibis
from ibis.expr import types as ir

from portrait.config import FeatureConfig
from portrait.identity.kinds import kinds_of

IDENTITY = ("device_code", "account_code")
SAME = (
    *(f"{kind}_code" for kind in kinds_of("online_event")),
    *("event_name", "occurred_at", "sku", "search_query", "session_id", "rating"),
)
"""What two copies of one event share. Order lines are never copies: an order may list a sku twice."""


@dataclass(frozen=True)
class Cleaned:
    """Rows that are kept, and what was done: rule, business_date, rows."""

    rows: ir.Table
    record: ir.Table


def clean_events(events: ir.Table, config: FeatureConfig) -> Cleaned:
    """Online events without repeated and automatic ones, and with capped quantities.

    ``duplicate`` : the same event delivered under another event id. The first by source and row is kept.
    ``bot``       : everything on a day by a device (or an account without one) with more than `bot_events_per_day`.
    ``quantity``  : more than `quantity_cap` pieces in a line count as the cap (winsorised).
    """
    copies = duplicates(events, config)
    robots = bots(events, config)
    key = ["source", "source_row_id"]
    rows = events.anti_join(copies, key)
    subject = ["business_date", "subject"]
    rows = rows.mutate(subject=_subject(rows)).anti_join(robots, subject).drop("subject")
    capped, cut = cap_quantity(rows, config)
    record = ibis.union(
        _counted("duplicate", copies, copies.count()),
        _counted("bot", robots, robots.events.sum()),
        cut,
    )
    return Cleaned(capped, record)


def duplicates(events: ir.Table, config: FeatureConfig) -> ir.Table:
    """Copies of events: source, source_row_id, business_date."""
    behaviour = events.filter(events.event_name.notin([*config.purchases, *config.refunds]))
    # One aggregation finds the few candidates; only they are compared in full.
    rough = [*IDENTITY, "event_name", "occurred_at"]
    often = behaviour.group_by(rough).agg(times=behaviour.count())
    often = often.filter(often.times > 1)
    same = [
        behaviour.event_name == often.event_name,
        behaviour.occurred_at == often.occurred_at,
        behaviour.device_code.identical_to(often.device_code),
        behaviour.account_code.identical_to(often.account_code),
    ]
    candidates = behaviour.semi_join(often, same)
    order = ibis.window(group_by=list(SAME), order_by=["source", "source_row_id"])
    placed = candidates.mutate(place=ibis.row_number().over(order))
    return placed.filter(placed.place > 0).select("source", "source_row_id", "business_date")


def bots(events: ir.Table, config: FeatureConfig) -> ir.Table:
    """Devices (or accounts) and days with too many events: business_date, subject, events."""
    seen = events.mutate(subject=_subject(events)).filter(lambda t: t.subject.notnull())
    busy = seen.group_by("business_date", "subject").agg(events=seen.count())
    return busy.filter(busy.events > config.bot_events_per_day)


def cap_quantity(rows: ir.Table, config: FeatureConfig) -> tuple[ir.Table, ir.Table]:
    """Rows with at most `quantity_cap` pieces (either sign), and the record of what was cut."""
    cap = ibis.literal(float(config.quantity_cap))
    over = rows.filter(rows.quantity.abs() > cap)
    capped = rows.mutate(quantity=rows.quantity.clip(lower=-cap, upper=cap))
    return capped, _counted("quantity", over, over.count())


def _subject(events: ir.Table) -> ir.IntegerColumn:
    return ibis.coalesce(events.device_code, events.account_code)


def _counted(rule: str, table: ir.Table, count: ir.IntegerScalar) -> ir.Table:
    return (
        table.group_by("business_date")
        .agg(rows=count.cast("int64"))
        .select("business_date", "rows", rule=ibis.literal(rule))
    )
