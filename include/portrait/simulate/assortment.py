"""Products, their prices and popularity, and who prefers which of them."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from portrait.simulate.categories import (
    DEPARTMENTS,
    FOOD_DEPARTMENTS,
    FOOD_SIZES,
    FOOD_WORDS,
    OTHER_SIZES,
    OTHER_WORDS,
)
from portrait.simulate.columns import Array, scatter
from portrait.simulate.retailer import Retailer
from portrait.simulate.streams import Stream, generator

SHELVES = [(d, s) for d, department in enumerate(DEPARTMENTS) for s in range(len(department.shelves))]
SHELF_NAMES = [f"{DEPARTMENTS[d].name}/{DEPARTMENTS[d].shelves[s].name}" for d, s in SHELVES]
STAPLE_SHELF = np.array([DEPARTMENTS[d].staple for d, _ in SHELVES])
DEMAND = np.array([DEPARTMENTS[d].demand for d, _ in SHELVES])
DEMAND = DEMAND / DEMAND.sum()
ARCHETYPES = 16  # groups of people with a common leaning
TIERS = 3  # spending power: low, mid, high
TIER_NAMES = ("low", "mid", "high")
ALREADY_LAUNCHED = 0.88
VARIETY = 0.5  # exponent that levels preferences where people look for something new


@dataclass(frozen=True)
class Assortment:
    """Products ordered by shelf (second-level category) and brand.

    Attributes
    ----------
    shelf, leaf, cents, launched, quality, companion, fallback
        One value a product: shelf index, leaf within the shelf, list price in cents, launch day since start
        (negative: before), latent quality (mean of ratings), the product bought along with it, a product of
        the same shelf that stands in until it is launched.
    shelf_from, shelf_to, block_from, block_to
        Product ranges of shelves and of blocks (one brand on one shelf).
    block_shelf
        The shelf of each block.
    cumulative
        Cumulative choice weights, segments (archetype x tier) one after the other, one product after another.
    leaning
        Archetype x shelf: what an archetype likes.
    queries
        Four search queries a product: category in English and in Chinese, brand with category, Chinese name.
    table
        What `products.csv` contains.
    """

    shelf: Array
    leaf: Array
    cents: Array
    launched: Array
    quality: Array
    companion: Array
    fallback: Array
    shelf_from: Array
    shelf_to: Array
    block_from: Array
    block_to: Array
    block_shelf: Array
    cumulative: Array
    leaning: Array
    queries: pa.Array
    table: pa.Table

    @property
    def size(self) -> int:
        """How many products there are."""
        return len(self.shelf)


def build_assortment(retailer: Retailer) -> Assortment:
    """All products, with the choice weights of every segment of people."""
    rng = generator(retailer, Stream.PRODUCTS)
    n = retailer.products
    shelf = np.arange(n) % len(SHELVES)
    brands = np.array([len(DEPARTMENTS[d].brands) for d, _ in SHELVES])
    leaves = np.array([len(DEPARTMENTS[d].shelves[s].leaves) for d, s in SHELVES])
    brand = (rng.random(n) ** 1.4 * brands[shelf]).astype(np.int64)
    order = np.lexsort((brand, shelf))
    shelf, brand = shelf[order], brand[order]
    leaf = rng.integers(0, leaves[shelf])
    typical = np.array([DEPARTMENTS[d].shelves[s].price for d, s in SHELVES])[shelf]
    relative = rng.normal(0, 0.5, n)
    cents = np.round(typical * np.exp(relative) * 10).astype(np.int64) * 10
    cents = np.maximum(cents - 10, 90)  # 12.90 rather than 13.00
    early = rng.random(n) < ALREADY_LAUNCHED
    horizon = retailer.history_days
    launched = np.where(early, -rng.integers(1, 1500, n), rng.integers(0, horizon + horizon // 2 + 1, n))

    block = shelf * brands.max() + brand
    blocks, block_from = np.unique(block, return_index=True)
    shelf_from = np.searchsorted(shelf, np.arange(len(SHELVES)))
    launched[shelf_from] = -365  # every shelf sells something from the first day
    popularity = 1 / (rng.permutation(n) + 4.0) ** 0.95
    shelf_weight = np.bincount(shelf, popularity, len(SHELVES))
    popularity = popularity / shelf_weight[shelf] * DEMAND[shelf]
    flat = np.where(STAPLE_SHELF[shelf], 1.0, VARIETY)
    weights = _segment_weights(rng, popularity, relative, np.searchsorted(blocks, block), flat)
    alpha = 0.22 * len(SHELVES) * DEMAND
    return Assortment(
        shelf=shelf,
        leaf=leaf,
        cents=cents,
        launched=launched,
        quality=rng.normal(4.1, 0.45, n),
        companion=rng.permutation(n),
        fallback=shelf_from[shelf],
        shelf_from=shelf_from,
        shelf_to=np.append(shelf_from[1:], n),
        block_from=block_from,
        block_to=np.append(block_from[1:], n),
        block_shelf=blocks // brands.max(),
        cumulative=np.cumsum(weights.ravel()),
        leaning=rng.dirichlet(alpha, ARCHETYPES),
        **_described(retailer, rng, shelf, leaf, brand, cents, launched),
    )


def _segment_weights(
    rng: np.random.Generator, popularity: Array, relative: Array, block: Array, flat: Array
) -> Array:
    """Segment x product: popular, at the tier's price level, of a brand and kind the archetype likes."""
    n = len(popularity)
    brand_liking = np.exp(rng.normal(0, 0.9, (ARCHETYPES, block.max() + 1)))[:, block]
    own_liking = np.exp(rng.normal(0, 0.9, (ARCHETYPES, n)))
    level = np.array([-0.6, 0.0, 0.6])[:, None]
    price_match = np.exp(-((relative - level) ** 2) / (2 * 0.4**2)) + 0.02
    weights = popularity * (brand_liking * own_liking)[:, None, :] * price_match[None, :, :]
    weights **= flat
    weights = weights.reshape(ARCHETYPES * TIERS, n)
    return weights / weights.sum(axis=1, keepdims=True)


