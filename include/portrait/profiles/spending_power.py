"""How dear customers choose: the price level of what they look at and buy, within its categories, in three groups."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from portrait.features.matrix import read_csr

Array = np.ndarray

TIERS = ("low", "mid", "high")
LEAST_CUSTOMERS = 50
"""Fewer customers with priced products say too little about groups."""

FIT_SAMPLE = 100_000
"""Customers, evenly taken, of whom the groups are learned; all are put into them."""

STEPS = 200
_CLOSE_ENOUGH = 1e-6


def spending_power(features: Path) -> pa.Table:
    """customer_id, price_level and spending_tier of whoever showed interest in a product with a price.

    `price_level` is the mean of log(list price / median list price of the category) over the distinct products: 0.1
    says that they choose about a tenth dearer than the category's middle. The tier goes by the same in standard
    deviations of the category, else the categories with the widest range of prices would decide it. Empty where the
    features have no matrix or fewer than 50 customers have a level.

    Parameters
    ----------
    features : folder of the run's features.
    """
    needed = [features / "catalogue.parquet", features / "matrix" / "customers.parquet"]
    if not all(p.is_file() for p in needed):
        return _table([], np.empty(0), np.empty(0, dtype=int))
    touched = read_csr(features / "matrix" / "full_weights")
    relative, standard, priced = _relative_prices(pq.read_table(needed[0]), touched.shape[1])
    touched.data = np.ones_like(touched.data, dtype=np.float64)
    number = touched @ priced
    known = number > 0
    if known.sum() < LEAST_CUSTOMERS:
        return _table([], np.empty(0), np.empty(0, dtype=int))
    number = number[known]
    level, apart = (touched @ relative)[known] / number, (touched @ standard)[known] / number
    squares = (touched @ standard**2)[known]
    customers = pq.read_table(needed[1], columns=["customer_id"])["customer_id"].filter(pa.array(known))
    within = max(float((squares - number * apart**2).sum() / max((number - 1).sum(), 1)), 1e-6)
    return _table(customers.to_pylist(), level, groups(apart, within / number))


def groups(level: Array, noise: Array) -> Array:
    """Which of three groups each customer belongs to, 0 the cheapest, int [n].

    A mixture of three normal distributions, fitted by expectation maximisation to at most `FIT_SAMPLE` of them; a level
    that few products make says less: its own variance is added to the group's.

    Parameters
    ----------
    level : mean of what is known of each customer, [n].
    noise : variance of that mean, [n].
    """
    some: Array | slice = slice(None)
    if len(level) > FIT_SAMPLE:
        some = np.linspace(0, len(level) - 1, FIT_SAMPLE).astype(int)
    mixture = _fit(level[some], noise[some])
    place = np.argsort(np.argsort(mixture.mean, kind="stable"), kind="stable")
    chosen: Array = place[mixture.log_density(level, noise).argmax(axis=1)]
    return chosen


@dataclass(frozen=True)
class _Mixture:
    """Mean, variance and share of each group, [3]."""

    mean: Array
    spread: Array
    share: Array

    def log_density(self, level: Array, noise: Array) -> Array:
        """Of each customer in each group, but for a constant, [n, 3]."""
        variance = self.spread + noise[:, None]
        distance = (level[:, None] - self.mean) ** 2 / variance
        logarithm: Array = np.log(self.share) - 0.5 * (np.log(2 * np.pi * variance) + distance)
        return logarithm


def _fit(level: Array, noise: Array) -> _Mixture:
    mixture = _Mixture(
        np.quantile(level, [1 / 6, 1 / 2, 5 / 6]),
        np.full(3, max(float(np.var(level)) / 9, 1e-6)),
        np.full(3, 1 / 3),
    )
    before = -np.inf
    for _ in range(STEPS):
        density = mixture.log_density(level, noise)
        likely = np.logaddexp.reduce(density, axis=1)
        belongs = np.exp(density - likely[:, None])
        # What each customer's true level is, were they of the group: between what is seen and the group's mean.
        trust = mixture.spread / (mixture.spread + noise[:, None])
        true = mixture.mean + trust * (level[:, None] - mixture.mean)
        size = belongs.sum(axis=0) + 1e-9
        mean = (belongs * true).sum(axis=0) / size
        spread = ((belongs * ((true - mean) ** 2 + mixture.spread * (1 - trust))).sum(axis=0) / size).clip(
            1e-6
        )
        mixture = _Mixture(mean, spread, size / size.sum())
        if abs(likely.mean() - before) < _CLOSE_ENOUGH:
            break
        before = likely.mean()
    return mixture


def _relative_prices(catalogue: pa.Table, items: int) -> tuple[Array, Array, Array]:
    """Of each item, float64 [items], 0 where there is no price: log(price / median of the category), the distance of the
    logarithm from the category's mean in standard deviations, and 1 where there is a price."""
    frame = catalogue.select(["item", "category", "list_price"]).to_pandas()
    frame["list_price"] = frame["list_price"].astype(float)
    frame = frame[(frame["list_price"] > 0) & frame["category"].notna() & (frame["item"] < items)]
    logarithm = np.log(frame["list_price"])
    category = logarithm.groupby(frame["category"])
    deviation = category.transform("std").fillna(0.0)
    relative, standard, priced = np.zeros(items), np.zeros(items), np.zeros(items)
    relative[frame["item"]] = logarithm - category.transform("median")
    # Of one product, or of equal prices, none is dear.
    standard[frame["item"]] = (logarithm - category.transform("mean")) / deviation.where(
        deviation > 0, np.inf
    )
    priced[frame["item"]] = 1.0
    return relative, standard, priced


def _table(customers: list[str], level: Array, group: Array) -> pa.Table:
    return pa.table(
        {
            "customer_id": pa.array(customers, pa.string()),
            "price_level": pa.array(level, pa.float64()),
            "power": pa.array([TIERS[g] for g in group.tolist()], pa.string()),
        }
    )
