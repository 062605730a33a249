"""Who orders what online on a day. Also asked ahead of time: people look at things before they order them."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from portrait.simulate import choice
from portrait.simulate.columns import Array, within
from portrait.simulate.people import ONE_OFF
from portrait.simulate.streams import Stream, generator
from portrait.simulate.world import World, after_joining, moments, online_from, promotion, who_acts

LONGEST_LEAD = 2  # days between looking and ordering
LEAD_SHARES = (0.65, 0.20, 0.15)


@dataclass(frozen=True)
class Orders:
    """The online orders of one day.

    Attributes
    ----------
    day
        Day of the orders.
    person, second
        One value an order: who, and the local second of the checkout.
    order, item, quantity, cents, lead
        One value a line: position of its order, product, pieces, price a piece, days since it was looked at.
    """

    day: int
    person: Array
    second: Array
    order: Array
    item: Array
    quantity: Array
    cents: Array
    lead: Array


@lru_cache(maxsize=6)
def orders_of(world: World, day: int) -> Orders:
    """The orders of a day, a function of the world and the day alone."""
    people = world.people
    rng = generator(world.retailer, Stream.ORDERS, day)
    first = online_from(people)
    sure = (people.lifecycle == ONE_OFF) & (people.active_from == day)
    person = who_acts(world, rng, people.order_rate, first, day, sure)
    second = moments(people, rng, person, 6.5, 23.9)
    second = after_joining(people, person, second, np.full(len(person), day), people.account_day, 24)
    sizes = 1 + rng.poisson(1.5, len(person))
    order = np.repeat(np.arange(len(person)), sizes)
    item = basket(world, rng, person[order], sizes, day, habit=0.9)
    kept = first_of_each(order, item, world.assortment.size)
    order, item = order[kept], item[kept]
    quantity = pieces(rng, len(order))
    cents = np.round(world.assortment.cents[item] * (1 - promotion(world, day)[item])).astype(np.int64)
    lead = rng.choice(len(LEAD_SHARES), len(order), p=LEAD_SHARES)
    lead = np.minimum(lead, day - first[person[order]])
    return Orders(day, person, second, order, item, quantity, cents, lead)


def basket(
    world: World, rng: np.random.Generator, person: Array, sizes: Array, day: int, habit: float
) -> Array:
    """The products of baskets of these sizes; `person` holds one number a line."""
    item = choice.choose(world.people.tastes, world.assortment, rng, person, day, habit)
    return choice.with_companions(world.assortment, rng, item, within(sizes), day)


def first_of_each(group: Array, item: Array, items: int) -> Array:
    """Row numbers, in order, that are the first with their product in their group."""
    _, first = np.unique(group * items + item, return_index=True)
    return np.sort(first)


def pieces(rng: np.random.Generator, n: int) -> Array:
    """How many pieces of a product people buy: mostly one."""
    chance = rng.random(n)
    return 1 + (chance < 0.22).astype(np.int64) + (chance < 0.06) + (chance < 0.015)
