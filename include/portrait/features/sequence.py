"""The last things each customer did, in order."""

import ibis
from ibis.expr import types as ir

from portrait.config import FeatureConfig
from portrait.contracts import EVENT_NAMES

EVENTS = (*EVENT_NAMES, "pos_sale", "pos_return")
"""An event's number in a sequence is its place here plus one; 0 is left for padding."""

CHANNELS = ("online", "store")


def sequences(rows: ir.Table, config: FeatureConfig) -> ir.Table:
    """One row a customer: `steps`, a list of the last `sequence_length` events, oldest first.

    ======== =====================================================================================
    at       int64 seconds since 1970, UTC
    event    int8, 1 + place in `EVENTS`
    item     int32 position of the item, -1 for an event without one
    channel  int8, 1 + place in `CHANNELS`
    gap      int32 seconds since the event before in the sequence; 0 for the first
    ======== =====================================================================================
    """
    known = rows.filter(rows.event_name.isin(EVENTS))
    coded = known.select(
        "customer",
        at=known.occurred_at.epoch_seconds().cast("int64"),
        item=ibis.coalesce(known["item"], ibis.literal(-1)).cast("int32"),
        event=known.event_name.cases(*((e, n + 1) for n, e in enumerate(EVENTS))).cast("int8"),
        channel=known.channel.cases(*((c, n + 1) for n, c in enumerate(CHANNELS))).cast("int8"),
    )
    # Everything takes part in the order, so that it does not depend on that of the rows.
    order = ["at", "event", "item", "channel"]
    newest = ibis.window(group_by="customer", order_by=[coded[c].desc() for c in order])
    last = coded.mutate(place=ibis.row_number().over(newest), before=coded["at"].lead().over(newest))
    last = last.filter(last.place < config.sequence_length)
    oldest = (last.place == config.sequence_length - 1) | last.before.isnull()
    gap = ibis.ifelse(oldest, 0, last["at"] - last.before).cast("int32")
    # Structs are compared field by field: sorted lists are in the order of `order`, on any engine.
    step = ibis.struct({**{name: last[name] for name in order}, "gap": gap})
    stepped = last.mutate(step=step)
    return stepped.group_by("customer").agg(steps=stepped.step.collect().sort())