def _described(
    retailer: Retailer,
    rng: np.random.Generator,
    shelf: Array,
    leaf: Array,
    brand: Array,
    cents: Array,
    launched: Array,
) -> dict[str, pa.Array | pa.Table]:
    """Names, codes and search queries."""
    n = len(shelf)
    number = scatter(np.arange(n), 900_000, 7_919, 137)
    word, size = rng.integers(0, 8, n), rng.integers(0, 6, n)
    columns: dict[str, list[str]] = {k: [] for k in ("name", "name_zh", "brand", "c1", "c2", "c3")}
    queries: list[str] = []
    for i in range(n):
        d, s = SHELVES[shelf[i]]
        department = DEPARTMENTS[d]
        kind = department.shelves[s].leaves[leaf[i]]
        name, zh = department.brands[brand[i]]
        words, sizes = (FOOD_WORDS, FOOD_SIZES) if d < FOOD_DEPARTMENTS else (OTHER_WORDS, OTHER_SIZES)
        en_word, zh_word = words[word[i]]
        columns["name"].append(f"{name} {en_word} {kind.name} {sizes[size[i]]}")
        columns["name_zh"].append(f"{zh}{zh_word}{kind.zh} {sizes[size[i]]}")
        columns["brand"].append(name)
        columns["c1"].append(department.name)
        columns["c2"].append(department.shelves[s].name)
        columns["c3"].append(kind.name)
        queries += [kind.name.lower(), kind.zh, f"{name} {kind.name}".lower(), f"{zh}{kind.zh}"]
    day = np.datetime64(retailer.start) + launched.astype("timedelta64[D]")
    table = pa.table(
        {
            "sku": [f"SKU{100_000 + x}" for x in number],
            "gtin": [gtin13(690_000_000_000 + scatter_code(int(x))) for x in number],
            "name": columns["name"],
            "name_zh": columns["name_zh"],
            "brand": columns["brand"],
            "category_1": columns["c1"],
            "category_2": columns["c2"],
            "category_3": columns["c3"],
            "list_price": [f"{c / 100:.2f}" for c in cents],
            "launched_on": pa.array(day, pa.date32()),
        }
    )
    return {"queries": pa.array(queries), "table": table}


def scatter_code(number: int) -> int:
    """A company and article number of nine digits for a product number, one to one."""
    return (number * 100_003 + 4_711) % 1_000_000_007


def gtin13(twelve_digits: int) -> str:
    """The number with its GS1 check digit (weights 1, 3, 1, 3, ... from the left, modulo 10).

    >>> gtin13(400638133393)
    '4006381333931'
    """
    digits = f"{twelve_digits:012d}"
    total = sum(int(c) * (3 if i % 2 else 1) for i, c in enumerate(digits))
    return f"{digits}{-total % 10}"
