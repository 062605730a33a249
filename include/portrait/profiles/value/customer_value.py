"""The value of each buyer: both models fitted to the night's buyers, and what they say of each of them."""

import logging
from dataclasses import asdict, dataclass, field
from datetime import date

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from portrait.profiles.value.bgnbd import Array, BgNbd, Purchases
from portrait.profiles.value.gamma_gamma import GammaGamma
from portrait.profiles.value.interval import spend_interval
from portrait.profiles.value.regression import regression_spend

log = logging.getLogger(__name__)

LEAST_REPEATERS = 50
"""Fewer customers with a second purchase day say too little about coming back."""

FIT_SAMPLE = 100_000
HORIZON_DAYS = 90
YEAR_DAYS = 365
WEEK = 7.0

COLUMNS = (
    "purchase_days",
    "p_alive",
    "expected_orders_90d",
    "expected_spend_90d",
    "regression_spend_90d",
    "clv_12m",
    "clv_12m_low",
    "clv_12m_high",
)


@dataclass(frozen=True)
class Fitted:
    """What was learned of all buyers, by name, for `ops.value_model`; empty when there were too few buyers."""

    parameters: dict[str, float] = field(default_factory=dict)


def customer_value(rfm: pa.Table, as_of: date, seed: int) -> tuple[pa.Table, Fitted]:
    """One row a buyer: customer_id and `COLUMNS`; all but the purchase days null with fewer than 50 repeat buyers.

    Amounts are what was spent less what was refunded. A purchase day counts once, however many baskets it had. The
    12-month value is not discounted. A date, the same buyers and the same seed give the same values.

    Parameters
    ----------
    rfm : customer_id, first_purchase_on, last_purchase_on, interpurchase_days, frequency, monetary, refunded,
        frequency_90d, monetary_90d.
    """
    rfm = rfm.sort_by("customer_id")
    seen, days = _purchases(rfm, as_of)
    mean = np.maximum(_numbers(rfm, "monetary") - _numbers(rfm, "refunded"), 0.0) / days
    found: dict[str, Array | None] = dict.fromkeys(COLUMNS)
    found["purchase_days"] = days
    found["regression_spend_90d"] = regression_spend(
        seen.observed * WEEK,
        *(_numbers(rfm, c) for c in ("frequency", "monetary", "frequency_90d", "monetary_90d")),
    )
    fitted = _fit(seen, days, mean, seed)
    if fitted is not None:
        found.update(_forecast(*fitted, seen, days, mean, seed))
    arrays = [
        pa.nulls(len(days), pa.float64()) if v is None else pa.array(v, pa.float64()) for v in found.values()
    ]
    table = pa.table([rfm["customer_id"], *arrays], names=["customer_id", *found])
    return table, _record(fitted, seen)


def _purchases(rfm: pa.Table, as_of: date) -> tuple[Purchases, Array]:
    """When each buyer bought, and on how many days: the mean interval times one less than these is the span."""
    span = pc.days_between(rfm["first_purchase_on"], rfm["last_purchase_on"]).to_numpy().astype(float)
    known = pc.days_between(rfm["first_purchase_on"], pa.scalar(as_of)).to_numpy().astype(float)
    interval = _numbers(rfm, "interpurchase_days")
    with np.errstate(divide="ignore", invalid="ignore"):
        repeats = np.where(interval > 0, np.rint(span / interval), 0.0)
    return Purchases(repeats, span / WEEK, known / WEEK), repeats + 1


def _numbers(table: pa.Table, column: str) -> Array:
    return pc.fill_null(table[column].cast(pa.float64()), 0.0).to_numpy()


def _fit(seen: Purchases, days: Array, mean: Array, seed: int) -> tuple[BgNbd, GammaGamma] | None:
    repeaters = int((seen.repeats > 0).sum())
    if repeaters < LEAST_REPEATERS:
        log.warning("%d customers bought on two days: too few for a value, it stays empty", repeaters)
        return None
    rows: Array | slice = slice(None)
    if len(seen) > FIT_SAMPLE:
        rows = np.sort(np.random.default_rng(seed).choice(len(seen), FIT_SAMPLE, replace=False))
    buying, spending = BgNbd.fit(seen[rows]), GammaGamma.fit(days[rows], mean[rows])
    if buying is None or spending is None:
        log.warning("the value models found no parameters for these purchases: the value stays empty")
        return None
    log.info("value models of %d buyers: %s, %s", len(seen), buying, spending)
    return buying, spending


def _forecast(
    buying: BgNbd, spending: GammaGamma, seen: Purchases, days: Array, mean: Array, seed: int
) -> dict[str, Array]:
    amount = spending.expected(days, mean)
    orders = buying.expected(seen, HORIZON_DAYS / WEEK)
    low, high = spend_interval(buying, spending, seen, mean, YEAR_DAYS / WEEK, seed)
    return {
        "p_alive": buying.p_alive(seen),
        "expected_orders_90d": orders,
        "expected_spend_90d": orders * amount,
        "clv_12m": buying.expected(seen, YEAR_DAYS / WEEK) * amount,
        "clv_12m_low": low,
        "clv_12m_high": high,
    }


def _record(fitted: tuple[BgNbd, GammaGamma] | None, seen: Purchases) -> Fitted:
    if fitted is None:
        return Fitted()
    buying, spending = fitted
    named = {f"bg_nbd_{k}": v for k, v in asdict(buying).items()}
    named |= {f"gamma_gamma_{k}": v for k, v in asdict(spending).items()}
    return Fitted({**named, "buyers": float(len(seen)), "repeat_buyers": float((seen.repeats > 0).sum())})
