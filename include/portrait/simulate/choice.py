"""Which product a person picks: an old habit, a matter of taste, or what everybody buys."""

from dataclasses import dataclass, replace

import numpy as np

from portrait.simulate.assortment import DEMAND, STAPLE_SHELF, Assortment
from portrait.simulate.columns import Array

EXPLORED_SLOTS = 4  # preferred shelves a person has at most
STAPLE_SLOTS = 12  # products bought again and again
TASTE_SHARE = 0.75  # the rest of exploring follows what everybody buys
BRAND_SHARE = 0.35  # of exploring by taste: within the preferred brand
SELDOM = 0.4  # durable goods give way to a staple so much more often
COMPANION_SHARE = 0.12  # of basket lines: what goes with the line before

_ALL_DEMAND = np.cumsum(DEMAND)
_STAPLE_DEMAND = np.cumsum(DEMAND * STAPLE_SHELF / (DEMAND * STAPLE_SHELF).sum())
_SLOT_WEIGHT = 1 / (np.arange(STAPLE_SLOTS) + 2.0)
_SLOT_CUMULATIVE = np.cumsum(_SLOT_WEIGHT / _SLOT_WEIGHT.sum())


@dataclass(frozen=True)
class Tastes:
    """What each person likes: one row a person.

    Attributes
    ----------
    archetype, segment
        The group of like-minded people; archetype x spending tier.
    shelf, weight, cumulative
        Up to four preferred shelves with weights that add up to 1 (a shelf may come twice).
    block
        The preferred brand on each of those shelves.
    staples, adopted
        The products bought again and again, most frequent first, and the day from which each is.
    staple_share
        How often the person buys a staple rather than explore.
    """

    archetype: Array
    segment: Array
    shelf: Array
    weight: Array
    cumulative: Array
    block: Array
    staples: Array
    adopted: Array
    staple_share: Array


def explore(
    assortment: Assortment, rng: np.random.Generator, segment: Array, low: Array, high: Array
) -> Array:
    """One product from each range low..high-1, by the weights of the segment (one value a draw)."""
    first = segment.astype(np.int64) * assortment.size + low
    last = first + (high - low)
    cumulative = assortment.cumulative
    below = np.where(first > 0, cumulative[first - 1], 0.0)
    target = below + rng.random(len(segment)) * (cumulative[last - 1] - below)
    found = np.searchsorted(cumulative, target, side="right")
    return np.clip(found, first, last - 1) - first + low


def by_taste(tastes: Tastes, assortment: Assortment, rng: np.random.Generator, person: Array) -> Array:
    """One explored product for each person number (-1: a passer-by without a known taste)."""
    n = len(person)
    own = (rng.random(n) < TASTE_SHARE) & (person >= 0)
    slot = (tastes.cumulative[person] < rng.random(n, np.float32)[:, None]).sum(axis=1)
    slot = np.minimum(slot, EXPLORED_SLOTS - 1)
    everybodys = np.searchsorted(_ALL_DEMAND, rng.random(n) * _ALL_DEMAND[-1])
    shelf = np.where(own, tastes.shelf[person, slot], everybodys)
    low, high = assortment.shelf_from[shelf], assortment.shelf_to[shelf]
    brand = own & (rng.random(n) < BRAND_SHARE)
    block = tastes.block[person, slot]
    low = np.where(brand, assortment.block_from[block], low)
    high = np.where(brand, assortment.block_to[block], high)
    stranger = rng.integers(0, assortment.leaning.shape[0] * 3, n)
    segment = np.where(person >= 0, tastes.segment[person], stranger)
    return explore(assortment, rng, segment, low, high)


def pick_staples(tastes: Tastes, assortment: Assortment, rng: np.random.Generator) -> Tastes:
    """The tastes with their staples drawn, one slot of everybody after the other (bounded memory)."""
    everybody = np.arange(len(tastes.segment))
    staples = np.zeros_like(tastes.staples)
    for slot in range(STAPLE_SLOTS):
        item = by_taste(tastes, assortment, rng, everybody)
        listed = (staples[:, :slot] == item[:, None]).any(axis=1)
        again = np.flatnonzero(listed | ~STAPLE_SHELF[assortment.shelf[item]])
        shelf = np.searchsorted(_STAPLE_DEMAND, rng.random(len(again)) * _STAPLE_DEMAND[-1])
        item[again] = explore(assortment, rng, tastes.segment[again], assortment.shelf_from[shelf],
                              assortment.shelf_to[shelf])  # fmt: skip
        staples[:, slot] = item
    return replace(tastes, staples=staples)


def choose(
    tastes: Tastes,
    assortment: Assortment,
    rng: np.random.Generator,
    person: Array,
    day: int,
    habit: float = 1.0,
) -> Array:
    """One product for each person number (-1: a passer-by), on sale on that day.

    `habit` scales how often a staple is chosen: 1 for buying, less for browsing.
    """
    n = len(person)
    item = by_taste(tastes, assortment, rng, person)
    slot = np.searchsorted(_SLOT_CUMULATIVE, rng.random(n) * _SLOT_CUMULATIVE[-1])
    seldom = ~STAPLE_SHELF[assortment.shelf[item]] * SELDOM
    usual = rng.random(n, np.float32) < (tastes.staple_share[person] + seldom) * habit
    usual &= (tastes.adopted[person, slot] <= day) & (person >= 0)
    item = np.where(usual, tastes.staples[person, slot], item)
    return on_sale(assortment, item, day)


def on_sale(assortment: Assortment, item: Array, day: int) -> Array:
    """The items, those that are not launched yet replaced by one of the same shelf that is."""
    return np.where(assortment.launched[item] > day, assortment.fallback[item], item)


def with_companions(
    assortment: Assortment, rng: np.random.Generator, item: Array, position: Array, day: int
) -> Array:
    """The basket lines, some replaced by the companion of the line before them in the same basket."""
    follows = (position > 0) & (rng.random(len(item)) < COMPANION_SHARE)
    before = np.concatenate([item[:1], item[:-1]])
    return on_sale(assortment, np.where(follows, assortment.companion[before], item), day)
