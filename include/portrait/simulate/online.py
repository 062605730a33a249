"""The online events of one local day as numbers: sessions, browsing, orders, refunds and reviews."""

from dataclasses import dataclass

import numpy as np

from portrait.simulate import choice
from portrait.simulate.columns import Array, Columns, concat, within
from portrait.simulate.orders import LONGEST_LEAD, Orders, orders_of
from portrait.simulate.streams import Stream, generator
from portrait.simulate.world import World, after_joining, moments, online_from, who_acts

EVENT_NAMES = (
    "product_viewed",
    "products_searched",
    "product_added",
    "product_favorited",
    "product_shared",
    "product_reviewed",
    "order_completed",
    "order_refunded",
)
VIEWED, SEARCHED, ADDED, FAVORITED, SHARED, REVIEWED, COMPLETED, REFUNDED = range(8)
REVIEWS = 0.08  # of order lines
LONGEST_WAIT = 7  # days from an order to its refund or review
_BROWSING, _ORDERING, _LOOKING_AHEAD, _AFTERWARDS = range(4)


@dataclass(frozen=True)
class Sessions:
    """One value a session: who, when (local second), number, device number, app or web, logged in."""

    person: Array
    second: Array
    number: Array
    device: Array
    web: Array
    known: Array


def online_events(world: World, day: int) -> Columns:
    """All events that people's behaviour on this day causes, refunds and reviews of later days included.

    Columns: person, name (index into EVENT_NAMES), day, second, session, device, web, known, item (-1: none),
    query (index into the assortment's queries, -1: none), quantity (0: none), cents, amount, order (-1:
    none), rating (0: none). Rows are in no particular order.
    """
    rng = generator(world.retailer, Stream.BROWSING, day)
    today = orders_of(world, day)
    parts = [_browsing(world, rng, day), *_ordering(world, rng, today)]
    parts += [_afterwards(world, rng, today, refund) for refund in (True, False)]
    for lead in range(1, LONGEST_LEAD + 1):
        parts += _looking_ahead(world, rng, orders_of(world, day + lead), lead)
    table = concat(parts)
    people, person = world.people, table["person"]
    opened = np.where(people.account_day[person] == table["day"], people.joined_second[person] + 1, 0)
    table["second"] = np.clip(table["second"], opened, 86_399)
    return table


def _sessions(
    world: World, rng: np.random.Generator, day: int, kind: int, person: Array, second: Array, out: float
) -> Sessions:
    n = len(person)
    devices = world.people.identifiers.device[person]
    slot = np.searchsorted([0.62, 0.90], rng.random(n))
    slot = np.where(devices[np.arange(n), slot] > 0, slot, 0)
    device = devices[np.arange(n), slot]
    web = (slot == 1) | ((slot == 0) & (world.people.identifiers.account[person] % 7 < 2))
    number = (day * 16 + kind) * 2**32 + np.arange(n)
    return Sessions(person, second, number, device, web, rng.random(n) >= out)


def _rows(
    sessions: Sessions, which: Array, name: int, day: Array | int, second: Array, **more: Array
) -> Columns:
    """Events of one kind; `which` gives the session of each."""
    n = len(which)
    defaults = {"item": -1, "query": -1, "quantity": 0, "cents": -1, "amount": -1, "order": -1, "rating": 0}
    table = {
        "person": sessions.person[which],
        "name": np.full(n, name, np.int8),
        "day": np.broadcast_to(day, n).astype(np.int32),
        "second": second,
        "session": sessions.number[which],
        "device": sessions.device[which],
        "web": sessions.web[which],
        "known": sessions.known[which],
    }
    for column, empty in defaults.items():
        table[column] = more[column].astype(np.int64) if column in more else np.full(n, empty, np.int64)
    return table


def _on_items(
    world: World, sessions: Sessions, which: Array, name: int, day: int, second: Array, item: Array
) -> Columns:
    """Views, favourites, shares and additions to the cart, at the list price."""
    more = {"quantity": np.ones(len(item))} if name == ADDED else {}
    return _rows(sessions, which, name, day, second, item=item, cents=world.assortment.cents[item], **more)


def _searches(
    rng: np.random.Generator, sessions: Sessions, which: Array, day: int, second: Array, item: Array
) -> Columns:
    form = rng.choice(4, len(item), p=[0.3, 0.35, 0.15, 0.2])
    return _rows(sessions, which, SEARCHED, day, second, query=item * 4 + form)


def _browsing(world: World, rng: np.random.Generator, day: int) -> Columns:
    """Looking around without a purpose."""
    people = world.people
    person = who_acts(world, rng, people.browse_rate, online_from(people), day)
    second = moments(people, rng, person, 6.5, 23.7)
    second = after_joining(people, person, second, np.full(len(person), day), people.account_day, 24)
    sessions = _sessions(world, rng, day, _BROWSING, person, second, world.retailer.dirt.logged_out)
    views = rng.geometric(1 / 6, len(person))
    which = np.repeat(np.arange(len(person)), views)
    item = choice.choose(people.tastes, world.assortment, rng, person[which], day, habit=0.3)
    at = second[which] + within(views) * 45 + rng.uniform(0, 40, len(which))
    parts = [_on_items(world, sessions, which, VIEWED, day, at, item)]
    for name, share, delay in ((ADDED, 0.10, 12), (FAVORITED, 0.06, 9), (SHARED, 0.02, 15)):
        hit = rng.random(len(which)) < share
        parts.append(_on_items(world, sessions, which[hit], name, day, at[hit] + delay, item[hit]))
    hit = rng.random(len(which)) < 0.25
    parts.append(_searches(rng, sessions, which[hit], day, at[hit] - 8, item[hit]))
    return concat(parts)


