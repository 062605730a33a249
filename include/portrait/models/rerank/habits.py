"""What a purchase log says about a customer's habit with an item, about the customer, and about the item."""

from dataclasses import dataclass

import numpy as np

from portrait.models.rerank.purchases import Purchases

HALF_LIVES = (1.0, 3.0, 8.0)
"""In baskets: how fast a purchase fades in the three faded counts."""

RECENT = 3
"""Baskets that count as a customer's recent ones."""

Columns = dict[str, np.ndarray]


@dataclass(frozen=True, eq=False)
class Habits:
    """Statistics of one log, looked up by customer and item.

    Attributes
    ----------
    key : int64 [pairs], ascending
        customer * n_items + item of every pair that was bought.
    pair : name -> float32 [pairs]
    customer : name -> float32 [n_customers]
    item : name -> float32 [n_items]
    """

    key: np.ndarray
    pair: Columns
    customer: Columns
    item: Columns
    n_items: int

    def columns(self, customer: np.ndarray, item: np.ndarray) -> Columns:
        """name -> float32 [n] for any pairs; NaN for the own history of a pair that was never bought."""
        key = customer.astype(np.int64) * self.n_items + item
        place = np.searchsorted(self.key, key)
        bought = place < len(self.key)
        bought[bought] = self.key[place[bought]] == key[bought]
        place = place[bought]
        found: Columns = {}
        for name, values in self.pair.items():
            found[name] = np.full(len(key), np.nan, dtype=np.float32)
            found[name][bought] = values[place]
        found.update({name: values[customer] for name, values in self.customer.items()})
        found.update({name: values[item] for name, values in self.item.items()})
        with np.errstate(divide="ignore", invalid="ignore"):
            found["due_own"] = (found["since"] + 1) / found["interval"]
            found["due_item"] = (found["since"] + 1) / found["item_interval"]
            found["share"] = found["count"] / found["baskets"]
            found["trend"] = found["item_last"] / found["item_baskets"]
        return found


def habits(log: Purchases) -> Habits:
    """All statistics of a log, in baskets (and days, where the log has them) before its end."""
    order = np.lexsort((log.basket, log.item, log.customer))
    customer, item, age = log.customer[order], log.item[order], log.age[order].astype(np.float32)
    key = customer.astype(np.int64) * log.n_items + item
    starts = np.flatnonzero(np.r_[True, key[1:] != key[:-1]]) if len(key) else np.empty(0, np.int64)
    ends = np.r_[starts[1:], len(key)].astype(np.int64) - 1 if len(key) else starts
    count = (ends - starts + 1).astype(np.float32)
    pair = _pair(age, starts, ends, count)
    owner, kind = customer[starts], item[starts]
    who = _customer(log, owner, count)
    what = _item(log, order, key, kind, pair)
    if log.day is not None and len(log):
        today = np.float32(log.day.max() + 1)
        pair["since_days"] = today - log.day[order][ends]
        last = np.full(log.n_customers, np.nan, dtype=np.float32)
        np.fmax.at(last, log.customer, log.day.astype(np.float32))
        who["idle_days"] = today - last
    return Habits(key[starts], pair, who, what, log.n_items)


def _pair(age: np.ndarray, starts: np.ndarray, ends: np.ndarray, count: np.ndarray) -> Columns:
    since, first = age[ends], age[starts]
    with np.errstate(divide="ignore", invalid="ignore"):
        interval = np.where(count > 1, (first - since) / (count - 1), np.nan)
    found = {"count": count, "since": since, "first": first, "interval": interval.astype(np.float32)}
    for half_life in HALF_LIVES:
        faded = np.exp2(-age / np.float32(half_life))
        found[f"faded_{half_life:g}"] = np.add.reduceat(faded, starts) if len(starts) else faded
    recent = (age < RECENT).astype(np.float32)
    found["recent"] = np.add.reduceat(recent, starts) if len(starts) else recent
    return found


def _customer(log: Purchases, owner: np.ndarray, count: np.ndarray) -> Columns:
    n = log.n_customers
    lines = np.bincount(log.customer, minlength=n).astype(np.float32)
    distinct = np.bincount(owner, minlength=n).astype(np.float32)
    repeated = np.bincount(owner[count > 1], minlength=n).astype(np.float32)
    last = np.bincount(log.customer[log.age == 0], minlength=n).astype(np.float32)
    baskets = log.n_baskets.astype(np.float32)
    with np.errstate(divide="ignore", invalid="ignore"):
        return {
            "baskets": baskets,
            "basket_size": lines / baskets,
            "last_size": last,
            "distinct": distinct,
            "customer_repeat": 1 - distinct / lines,
            "customer_loyal": repeated / distinct,
        }


def _item(log: Purchases, order: np.ndarray, key: np.ndarray, kind: np.ndarray, pair: Columns) -> Columns:
    """Popularity ever and lately, how often it is bought again, and after how many baskets."""
    n = log.n_items
    bought = np.bincount(log.item, minlength=n).astype(np.float32)
    buyers = np.bincount(kind, minlength=n).astype(np.float32)
    last = np.bincount(log.item[log.age == 0], minlength=n).astype(np.float32)
    recent = np.bincount(log.item[log.age < RECENT], minlength=n).astype(np.float32)
    again = np.bincount(kind[pair["count"] > 1], minlength=n).astype(np.float32)
    # Chances to be bought again: every basket of a buyer after the first purchase.
    chances = np.bincount(kind, weights=pair["first"], minlength=n).astype(np.float32)
    gaps = np.bincount(kind, weights=pair["first"] - pair["since"], minlength=n).astype(np.float32)
    size = np.bincount(log.item, weights=_basket_sizes(log), minlength=n)
    per_buyer = log.n_baskets[log.customer[order]]
    frequent = np.bincount(log.item[order], weights=per_buyer, minlength=n)
    with np.errstate(divide="ignore", invalid="ignore"):
        return {
            "item_baskets": bought,
            "item_buyers": buyers,
            "item_last": last,
            "item_recent": recent,
            "item_again": again / buyers,
            "item_rate": (bought - buyers) / chances,
            "item_interval": gaps / (bought - buyers),
            "item_basket_size": (size / bought).astype(np.float32),
            "item_buyer_baskets": (frequent / bought).astype(np.float32),
        }


def _basket_sizes(log: Purchases) -> np.ndarray:
    """float64 [n]: size of the basket of each row."""
    width = int(log.n_baskets.max(initial=0)) + 1
    number = log.customer.astype(np.int64) * width + log.basket
    _, place, sizes = np.unique(number, return_inverse=True, return_counts=True)
    return sizes[place].astype(np.float64)
