"""Recency, frequency and monetary value of everyone who bought."""

from datetime import date

import ibis
from ibis.expr import types as ir

from portrait.config import FeatureConfig
from portrait.features.weight import days_before

WINDOWS = (30, 90, 365)
SCORES = ("r_score", "f_score", "m_score")
COUNTS = ("items", "store_frequency")
COLUMNS = (
    "first_purchase_on", "last_purchase_on", "recency_days", "frequency", "monetary",
    *(f"{name}_{days}d" for days in WINDOWS for name in ("frequency", "monetary")),
    "refunded", "items", "interpurchase_days", "store_monetary", "store_frequency", *SCORES, "value_type",
)  # fmt: skip

VALUE_TYPES = {
    (True, True, True): "champions",
    (True, False, True): "important_to_develop",
    (False, True, True): "important_to_keep",
    (False, False, True): "important_to_win_back",
    (True, True, False): "general_value",
    (True, False, False): "general_to_develop",
    (False, True, False): "general_to_keep",
    (False, False, False): "general_to_win_back",
}
"""(recent, frequent, high spending) against the mean buyer -> value type: the eight types of the RFM model as
taught in Chinese retail (重要价值, 重要发展, 重要保持, 重要挽留 and the same four of 一般). The mean itself
counts as recent, frequent, high."""


def baskets(rows: ir.Table, config: FeatureConfig) -> ir.Table:
    """One row a basket that a customer bought: dated by its first day, with its amount and pieces."""
    bought = rows.filter(rows.event_name.isin(config.purchases))
    return bought.group_by("customer", "channel", "basket").agg(
        on=bought.business_date.min(),
        amount=bought.amount.sum(),
        items=ibis.coalesce(bought.quantity, ibis.literal(1.0)).abs().cast("decimal(18, 4)").sum(),
    )


def rfm(rows: ir.Table, config: FeatureConfig, as_of: date) -> ir.Table:
    """One row a buyer, what can be said of each alone: `finish` adds the rest.

    ================== ==================================================================================
    recency_days       days from the last purchase to as_of
    frequency          distinct baskets (orders and receipts), the first one included
    monetary           sum of purchase amounts, refunds not deducted
    ..._30d            the same of the last 30 days, as_of included (also 90, 365)
    refunded           sum of refund amounts; 0 with none
    items              pieces bought, rounded; a line without a quantity counts as one
    interpurchase_days mean days between consecutive distinct purchase days; null with one day
    store_...          the part bought in stores
    r_score ...        quintile among buyers by percent rank, 5 the most recent, frequent, spending; equal
                       values have equal scores
    value_type         one of `VALUE_TYPES`
    ================== ==================================================================================
    """
    basket = baskets(rows, config)
    age = days_before(as_of, basket.on)
    in_store = basket.channel == "store"
    windowed = {}
    for days in WINDOWS:
        windowed[f"frequency_{days}d"] = basket.count(where=age < days)
        windowed[f"monetary_{days}d"] = _or_zero(basket.amount.sum(where=age < days))
    buyer = basket.group_by("customer").agg(
        first_purchase_on=basket.on.min(),
        last_purchase_on=basket.on.max(),
        purchase_days=basket.on.nunique(),
        span=age.max() - age.min(),
        frequency=basket.count(),
        monetary=_or_zero(basket.amount.sum()),
        items=basket["items"].sum(),
        store_monetary=_or_zero(basket.amount.sum(where=in_store)),
        store_frequency=basket.count(where=in_store),
        **windowed,
    )
    back = refunds(rows, config)
    return _typed(buyer.left_join(back, buyer.customer == back.returner).drop("returner"))


def finish(buyer: ir.Table, as_of: date) -> ir.Table:
    """All columns of the table above, from what `rfm` gives of all buyers."""
    buyer = buyer.mutate(recency_days=days_before(as_of, buyer.last_purchase_on).cast("int32"))
    scored = _scored(buyer)
    return scored.cast(dict.fromkeys(SCORES, "int32")).select("customer", *COLUMNS)


def refunds(rows: ir.Table, config: FeatureConfig) -> ir.Table:
    """What each customer was refunded."""
    returned = rows.filter(rows.event_name.isin(config.refunds))
    back = returned.group_by("customer").agg(refunded=returned.amount.sum())
    return back.rename(returner="customer")


def _or_zero(amount: ir.NumericValue) -> ir.NumericValue:
    return ibis.coalesce(amount, ibis.literal(0).cast("decimal(38, 4)"))


def _scored(buyer: ir.Table) -> ir.Table:
    """Add scores and the value type; 1e-6 keeps the mean of equal amounts from missing them by rounding."""
    everyone = ibis.window()
    spent = buyer.monetary.cast("float64")
    buyer = buyer.mutate(
        r_score=quintile(-buyer.recency_days),
        f_score=quintile(buyer.frequency),
        m_score=quintile(buyer.monetary),
        recent=buyer.recency_days <= buyer.recency_days.mean().over(everyone) + 1e-6,
        frequent=buyer.frequency >= buyer.frequency.mean().over(everyone) - 1e-6,
        high=spent >= spent.mean().over(everyone) - 1e-6,
    )
    named = [
        ((buyer.recent == r) & (buyer.frequent == f) & (buyer.high == m), name)
        for (r, f, m), name in VALUE_TYPES.items()
    ]
    return buyer.mutate(value_type=ibis.cases(*named))


def quintile(value: ir.NumericColumn) -> ir.IntegerColumn:
    """1 to 5 by percent rank, (rank - 1) / (rows - 1), in whole numbers so that bounds are exact."""
    rank = ibis.rank().over(ibis.window(order_by=value))
    others = (value.count().over(ibis.window()) - 1).clip(lower=1)
    return (1 + (5 * rank) // others).clip(upper=5)


def _typed(buyer: ir.Table) -> ir.Table:
    made = buyer.mutate(
        refunded=ibis.coalesce(buyer.refunded.cast("float64"), ibis.literal(0.0)),
        interpurchase_days=buyer.span / (buyer.purchase_days - 1).nullif(0),
        items=buyer["items"].round(),
    )
    columns = [c for c in COLUMNS if c in made.columns]
    types = {
        c: "int32" if c in COUNTS or c.startswith("frequency") else "float64"
        for c in columns
        if not c.endswith("_on")
    }
    return made.select("customer", *columns).cast(types)