def _interest(
    world: World,
    rng: np.random.Generator,
    sessions: Sessions,
    which: Array,
    day: int,
    before: Array,
    item: Array,
) -> list[Columns]:
    """What people do with a product they are going to buy: search, look twice, compare, remember."""
    n = len(item)
    at = before - rng.uniform(60, 1500, n)
    views = 1 + (rng.random(n) < 0.45).astype(np.int64) + (rng.random(n) < 0.15)
    again = np.repeat(np.arange(n), views)
    parts = [
        _on_items(world, sessions, which[again], VIEWED, day, at[again] + within(views) * 20, item[again])
    ]
    rival_of = np.repeat(np.arange(n), rng.poisson(1.0, n))
    shelf = world.assortment.shelf[item[rival_of]]
    low, high = world.assortment.shelf_from[shelf], world.assortment.shelf_to[shelf]
    segment = world.people.tastes.segment[sessions.person[which[rival_of]]]
    rival = choice.on_sale(world.assortment, choice.explore(world.assortment, rng, segment, low, high), day)
    parts.append(_on_items(world, sessions, which[rival_of], VIEWED, day, at[rival_of] - 25, rival))
    hit = rng.random(n) < 0.45
    parts.append(_searches(rng, sessions, which[hit], day, at[hit] - 40, item[hit]))
    hit = rng.random(n) < 0.12
    parts.append(_on_items(world, sessions, which[hit], FAVORITED, day, at[hit] + 8, item[hit]))
    return parts


def _ordering(world: World, rng: np.random.Generator, orders: Orders) -> list[Columns]:
    """The session of each order: interest in what was not looked at before, cart and checkout."""
    day = orders.day
    sessions = _sessions(world, rng, day, _ORDERING, orders.person, orders.second, 0.0)
    which, item = orders.order, orders.item
    checkout = orders.second[which]
    fresh = (orders.lead == 0) | (rng.random(len(item)) < 0.3)
    parts = _interest(world, rng, sessions, which[fresh], day, checkout[fresh], item[fresh])
    parts.append(
        _on_items(world, sessions, which, ADDED, day, checkout - rng.uniform(5, 55, len(item)), item)
    )
    numbers = _order_number(orders)
    parts.append(_rows(sessions, which, COMPLETED, day, checkout, item=item, quantity=orders.quantity,
                       cents=orders.cents, amount=orders.cents * orders.quantity, order=numbers))  # fmt: skip
    return parts


def _looking_ahead(world: World, rng: np.random.Generator, orders: Orders, lead: int) -> list[Columns]:
    """Interest, a day or two before, in what will be ordered."""
    day = orders.day - lead
    lines = np.flatnonzero(orders.lead == lead)
    owners, which = np.unique(orders.order[lines], return_inverse=True)
    person, item = orders.person[owners], orders.item[lines]
    second = moments(world.people, rng, person, 6.5, 23.7)
    today = np.full(len(person), day)
    second = after_joining(world.people, person, second, today, world.people.account_day, 24)
    sessions = _sessions(world, rng, day, _LOOKING_AHEAD + 8 * (lead - 1), person, second, 0.15)
    parts = _interest(world, rng, sessions, which, day, second[which], item)
    hit = rng.random(len(item)) < 0.5
    parts.append(_on_items(world, sessions, which[hit], ADDED, day, second[which[hit]], item[hit]))
    return parts


def _afterwards(world: World, rng: np.random.Generator, orders: Orders, refund: bool) -> Columns:
    """Refunds of whole orders or reviews of single lines, some days later."""
    if refund:
        chosen = rng.random(len(orders.person)) < world.retailer.dirt.refunds
        wait = rng.integers(1, LONGEST_WAIT + 1, len(orders.person))[orders.order]
        hit = chosen[orders.order]
    else:
        wait = rng.integers(2, LONGEST_WAIT + 1, len(orders.order))
        hit = rng.random(len(orders.order)) < REVIEWS
    person = orders.person[orders.order]
    lines = np.flatnonzero(hit & (orders.day + wait < world.people.active_to[person]))
    order, item, day = orders.order[lines], orders.item[lines], orders.day + wait[lines]
    kind = _AFTERWARDS + (4 if refund else 0)
    second = moments(world.people, rng, orders.person, 8, 23.5)
    sessions = _sessions(world, rng, orders.day, kind, orders.person, second, 0.0)
    at = second[order]
    if refund:
        return _rows(sessions, order, REFUNDED, day, at, item=item, quantity=orders.quantity[lines],
                     cents=orders.cents[lines], amount=(orders.cents * orders.quantity)[lines],
                     order=_order_number(orders)[lines])  # fmt: skip
    stars = np.clip(np.round(rng.normal(world.assortment.quality[item], 0.8)), 1, 5)
    return _rows(sessions, order, REVIEWED, day, at, item=item, rating=stars)


def _order_number(orders: Orders) -> Array:
    """A number for the order of each line, unique over all days."""
    return orders.day * 10_000_000 + orders.order
