"""The customers: who they are, what they like, how often and until when they buy."""

from dataclasses import dataclass, replace

import numpy as np
from scipy.special import expit, logit

from portrait.simulate import identifiers
from portrait.simulate.assortment import ARCHETYPES, Assortment
from portrait.simulate.choice import EXPLORED_SLOTS, STAPLE_SLOTS, Tastes, explore, pick_staples
from portrait.simulate.columns import Array
from portrait.simulate.identifiers import Identifiers
from portrait.simulate.places import CITIES, Stores
from portrait.simulate.retailer import Retailer
from portrait.simulate.streams import Stream, generator

LIFECYCLES = ("loyal", "regular", "occasional", "one_off", "churned")
LIFECYCLE_SHARES = (0.16, 0.34, 0.28, 0.10, 0.12)
LIFECYCLE_RATES = np.array([3.0, 1.1, 0.35, 0.0, 1.1])  # purchases, relative
ONE_OFF, CHURNED = 3, 4
TIER_SHARES = (0.35, 0.45, 0.20)
STORE_ONLY, ONLINE_ONLY = 0.45, 0.35  # the rest uses both channels
JOINED_BEFORE = 0.75
NEVER = 10**6  # a day after every simulated day
LONG_BEFORE = -250  # days: whoever joined earlier and is gone may have lost the number
MOST_A_DAY = 0.9
MEN_BY_ARCHETYPE = np.tile([0.17, 0.34, 0.50, 0.67], ARCHETYPES // 4)
YOUTH_BY_ARCHETYPE = np.repeat(
    [-0.9, -0.3, 0.3, 0.9], ARCHETYPES // 4
)  # added to the log odds of the birth year
SECOND_CHANNEL_LATER = 0.4  # of those with both channels: the second comes up to 120 days later


@dataclass(frozen=True)
class People:
    """One value a person in every array; days count from the retailer's start.

    Attributes
    ----------
    has_card, has_account
        Channels: store and online.
    lifecycle, tier, gender
        Indexes into LIFECYCLES, TIER_NAMES and ("f", "m").
    joined, joined_second
        Day of joining (negative: before the start) and local second of that day.
    card_day, account_day
        Day on which the card was given out and the account opened.
    active_from, active_to
        First day with activity; the day from which there is none any more (NEVER for most).
    store_rate, order_rate, browse_rate
        Chance of a store purchase, online order and browsing session on a mean weekday.
    peak_hour, home_store, city, birth_day, level
        Own rhythm; store index (-1 without card); index into CITIES; days since 1970; index into levels.
    """

    has_card: Array
    has_account: Array
    lifecycle: Array
    tier: Array
    gender: Array
    joined: Array
    joined_second: Array
    card_day: Array
    account_day: Array
    active_from: Array
    active_to: Array
    store_rate: Array
    order_rate: Array
    browse_rate: Array
    peak_hour: Array
    home_store: Array
    city: Array
    birth_day: Array
    level: Array
    tastes: Tastes
    identifiers: Identifiers

    @property
    def size(self) -> int:
        """How many people there are."""
        return len(self.has_card)


def build_people(
    retailer: Retailer,
    stores: Stores,
    assortment: Assortment,
    orders_an_event: float,
    sessions_an_order: float,
) -> People:
    """The whole population.

    Parameters
    ----------
    orders_an_event
        Online orders (not lines) there are for each online event; calibrates the order rate.
    sessions_an_order
        Browsing sessions for each online order; calibrates the browse rate.
    """
    rng = generator(retailer, Stream.PEOPLE)
    n, horizon = retailer.customers, retailer.history_days
    channel = rng.random(n)
    has_card = (channel < STORE_ONLY) | (channel >= STORE_ONLY + ONLINE_ONLY)
    has_account = channel >= STORE_ONLY
    lifecycle = rng.choice(len(LIFECYCLES), n, p=LIFECYCLE_SHARES).astype(np.int8)
    tier = rng.choice(3, n, p=TIER_SHARES).astype(np.int8)

    new = rng.random(n) >= JOINED_BEFORE
    late_joiner = rng.integers(0, horizon + horizon // 2 + 1, n)
    joined = np.where(new, late_joiner, -rng.integers(1, 1100, n)).astype(np.int32)
    opening = np.maximum(joined, 0)
    one_off = lifecycle == ONE_OFF
    active_from = np.where(one_off & ~new, rng.integers(0, horizon, n), opening)
    leaves = opening + 10 + (rng.random(n) * 1.2 * horizon).astype(np.int64)
    active_to = np.where(lifecycle == CHURNED, leaves, np.where(one_off, active_from + 1, NEVER))
    both = has_card & has_account
    delay = np.where(both & (rng.random(n) < SECOND_CHANNEL_LATER), rng.integers(1, 121, n), 0)
    second = np.minimum(joined + delay, active_to - 1)
    card_first = rng.random(n) < 0.7
    card_day = np.where(both & ~card_first, second, joined)
    account_day = np.where(both & card_first, second, joined)

    spread = rng.gamma(3.0, 1 / 3, n) * LIFECYCLE_RATES[lifecycle]
    share = np.where(both, 0.7, 1.0)
    members_share = _members_share(retailer)
    wanted = retailer.receipts_per_customer_day * members_share * n * horizon
    store_rate = _calibrated(
        spread * share * has_card, np.maximum(active_from, card_day), active_to, horizon,
        wanted - (one_off & has_card & (active_from < horizon)).sum(),
    )  # fmt: skip
    wanted = retailer.events_per_customer_day * orders_an_event * n * horizon
    orders_online = np.maximum(active_from, account_day)
    order_rate = _calibrated(
        spread * share * has_account * rng.gamma(3.0, 1 / 3, n), orders_online, active_to, horizon,
        wanted - (one_off & has_account & (active_from < horizon)).sum(),
    )  # fmt: skip
    curious = (spread + 0.1) ** 0.7 * rng.gamma(2.0, 1 / 2, n) * has_account
    browse_rate = _calibrated(curious, orders_online, active_to, horizon, wanted * sessions_an_order)
    if retailer.receipts_per_customer_day > 0:
        store_rate[one_off & has_card] = 1.0
    if retailer.events_per_customer_day > 0:
        order_rate[one_off & has_account] = 1.0

    home = rng.choice(retailer.stores, n, p=stores.weight).astype(np.int16)
    city = np.where(has_card & (rng.random(n) < 0.9), stores.city[home], rng.integers(0, len(CITIES), n))
    youth = rng.beta(2.6, 2.2, n)
    richer = tier + (lifecycle == 0) + rng.normal(0, 0.5, n)
    sex = rng.random(n)
    joined_second = rng.integers(8 * 3600, 20 * 3600, n)
    peak_hour = rng.choice([12.5, 18.0, 20.5], n, p=[0.25, 0.3, 0.45]) + rng.normal(0, 1.2, n)
    tastes = _build_tastes(retailer, assortment, rng, tier)
    born = 1946 + 62 * expit(logit(youth) + YOUTH_BY_ARCHETYPE[tastes.archetype])
    people = People(
        has_card=has_card,
        has_account=has_account,
        lifecycle=lifecycle,
        tier=tier,
        gender=(sex < MEN_BY_ARCHETYPE[tastes.archetype]).astype(np.int8),
        joined=joined,
        joined_second=joined_second.astype(np.int32),
        card_day=card_day.astype(np.int32),
        account_day=account_day.astype(np.int32),
        active_from=active_from.astype(np.int32),
        active_to=active_to.astype(np.int32),
        store_rate=store_rate,
        order_rate=order_rate,
        browse_rate=browse_rate,
        peak_hour=peak_hour.astype("f4"),
        home_store=np.where(has_card, home, -1).astype(np.int16),
        city=city.astype(np.int8),
        birth_day=((born - 1970) * 365.2425).astype(np.int32),
        level=np.digitize(richer, [1.0, 2.2]).astype(np.int8),
        tastes=tastes,
        identifiers=identifiers.build_identifiers(retailer, rng, has_card, has_account),
    )
    return _with_recycled_phones(retailer, people) if retailer.dirt.recycled_phone else people


def _with_recycled_phones(retailer: Retailer, people: People) -> People:
    """Numbers of people who joined long before the start, and are gone, given to people who join after it."""
    rng = generator(retailer, Stream.RECYCLED)
    wanted = round(retailer.dirt.recycled_phone * people.size)
    first = np.minimum(
        np.where(people.has_card, people.card_day, NEVER),
        np.where(people.has_account, people.account_day, NEVER),
    )
    one_phone = people.identifiers.phone == people.identifiers.account_phone
    old = rng.permutation(np.flatnonzero((people.joined < LONG_BEFORE) & (first < LONG_BEFORE) & one_phone))
    new = rng.permutation(np.flatnonzero((first > 0) & (first < retailer.history_days) & one_phone))
    count = min(wanted, len(old), len(new))
    old, new = old[:count], new[:count]
    ids, active_to = people.identifiers, people.active_to.copy()
    active_to[old] = 0
    # somebody gone opens no second channel
    card_day, account_day = people.card_day.copy(), people.account_day.copy()
    card_day[old], account_day[old] = (
        np.minimum(card_day[old], LONG_BEFORE),
        np.minimum(account_day[old], LONG_BEFORE),
    )
    phone, account_phone = ids.phone.copy(), ids.account_phone.copy()
    phone[new] = account_phone[new] = phone[old]
    return replace(
        people,
        active_to=active_to,
        card_day=card_day,
        account_day=account_day,
        identifiers=replace(ids, phone=phone, account_phone=account_phone),
    )


def _members_share(retailer: Retailer) -> float:
    """The share of all receipts that is paid by people who have a card."""
    return (1 - retailer.dirt.anonymous_receipts) / (1 - forgotten_share(retailer))


def forgotten_share(retailer: Retailer) -> float:
    """How often a person with a card leaves it at home."""
    return min(0.08, retailer.dirt.anonymous_receipts)


def _calibrated(rate: Array, first: Array, end: Array, horizon: int, wanted: float) -> Array:
    """The rates scaled so that about `wanted` things happen from day 0 up to the horizon."""
    days = np.clip(np.minimum(end, horizon) - np.clip(first, 0, None), 0, None)
    expected = float((rate * days).sum())
    if wanted <= 0 or expected <= 0:
        return np.zeros(len(rate), np.float32)
    return np.minimum(rate * (wanted / expected), MOST_A_DAY).astype(np.float32)


def _build_tastes(
    retailer: Retailer, assortment: Assortment, rng: np.random.Generator, tier: Array
) -> Tastes:
    """Preferred shelves and brands, then the staples drawn from them."""
    n = len(tier)
    archetype = rng.integers(0, ARCHETYPES, n)
    leaning = np.cumsum(assortment.leaning.ravel())
    shelf = np.empty((n, EXPLORED_SLOTS), np.int16)
    block = np.empty((n, EXPLORED_SLOTS), np.int32)
    segment = (archetype * 3 + tier).astype(np.int16)
    shelves = assortment.leaning.shape[1]
    for slot in range(EXPLORED_SLOTS):
        drawn = np.searchsorted(leaning, (archetype + rng.random(n)) * (leaning[-1] / ARCHETYPES))
        shelf[:, slot] = np.clip(drawn - archetype * shelves, 0, shelves - 1)
        loved = explore(assortment, rng, segment, assortment.shelf_from[shelf[:, slot]],
                        assortment.shelf_to[shelf[:, slot]])  # fmt: skip
        block[:, slot] = np.searchsorted(assortment.block_from, loved, side="right") - 1
    weight = rng.gamma(1.2, 1.0, (n, EXPLORED_SLOTS)) + 0.02
    used = rng.choice([1, 2, 3, 4], n, p=[0.2, 0.3, 0.3, 0.2])
    weight[np.arange(EXPLORED_SLOTS) >= used[:, None]] = 0
    weight /= weight.sum(axis=1, keepdims=True)
    late_slot = rng.random((n, STAPLE_SLOTS)) < 0.3
    adopted = np.where(late_slot, rng.integers(0, retailer.history_days + 1, (n, STAPLE_SLOTS)), 0)
    tastes = Tastes(
        archetype=archetype.astype(np.int8),
        segment=segment,
        shelf=shelf,
        weight=weight.astype(np.float32),
        cumulative=np.cumsum(weight, axis=1).astype(np.float32),
        block=block,
        staples=np.zeros((n, STAPLE_SLOTS), np.int32),
        adopted=adopted.astype(np.int16),
        staple_share=rng.beta(3.5, 5, n).astype(np.float32),
    )
    return pick_staples(tastes, assortment, generator(retailer, Stream.STAPLES))
