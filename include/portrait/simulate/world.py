"""Everything that does not change from day to day, and what a given day is like."""

from dataclasses import dataclass
from datetime import date, timedelta
from functools import lru_cache

import numpy as np

from portrait.simulate.assortment import Assortment, build_assortment
from portrait.simulate.columns import Array
from portrait.simulate.names import Names, build_names
from portrait.simulate.people import People, build_people
from portrait.simulate.places import Stores, build_stores
from portrait.simulate.retailer import Retailer
from portrait.simulate.streams import Stream, generator

WEEKDAYS = np.array([0.88, 0.84, 0.88, 0.92, 1.06, 1.26, 1.16])  # Monday first; mean 1
CLOCK_OFFSET = 8 * 3600  # Asia/Shanghai is UTC+8 all year
PROMOTED = 0.06  # of the assortment, each week
ORDER_LINES = 2.4  # mean lines of an online order
EVENTS_A_LINE = 5.5  # online events each order line brings along, itself included
BROWSES_A_LINE = 1.2  # browsing sessions there are for each order line
EVENTS_A_BROWSE = 8.5


@dataclass(frozen=True, eq=False)
class World:
    """The static part of a simulation; compared and hashed by identity."""

    retailer: Retailer
    stores: Stores
    assortment: Assortment
    people: People
    names: Names


@lru_cache(maxsize=2)
def build_world(retailer: Retailer) -> World:
    """The world of a retailer, built once (some seconds and a few hundred bytes a customer)."""
    stores = build_stores(retailer)
    assortment = build_assortment(retailer)
    events_an_order = ORDER_LINES * (EVENTS_A_LINE + BROWSES_A_LINE * EVENTS_A_BROWSE)
    people = build_people(retailer, stores, assortment, 1 / events_an_order, ORDER_LINES * BROWSES_A_LINE)
    return World(retailer, stores, assortment, people, build_names(retailer, people.city))


def date_of(world: World, day: int) -> date:
    """The business date of a day."""
    return world.retailer.start + timedelta(days=day)


def busyness(world: World, day: int) -> float:
    """How busy the weekday is compared with the mean day."""
    return float(WEEKDAYS[date_of(world, day).weekday()])


def who_acts(
    world: World, rng: np.random.Generator, rate: Array, first: Array, day: int, sure: Array | None = None
) -> Array:
    """The person numbers that act on the day, by their rate; `sure` people act in any case."""
    people = world.people
    acts = rng.random(people.size, np.float32) < rate * busyness(world, day)
    if sure is not None:
        acts |= sure
    return np.flatnonzero(acts & (rate > 0) & (first <= day) & (day < people.active_to))


def online_from(people: People) -> Array:
    """The first day on which each person may be online."""
    return np.maximum(people.active_from, people.account_day)


def in_store_from(people: People) -> Array:
    """The first day on which each person may use the card."""
    return np.maximum(people.active_from, people.card_day)


def moments(people: People, rng: np.random.Generator, person: Array, low: float, high: float) -> Array:
    """A local second of the day for each person by own rhythm, between the hours `low` and `high`."""
    n = len(person)
    peak = np.where(person >= 0, people.peak_hour[person], 17.5)
    hour = np.where(rng.random(n) < 0.8, rng.normal(peak, 1.8), rng.uniform(7, 24, n))
    outside = (hour < low) | (hour >= high)
    return 3600 * np.where(outside, rng.uniform(low, high, n), hour)


def after_joining(
    people: People, person: Array, second: Array, on_day: Array, began: Array, until: float
) -> Array:
    """The seconds of the day; on the day of joining squeezed in between joining and `until` hours."""
    end = until * 3600
    joined = people.joined_second[person]
    squeezed = joined + 60 + np.clip(second, 0, end) / end * (end - 120 - joined)
    return np.where((person >= 0) & (began[person] == on_day), squeezed, second)


def promotion(world: World, day: int) -> Array:
    """The discount on each product in that day's week, as a share of the list price; mostly 0."""
    rng = generator(world.retailer, Stream.PROMOTIONS, day // 7)
    n = world.assortment.size
    return np.where(rng.random(n) < PROMOTED, rng.choice([0.1, 0.2, 0.3, 0.4], n), 0.0)
