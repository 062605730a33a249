"""Store receipts of one business date, and the returns they lead to."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from portrait.simulate import identifiers
from portrait.simulate.columns import Array, Columns, concat, rows, take
from portrait.simulate.delivery import Tables, delays, spoilt
from portrait.simulate.event_delivery import FUTURE_DAYS, money
from portrait.simulate.orders import basket, first_of_each, pieces
from portrait.simulate.people import ONE_OFF, forgotten_share
from portrait.simulate.streams import Stream, generator
from portrait.simulate.world import World, after_joining, in_store_from, moments, promotion, who_acts

GOOD, NEGATIVE_PRICE, BAD_TIME, NO_ID, FUTURE, BAD_QUANTITY = range(6)
BAD_RECEIPTS = ("good", "negative_price", "unparsable_time", "missing_id", "future_date", "quantity_abc")
RECEIPT_WAYS = np.array([BAD_TIME, NO_ID, FUTURE])
LINE_WAYS = np.array([NEGATIVE_PRICE, NO_ID, FUTURE, BAD_QUANTITY])
OPEN, CLOSE = 8.0, 22.0
TILLS = 4  # workstations 1..4 sell, workstation 9 takes goods back
PHONE_TYPED = 0.12  # of receipts with a card
PHONE_FOR_CARD = 0.5  # of receipts whose customer forgot the card
_SPOILT_NUMBER = 500_000


def caused_receipts(world: World, day: int) -> Tables:
    """The receipts and lines that a day causes, returns on later days included, with `arrival` and `bad`."""
    rng = generator(world.retailer, Stream.RECEIPTS, day)
    receipts, lines = _sales(world, rng, day)
    returns, returned_lines = _returns(world, rng, day, receipts, lines)
    dirt = generator(world.retailer, Stream.RECEIPT_DIRT, day)
    wait = delays(dirt, rows(receipts), world.retailer.dirt.late)
    receipts["arrival"] = receipts["day"] + wait
    returns["arrival"] = returns["day"]
    lines["arrival"] = receipts["arrival"][lines["receipt"]]
    returned_lines["arrival"] = returns["arrival"][returned_lines["receipt"]]
    on_time = take(receipts, np.flatnonzero(wait == 0))
    bad = spoilt(dirt, on_time, world.retailer.dirt.bad_rows, RECEIPT_WAYS)
    bad["sequence"] = bad["sequence"] + _SPOILT_NUMBER
    on_time = take(lines, np.flatnonzero(lines["arrival"] == day))
    bad_lines = spoilt(dirt, on_time, world.retailer.dirt.bad_rows, LINE_WAYS)
    bad_lines["line"] = bad_lines["line"] + 500
    return {"receipts": concat([receipts, returns, bad]), "lines": concat([lines, returned_lines, bad_lines])}


def _sales(world: World, rng: np.random.Generator, day: int) -> tuple[Columns, Columns]:
    people, dirt = world.people, world.retailer.dirt
    sure = (people.lifecycle == ONE_OFF) & (people.active_from == day)
    members = who_acts(world, rng, people.store_rate, in_store_from(people), day, sure)
    forgets = forgotten_share(world.retailer)
    named = 1 - dirt.anonymous_receipts
    others = (
        int(np.ceil(len(members) * (dirt.anonymous_receipts - forgets) / named)) if named else len(members)
    )
    person = np.concatenate([members, np.full(others, -1)])
    n = len(person)
    second = moments(people, rng, person, OPEN, CLOSE - 0.05)
    second = after_joining(people, person, second, np.full(n, day), people.card_day, CLOSE)
    elsewhere = (rng.random(n) < 0.15) | (person < 0)
    anywhere = rng.choice(world.retailer.stores, n, p=world.stores.weight)
    store = np.where(elsewhere, anywhere, people.home_store[person]).astype(np.int32)
    sizes = 1 + np.where(person >= 0, rng.poisson(2.9, n), rng.poisson(1.2, n))

    receipt = np.repeat(np.arange(n), sizes)
    item = basket(world, rng, person[receipt], sizes, day, habit=1.0)
    kept = first_of_each(receipt, item, world.assortment.size)
    receipt, item = receipt[kept], item[kept]
    quantity, cents = pieces(rng, len(item)), world.assortment.cents[item]
    discount = np.round(quantity * cents * promotion(world, day)[item]).astype(np.int64)
    amount = quantity * cents - discount
    counts = np.bincount(receipt, minlength=n)

    carded = (person >= 0) & (rng.random(n) >= forgets)
    typed = rng.random(n) < np.where(carded, PHONE_TYPED, PHONE_FOR_CARD)
    phone = np.where(typed & (person >= 0), people.identifiers.phone[person], 0)
    phone = np.where(rng.random(n) < dirt.till_phone, world.stores.phone[store], phone)
    till = rng.integers(1, TILLS + 1, n)
    receipts = {
        "person": person,
        "store": store,
        "till": till,
        "sequence": _running_number(store * 10 + till, second),
        "day": np.full(n, day, np.int32),
        "second": second,
        "card": np.where(carded, people.identifiers.card[person], 0),
        "phone": phone,
        "total": np.bincount(receipt, amount, n).astype(np.int64),
        "bad": np.zeros(n, np.int8),
    }
    lines = {
        "receipt": receipt,
        "line": np.arange(len(item)) - np.repeat(np.cumsum(counts) - counts, counts) + 1,
        "item": item,
        "quantity": quantity,
        "cents": cents,
        "discount": discount,
        "amount": amount,
        "bad": np.zeros(len(item), np.int8),
    }
    return receipts, _with_key(lines, receipts)


def _with_key(lines: Columns, receipts: Columns) -> Columns:
    """The lines with the natural key of their receipts."""
    return lines | {name: receipts[name][lines["receipt"]] for name in ("store", "till", "sequence", "day")}


def _running_number(till: Array, second: Array) -> Array:
    """1, 2, 3, ... at each till in the order of time."""
    order = np.lexsort((second, till))
    starts = np.flatnonzero(np.diff(till[order], prepend=-1))
    number = np.empty(len(till), np.int64)
    number[order] = np.arange(len(till)) - np.repeat(starts, np.diff(starts, append=len(till))) + 1
    return number


def _returns(
    world: World, rng: np.random.Generator, day: int, receipts: Columns, lines: Columns
) -> tuple[Columns, Columns]:
    """Whole receipts given back 1-7 days later at the service desk of the same store."""
    n = rows(receipts)
    wait = rng.integers(1, 8, n)
    person = receipts["person"]
    stays = (person < 0) | (day + wait < world.people.active_to[person])
    chosen = np.flatnonzero((rng.random(n) < world.retailer.dirt.refunds) & stays)
    returns = take(receipts, chosen)
    returns["day"] = (day + wait[chosen]).astype(np.int32)
    returns["second"] = rng.uniform(OPEN * 3600, (CLOSE - 0.05) * 3600, len(chosen))
    returns["till"] = np.full(len(chosen), 9)
    rank = _running_number(returns["store"].astype(np.int64), returns["second"])
    returns["sequence"] = wait[chosen] * 50_000 + rank  # the wait keeps days of origin apart
    returns["total"] = -returns["total"]
    position = np.full(n, -1)
    position[chosen] = np.arange(len(chosen))
    back = take(lines, np.flatnonzero(position[lines["receipt"]] >= 0))
    back["receipt"] = position[back["receipt"]]
    for name in ("quantity", "discount", "amount"):
        back[name] = -back[name]
    return returns, _with_key(back, returns)


def receipts_table(world: World, receipts: Columns, rng: np.random.Generator) -> tuple[pa.Table, int]:
    """The receipts as text columns of the file, sorted by key, and how many phones are written oddly."""
    receipts = take(receipts, _key_order(receipts))
    bad = receipts["bad"]
    day = _dates(world, receipts)
    second = receipts["second"].astype(np.int64).astype("timedelta64[s]")
    sold = pa.array(day.astype("datetime64[s]") + second).cast(pa.string())
    phone, odd = identifiers.odd_phones(
        identifiers.digits(receipts["phone"]), rng, world.retailer.dirt.odd_format
    )
    table = pa.table(
        _key_columns(receipts, day, NO_ID)
        | {
            "sold_at": pc.if_else(pa.array(bad == BAD_TIME), "31/13/20xx 25:61", sold),
            "card_no": identifiers.digits(receipts["card"]),
            "phone": phone,
            "kind": pc.if_else(pa.array(receipts["total"] < 0), "return", "sale"),
            "total_amount": money(receipts["total"]),
            "currency": pa.array(["CNY"]).take(pa.array(np.zeros(len(bad), np.int64))),
        }
    )
    return table, int(odd.sum())


def lines_table(world: World, lines: Columns) -> pa.Table:
    """The receipt lines as text columns of the file, sorted by key."""
    lines = take(
        lines, np.lexsort((lines["line"], lines["sequence"], lines["till"], lines["store"], lines["day"]))
    )
    bad = lines["bad"]
    sku = world.assortment.table["sku"].combine_chunks().take(pa.array(lines["item"], mask=bad == NO_ID))
    quantity = pa.array(lines["quantity"]).cast(pa.string())
    cents = np.where(bad == NEGATIVE_PRICE, -lines["cents"], lines["cents"])
    return pa.table(
        _key_columns(lines, _dates(world, lines), None)
        | {
            "line_number": pa.array(lines["line"]),
            "sku": sku,
            "quantity": pc.if_else(pa.array(bad == BAD_QUANTITY), "abc", quantity),
            "unit_price": money(cents),
            "discount_amount": money(lines["discount"]),
            "line_amount": money(lines["amount"]),
        }
    )


def _key_order(table: Columns) -> Array:
    return np.lexsort((table["sequence"], table["till"], table["store"], table["day"]))


def _dates(world: World, table: Columns) -> Array:
    future = np.where(table["bad"] == FUTURE, FUTURE_DAYS, 0)
    return np.datetime64(world.retailer.start) + (table["day"] + future).astype("timedelta64[D]")


def _key_columns(table: Columns, day: Array, no_store: int | None) -> dict[str, pa.Array]:
    store = world_store_ids(table["store"])
    if no_store is not None:
        store = pc.if_else(pa.array(table["bad"] != no_store), store, pa.scalar(None, pa.string()))
    return {
        "store_id": store,
        "workstation_id": pc.binary_join_element_wise("W", pa.array(table["till"]).cast(pa.string()), ""),
        "sequence_number": pa.array(table["sequence"]),
        "business_date": pa.array(day.astype("datetime64[D]"), pa.date32()),
    }


def world_store_ids(store: Array) -> pa.Array:
    """S001, S002, ... of store indexes."""
    padded = pc.utf8_lpad(pa.array(store + 1).cast(pa.string()), 3, "0")
    return pc.binary_join_element_wise("S", padded, "")
