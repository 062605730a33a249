"""Between which amounts a customer's next year lies: draws from what the two models say of them."""

import numpy as np

from portrait.profiles.value.bgnbd import Array, BgNbd, Purchases
from portrait.profiles.value.gamma_gamma import GammaGamma

DRAWS = 100
INTERVAL = (0.1, 0.9)
_CHUNK = 20_000
_NEVER = 1e9


def spend_interval(
    buying: BgNbd, spending: GammaGamma, seen: Purchases, mean: Array, weeks: float, seed: int
) -> tuple[Array, Array]:
    """The 10 % and 90 % quantiles of what each customer spends in the next `weeks`, float64 [n] each.

    Draws whether the customer is still one, their rate, when they leave, how many purchase days that makes and what
    they spend on them. The same customers in the same order and the same seed give the same intervals.

    Parameters
    ----------
    mean : amount a purchase day so far, [n].
    """
    low, high = np.empty(len(seen)), np.empty(len(seen))
    for start in range(0, len(seen), _CHUNK):
        rows = slice(start, start + _CHUNK)
        rng = np.random.default_rng([seed, start])
        spent = _draw(buying, spending, seen[rows], mean[rows], weeks, rng)
        spent.sort(axis=1)
        at = [round(q * (DRAWS - 1)) for q in INTERVAL]
        low[rows], high[rows] = spent[:, at[0]], spent[:, at[1]]
    return low, high


def _draw(
    buying: BgNbd,
    spending: GammaGamma,
    seen: Purchases,
    mean: Array,
    weeks: float,
    rng: np.random.Generator,
) -> Array:
    """What each customer spends, float64 [n, DRAWS]."""
    size = (len(seen), DRAWS)
    x = seen.repeats[:, None]
    days = _purchase_days(buying, seen, weeks, rng, size)
    shape = spending.p * (x + 1)
    inverse = rng.gamma(spending.q + shape, size=size) / (spending.v + shape / spending.p * mean[:, None])
    total = rng.gamma(np.maximum(spending.p * days, 1e-300))
    return np.where(days > 0, total / inverse, 0.0)


def _purchase_days(
    buying: BgNbd, seen: Purchases, weeks: float, rng: np.random.Generator, size: tuple[int, int]
) -> Array:
    x = seen.repeats[:, None]
    rate = rng.gamma(buying.r + x, size=size) / (buying.alpha + seen.observed[:, None])
    leaves = rng.beta(buying.a, buying.b + x, size=size)
    bought = rng.poisson(rate * weeks)
    with np.errstate(divide="ignore"):
        last = np.ceil(np.log(rng.random(size)) / np.log1p(-np.clip(leaves, 1e-12, 1 - 1e-12)))
    alive = rng.random(size) < buying.p_alive(seen)[:, None]
    return np.where(alive, np.minimum(bought, np.minimum(last, _NEVER)), 0.0)
