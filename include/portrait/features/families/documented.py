"""What each feature is: the table that docs/features.md is made of.

`python -m portrait.features.families.documented > docs/features.md` writes the page; a test compares both.
"""

import sys
from dataclasses import dataclass

from portrait.features.families.behaviour import EVENTS, WINDOW
from portrait.features.families.rhythm import DAYPARTS
from portrait.features.rfm import WINDOWS

ALL_TIME = "all time"


@dataclass(frozen=True)
class Feature:
    """One column.

    Attributes
    ----------
    name : the column, after `finish`.
    family : its function and table.
    formula : how it is computed.
    unit : of its values.
    window : which events count: `all time` or so many days, as_of included.
    null_policy : when it is null, or what stands for nothing.
    """

    name: str
    family: str
    formula: str
    unit: str
    window: str
    null_policy: str


def _family(family: str, *rows: tuple[str, ...]) -> list[Feature]:
    """Features from (name, formula, unit, null policy[, window])."""
    return [
        Feature(row[0], family, row[1], row[2], row[4] if len(row) > 4 else ALL_TIME, row[3]) for row in rows
    ]


_NEVER = "never null"
_ZERO = "never null; 0 with none"

RFM = _family(
    "rfm",
    ("first_purchase_on", "first business date of the first basket", "date", _NEVER),
    ("last_purchase_on", "first business date of the last basket", "date", _NEVER),
    ("recency_days", "as_of - last_purchase_on", "days", _NEVER),
    ("frequency", "distinct orders and receipts, the first included", "baskets", _NEVER),
    ("monetary", "sum of purchase amounts, refunds not deducted", "currency", _ZERO),
    *(
        row
        for days in WINDOWS
        for row in (
            (f"frequency_{days}d", "as frequency", "baskets", _ZERO, f"{days} days"),
            (f"monetary_{days}d", "as monetary", "currency", _ZERO, f"{days} days"),
        )
    ),
    ("refunded", "sum of refund amounts", "currency", _ZERO),
    ("items", "pieces bought, rounded; a line without a quantity is one", "pieces", _NEVER),
    (
        "interpurchase_days",
        "days from first to last purchase day / (purchase days - 1)",
        "days",
        "null with one purchase day",
    ),
    ("store_monetary", "monetary in stores", "currency", _ZERO),
    ("store_frequency", "frequency in stores", "receipts", _ZERO),
    ("r_score", "quintile among buyers by recency, 5 the most recent", "1 to 5", _NEVER),
    ("f_score", "quintile among buyers by frequency, 5 the most frequent", "1 to 5", _NEVER),
    ("m_score", "quintile among buyers by monetary, 5 the most spending", "1 to 5", _NEVER),
    ("value_type", "recency, frequency and monetary against the mean buyer", "one of eight names", _NEVER),
)

ACTIVITY = _family(
    "activity",
    ("interactions", "events and receipt lines", "events", _NEVER),
    ("first_seen_on", "first of them", "date", _NEVER),
    ("last_seen_on", "last of them", "date", _NEVER),
    ("online_events", "online events", "events", _ZERO),
    ("store_receipts", "distinct receipts, returns included", "receipts", _ZERO),
    ("views_30d", "product_viewed", "events", _ZERO, "30 days"),
    ("searches_30d", "products_searched", "events", _ZERO, "30 days"),
    ("carts_30d", "product_added", "events", _ZERO, "30 days"),
    ("favourite_store", "store with most receipts, the first by id of several", "store id", "null without receipts"),
)  # fmt: skip

INTERVALS = _family(
    "intervals",
    ("purchase_days", "distinct business dates with a purchase", "days", _NEVER),
    ("interval_mean_days", "mean of the days between consecutive purchase days", "days", "null with one purchase day"),
    ("interval_sd_days", "sample standard deviation of them", "days", "null with fewer than three purchase days"),
    *(
        (f"interval_p{p}_days", f"their {p} % quantile, interpolated", "days", "null with one purchase day")
        for p in (25, 50, 75)
    ),
)  # fmt: skip

BASKET = _family(
    "basket",
    ("basket_amount_mean", "mean amount of orders and receipts", "currency", "null when no amount is known"),
    ("basket_amount_median", "median of it", "currency", "null when no amount is known"),
    ("basket_amount_max", "greatest of it", "currency", "null when no amount is known"),
    ("basket_pieces_mean", "mean pieces of orders and receipts; a line without a quantity is one", "pieces", _NEVER),
    ("basket_pieces_median", "median of it", "pieces", _NEVER),
    ("basket_pieces_max", "greatest of it", "pieces", _NEVER),
    ("basket_items_mean", "mean number of distinct items in a basket", "items", _NEVER),
    ("distinct_items", "distinct items bought", "items", _ZERO),
)  # fmt: skip

