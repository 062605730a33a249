"""The last things each customer did, in order."""

from collections.abc import Iterator

import ibis
import numpy as np
import pyarrow as pa
from ibis.expr import types as ir

from portrait.config import FeatureConfig
from portrait.contracts import EVENT_NAMES
from portrait.features.engine import Engine
from portrait.features.ragged import Ragged

EVENTS = (*EVENT_NAMES, "pos_sale", "pos_return")
"""An event's number in a sequence is its place here plus one; 0 is left for padding."""

CHANNELS = ("online", "store")


BLOCK = 100_000
"""Customers whose lists are made at once."""
_ORDER = ("at", "event", "item", "channel")
"""Everything takes part in the order, so that it does not depend on that of the rows."""
STEP = pa.struct(
    {"at": pa.int64(), "event": pa.int8(), "item": pa.int32(), "channel": pa.int8(), "gap": pa.int32()}
)


def steps(rows: ir.Table, config: FeatureConfig) -> ir.Table:
    """The last `sequence_length` events of each customer: customer, at, event, item, channel and place, 0 the newest."""
    known = rows.filter(rows.event_name.isin(EVENTS))
    coded = known.select(
        "customer",
        at=known.occurred_at.epoch_seconds().cast("int64"),
        event=known.event_name.cases(*((e, n + 1) for n, e in enumerate(EVENTS))).cast("int8"),
        item=ibis.coalesce(known["item"], ibis.literal(-1)).cast("int32"),
        channel=known.channel.cases(*((c, n + 1) for n, c in enumerate(CHANNELS))).cast("int8"),
    )
    newest = ibis.window(group_by="customer", order_by=[coded[c].desc() for c in _ORDER])
    placed = coded.mutate(place=ibis.row_number().over(newest))
    return placed.filter(placed.place < config.sequence_length)


def sequences(rows: ir.Table, config: FeatureConfig) -> ir.Table:
    """One row a customer: `steps`, a list of the last `sequence_length` events, oldest first.

    ======== =====================================================================================
    at       int64 seconds since 1970, UTC
    event    int8, 1 + place in `EVENTS`
    item     int32 position of the item, -1 for an event without one
    channel  int8, 1 + place in `CHANNELS`
    turn     0 for the newest, -1 for the one before: events that are the same in all else are in this order
    gap      int32 seconds since the event before in the sequence; 0 for the first
    ======== =====================================================================================
    """
    last = steps(rows, config)
    newest = ibis.window(group_by="customer", order_by=last.place)
    gap = ibis.coalesce(last["at"] - last["at"].lead().over(newest), ibis.literal(0)).cast("int32")
    # Structs are compared field by field: sorted lists are in the order of `_ORDER`, then of turns, on any engine.
    step = ibis.struct({**{name: last[name] for name in _ORDER}, "turn": -last.place, "gap": gap})
    return last.mutate(step=step).group_by("customer").agg(steps=lambda t: t.step.collect().sort())


def sequence_arrays(engine: Engine, last: ir.Table, customers: int) -> Ragged:
    """What `steps` gives as arrays by position, with the gap: quicker to exchange and to read than lists.

    Parameters
    ----------
    customers : number of positions.
    """
    found = engine.arrow(last.select("customer", *_ORDER).order_by("customer", *_ORDER))
    values = {name: found[name].to_numpy() for name in _ORDER}
    made = Ragged.of_rows(found["customer"].to_numpy(), customers, values)
    gap = np.diff(values["at"], prepend=0)
    gap[made.pointer[:-1][np.diff(made.pointer) > 0]] = 0
    return Ragged(made.pointer, {**values, "gap": gap.astype(np.int32)})


def sequence_lists(found: Ragged) -> Iterator[pa.Table]:
    """The same as lists, as `sequences` has them without the turn: customer, steps."""
    for start in range(0, max(found.rows, 1), BLOCK):
        pointer = found.pointer[start : start + BLOCK + 1]
        there = np.flatnonzero(np.diff(pointer))
        flat = slice(pointer[0], pointer[-1])
        fields = [pa.array(found.values[f.name][flat], f.type) for f in STEP]
        # Whoever did nothing has no values between two others: their bounds are left out.
        bounds = np.append(pointer[there], pointer[-1]) - pointer[0]
        lists = pa.ListArray.from_arrays(
            pa.array(bounds, pa.int32()), pa.StructArray.from_arrays(fields, fields=list(STEP))
        )
        yield pa.table({"customer": pa.array(there + start, pa.int32()), "steps": lists})
