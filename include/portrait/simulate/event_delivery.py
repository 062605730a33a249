"""Online events as they are delivered: late, duplicated and spoilt rows, then text and types."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from portrait.simulate.columns import Array, Columns, concat, rows, take
from portrait.simulate.delivery import Tables, delays, spoilt
from portrait.simulate.identifiers import account_id, device_id, hex16
from portrait.simulate.online import COMPLETED, EVENT_NAMES, online_events
from portrait.simulate.streams import Stream, generator
from portrait.simulate.world import CLOCK_OFFSET, World

GOOD, NEGATIVE_PRICE, UNKNOWN_NAME, BAD_TIME, NO_ID, FUTURE = range(6)
BAD_EVENTS = ("good", "negative_price", "unknown_event_name", "unparsable_time", "missing_id", "future_time")
FUTURE_DAYS = 3650
_NUMBER_OF_COPY = 2**30  # spoilt rows get event numbers of their own


def caused_events(world: World, day: int) -> Tables:
    """The events that a day causes, with the columns number, arrival, copy (1: second delivery) and bad."""
    dirt = world.retailer.dirt
    rng = generator(world.retailer, Stream.EVENT_DIRT, day)
    events = online_events(world, day)
    n = rows(events)
    events["number"] = day * 2**32 + np.arange(n)
    late = delays(rng, n, dirt.late)
    events["arrival"] = events["day"] + late
    events["copy"] = np.zeros(n, np.int8)
    events["bad"] = np.zeros(n, np.int8)

    twice = take(events, np.flatnonzero((rng.random(n) < dirt.duplicate_events) & (late == 0)))
    twice["arrival"] = twice["arrival"] + rng.integers(0, 2, rows(twice))
    twice["copy"] = np.ones(rows(twice), np.int8)

    bad = take(events, np.flatnonzero((late == 0) & (events["day"] == day)))
    bad = spoilt(rng, bad, dirt.bad_rows, np.array([NEGATIVE_PRICE, UNKNOWN_NAME, BAD_TIME, NO_ID, FUTURE]))
    bad["number"] = bad["number"] + _NUMBER_OF_COPY
    typed = bad["web"] | (world.retailer.app_format == "parquet")  # Parquet has no unparsable times
    bad["bad"] = np.where(typed & (bad["bad"] == BAD_TIME), FUTURE, bad["bad"]).astype(np.int8)
    return {"events": concat([events, twice, bad])}


def in_file_order(events: Columns) -> Columns:
    """Sorted by time, then number, then delivery."""
    return take(events, np.lexsort((events["copy"], events["number"], events["second"], events["day"])))


def events_table(world: World, events: Columns) -> pa.Table:
    """The events with the columns and types of a file; times are UTC in microseconds."""
    bad = events["bad"]
    name = np.where(bad == UNKNOWN_NAME, len(EVENT_NAMES), events["name"])
    name = np.where(bad == NO_ID, COMPLETED, name)
    numbered = account_id(world.people.identifiers.account[events["person"]])
    cents = np.where(bad == NEGATIVE_PRICE, -np.maximum(events["cents"], 100), events["cents"])
    cents_missing = (events["cents"] < 0) & (bad != NEGATIVE_PRICE)
    sku = _at(world.assortment.table["sku"].combine_chunks(), np.where(bad == NO_ID, -1, events["item"]))
    return pa.table(
        {
            "event_id": pc.if_else(pa.array(bad != NO_ID), hex16(events["number"] ^ _salt(world)), _NOTHING),
            "event_name": _at(pa.array([*EVENT_NAMES, "page_teleported"]), name),
            "occurred_at": occurred_at(world, events),
            "account_id": pc.if_else(pa.array(events["known"]), numbered, _NOTHING),
            "device_id": device_id(events["device"]),
            "session_id": pc.binary_join_element_wise("s", hex16(events["session"]), ""),
            "sku": sku,
            "search_query": _at(world.assortment.queries, events["query"]),
            "quantity": _whole(events["quantity"], events["quantity"] == 0, pa.int32()),
            "unit_price": money(cents, cents_missing),
            "amount": money(events["amount"], events["amount"] < 0),
            "order_id": _order_id(events["order"]),
            "rating": _whole(events["rating"], events["rating"] == 0, pa.int8()),
        }
    )


_NOTHING = pa.scalar(None, pa.string())


def occurred_at(world: World, events: Columns) -> pa.Array:
    """The time of each event in UTC, to the millisecond."""
    epoch = (np.datetime64(world.retailer.start) - np.datetime64("1970-01-01")).astype(np.int64)
    day = events["day"] + epoch + np.where(events["bad"] == FUTURE, FUTURE_DAYS, 0)
    milliseconds = (day * 86_400 - CLOCK_OFFSET) * 1000 + (events["second"] * 1000).astype(np.int64)
    return pa.array(milliseconds * 1000).cast(pa.timestamp("us", "UTC"))


def money(cents: Array, missing: Array | None = None) -> pa.Array:
    """Cents as yuan in decimal128(12, 2)."""
    words = np.stack([cents.astype(np.int64), cents.astype(np.int64) >> 63], axis=1)
    values = pa.Array.from_buffers(
        pa.decimal128(12, 2), len(cents), [None, pa.py_buffer(np.ascontiguousarray(words))]
    )
    if missing is None:
        return values
    return pc.if_else(pa.array(~missing), values, pa.scalar(None, pa.decimal128(12, 2)))


def _at(words: pa.Array, index: Array) -> pa.Array:
    """The words at these positions; null at negative ones."""
    return words.take(pa.array(index.astype(np.int64), mask=index < 0))


def _whole(values: Array, missing: Array, kind: pa.DataType) -> pa.Array:
    return pa.array(values, mask=missing).cast(kind)


def _order_id(number: Array) -> pa.Array:
    return pc.binary_join_element_wise("o", pa.array(number, mask=number < 0).cast(pa.string()), "")


def _salt(world: World) -> int:
    """Keeps event ids of different seeds apart."""
    return (world.retailer.seed & 0x7FFF) << 48