CHANNELS = _family(
    "channels",
    ("online_event_share", "online events / (online events + receipt lines); the rest is in stores", "0 to 1", _NEVER),
    ("online_spend_share", "purchase amounts online / purchase amounts", "0 to 1", "null when nothing was spent"),
    ("days_since_online_event", "as_of - last online event", "days", "null with none"),
    ("days_since_store_event", "as_of - last receipt line", "days", "null with none"),
    ("days_since_online_purchase", "as_of - last purchase online", "days", "null with none"),
    ("days_since_store_purchase", "as_of - last purchase in a store", "days", "null with none"),
    (
        "showrooming_share",
        "lines bought in stores whose item was viewed online in the showrooming_days (features.yaml) before / all such lines",
        "0 to 1",
        "null without a line of a known item in a store",
    ),
)  # fmt: skip

RHYTHM = _family(
    "rhythm",
    *(
        (f"{name}_share", f"events from {a:02d}:00 to {b:02d}:00 in the retailer's time zone / events with an hour",
         "0 to 1", "null when no hour is known")
        for name, (a, b) in DAYPARTS.items()
    ),
    ("weekend_share", "events dated Saturday or Sunday / events", "0 to 1", _NEVER),
    ("payday_share", "events on days of the month in paydays (features.yaml) / events", "0 to 1", _NEVER),
)  # fmt: skip

DIVERSITY = _family(
    "diversity",
    ("category_count", "categories viewed or bought", "categories", _ZERO),
    ("brand_count", "brands viewed or bought", "brands", _ZERO),
    *(
        (f"{d}_entropy", f"- sum of p ln p, p the {d}'s share of the behaviour weight of views and purchases, unfaded",
         "nats", f"null when no {d} is known")
        for d in ("category", "brand")
    ),
)  # fmt: skip

PRICE = _family(
    "price",
    ("price_tier_mean", "mean price tier (1 to 5 within the category) of the lines bought", "tier", "null when no tier is known"),
    ("dearest_tier_share", "spent in tier 5 / spent in a known tier", "0 to 1", "null when no tier is known"),
    ("cheapest_tier_share", "spent in tier 1 / spent in a known tier", "0 to 1", "null when no tier is known"),
    ("discount_share", "discounts / (discounts + paid), of lines whose discount is known", "0 to 1", "null when no discount is known"),
    ("return_rate", "refunded / spent, at most 1", "0 to 1", "null when nothing was spent"),
)  # fmt: skip

BEHAVIOUR = _family(
    "behaviour",
    *((f"{n}_90d", f"{event} events", "events", _ZERO, f"{WINDOW} days") for n, event in EVENTS.items()),
    *((f"{n}_total", f"{event} events", "events", _ZERO) for n, event in EVENTS.items()),
    ("rating_mean", "mean rating given", "as delivered", "null without a rating"),
    ("search_to_view", "views_total / searches_total", "views a search", "null without searches"),
    ("view_to_cart", "carts_total / views_total", "carts a view", "null without views"),
    ("cart_to_purchase", "order lines bought online / carts_total", "lines a cart", "null without carts"),
)

STORES = _family(
    "stores",
    ("store_count", "distinct stores of the receipts, returns included", "stores", "never null; needs a receipt"),
    ("main_store", "store with most receipts, the first by id of several", "store id", "never null; needs a receipt"),
    ("main_store_share", "receipts there / receipts", "0 to 1", "null when no receipt has a number"),
)  # fmt: skip

FEATURES: tuple[Feature, ...] = (
    *RFM, *ACTIVITY, *INTERVALS, *BASKET, *CHANNELS, *RHYTHM, *DIVERSITY, *PRICE, *BEHAVIOUR, *STORES,
)  # fmt: skip
"""Every column but `customer`, family after family."""

_HEADER = """\
# Features

One row a customer and family; a customer whom a family says nothing of is not in it. All look at what is dated up to
as_of; dates are business dates in the retailer's time zone. Only views, searches, carts, favourites, shares, reviews,
orders, refunds and receipt lines are delivered: **coupons are not** (no entity of the contract has them), so coupon
use is no feature; `discount_share` is what receipts say.

Written by `python -m portrait.features.families.documented > docs/features.md`: change a feature there, not here.
"""


def page(features: tuple[Feature, ...] = FEATURES) -> str:
    """docs/features.md."""
    lines = [_HEADER]
    for family in dict.fromkeys(f.family for f in features):
        lines += [f"## {family}\n", "| column | formula | unit | window | null |", "|---|---|---|---|---|"]
        lines += [
            f"| `{f.name}` | {f.formula} | {f.unit} | {f.window} | {f.null_policy} |"
            for f in features
            if f.family == family
        ]
        lines.append("")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.stdout.write(page())
