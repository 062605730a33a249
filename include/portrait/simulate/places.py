"""Regions, cities and the chain's stores."""

from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np
import pyarrow as pa

from portrait.simulate.columns import Array
from portrait.simulate.retailer import Retailer
from portrait.simulate.streams import Stream, generator

# region, city, tier
CITIES: tuple[tuple[str, str, int], ...] = (
    ("East", "Shanghai", 1), ("South", "Guangzhou", 1), ("North", "Beijing", 1), ("South", "Shenzhen", 1),
    ("East", "Hangzhou", 2), ("East", "Nanjing", 2), ("Southwest", "Chengdu", 2), ("Central", "Wuhan", 2),
    ("Northwest", "Xi'an", 2), ("North", "Tianjin", 2), ("Southwest", "Chongqing", 2), ("East", "Suzhou", 2),
    ("Central", "Changsha", 3), ("Northeast", "Shenyang", 3), ("East", "Ningbo", 3), ("South", "Foshan", 3),
    ("Southwest", "Kunming", 3), ("Northeast", "Harbin", 3), ("Central", "Zhengzhou", 3),
    ("East", "Hefei", 3),
)  # fmt: skip
_STREETS = ("Riverside", "Station", "Garden", "Old Town", "University", "Harbour", "Lakeview", "Market")


@dataclass(frozen=True)
class Stores:
    """The chain. `city` is an index into CITIES, `weight` the store's share of all visits."""

    city: Array
    weight: Array
    phone: Array
    table: pa.Table


def build_stores(retailer: Retailer) -> Stores:
    """The stores of the retailer: one a city first, then further ones in the larger cities."""
    rng = generator(retailer, Stream.STORES)
    number = np.arange(retailer.stores)
    city = np.where(number < len(CITIES), number, rng.integers(0, len(CITIES), retailer.stores))
    weight = 1 / (number + 4.0)
    opened = [date(2010, 3, 1) + timedelta(days=int(d)) for d in rng.integers(0, 4000, retailer.stores)]
    table = pa.table(
        {
            "store_id": [store_id(n) for n in range(retailer.stores)],
            "name": [f"{CITIES[c][1]} {_STREETS[n % len(_STREETS)]}" for n, c in enumerate(city)],
            "region": [CITIES[c][0] for c in city],
            "city": [CITIES[c][1] for c in city],
            "city_tier": pa.array([CITIES[c][2] for c in city], pa.int32()),
            "opened_on": opened,
        }
    )
    return Stores(city, weight / weight.sum(), till_phone(number), table)


def store_id(number: int) -> str:
    """S001, S002, ..."""
    return f"S{number + 1:03d}"


def till_phone(store: Array) -> Array:
    """The phone that cashiers of a store type in when a customer gives none: 19999 and the store's number."""
    return 19_999_000_000 + store.astype(np.int64)
