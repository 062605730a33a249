"""The features of `portrait.features` in straightforward pandas: what Portrait's speed and formulas are held against.

Written from docs/features.md the way the pandas documentation teaches: columns at once and groupby methods, codes and
categories in place of texts where pandas has them, no loops over customers, no other engine beneath. It shares names of
columns and settings with Portrait and no formula. `tests/features/test_against_pandas.py` compares all tables.

It is given what is not the features' own work: the lake's files and, as Portrait's `state/owners.parquet` and indexes
have them, identifiers and positions in integers. Text vectors are left out: pandas has nothing like them.
"""

from collections.abc import Iterable
from datetime import date
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
from portrait.config import FeatureConfig, Settings
from portrait.features.cells import last_days
from portrait.features.lake import LakeTable
from portrait.features.weight import epoch_of
from portrait.run import Run
from scipy.sparse import coo_matrix, csr_matrix, save_npz

WINDOWS = (30, 90, 365)
DAYPARTS = {"night": 0, "morning": 6, "afternoon": 12, "evening": 18}
EVENTS = {"views": "product_viewed", "searches": "products_searched", "carts": "product_added",
          "favourites": "product_favorited", "shares": "product_shared", "reviews": "product_reviewed"}  # fmt: skip
FEW = {"price_band": 2, "channel": 2, "store": 3, "daypart": 2}
"""Values of a dimension that are kept, where there are few to choose from."""
VALUE_TYPES = np.array(
    ["general_to_win_back", "general_to_keep", "general_to_develop", "general_value",
     "important_to_win_back", "important_to_keep", "important_to_develop", "champions"]
)  # fmt: skip
"""By 4 x high spending + 2 x recent + frequent."""
COLUMNS = ["customer", "event_name", "channel", "item", "basket", "quantity", "amount", "discount", "rating",
           "occurred_at", "local_hour", "business_date", "store_id", "search_query"]  # fmt: skip
DECLARED = {"gender": "gender", "birth_date": "birth_date", "region": "region", "city": "city",
            "member_level": "level", "home_store": "home_store"}  # fmt: skip


class PandasFeatures:
    """All tables of one run, by name, with the customer's position as index or column `customer`.

    Attributes
    ----------
    tables : `customer`, `rfm`, `activity`, `features`, `affinity`, `repurchase`, `sequence`, `search`, `purchases`,
        `catalogue`, `cleaned`.
    matrices : customers x items, by the names of `portrait.features.cells.VALUES`.
    """

    def __init__(self, settings: Settings, run: Run, owners: Path) -> None:
        self.settings, self.config, self.run = settings, settings.features, run
        self.as_of = pd.Timestamp(run.as_of)
        self.owners = read(owners)
        self.items = read(settings.lake_dir / "item_index.parquet").set_index("sku")["col"]
        self.ids = read(settings.lake_dir / "customer_index.parquet")
        self.events, cleaned = clean(self.lake("online_event"), self.config)
        product = catalogue(self.lake("product"), self.items)
        rows = self.rows()
        del self.events
        self.tables = {
            "customer": customers(
                self.owners, self._attributed(self.lake("member")), self.config, self.as_of
            ),
            "catalogue": product,
            "cleaned": cleaned,
            **tables_of(rows, product, self.config, self.as_of),
        }
        self.matrices = dict(
            matrices(
                rows, self.config, run.as_of, settings.models.holdout_days, (len(self.ids), len(self.items))
            )
        )

    def lake(self, name: str) -> pd.DataFrame:
        """What may be seen of a table at as_of."""
        table = LakeTable(self.settings.lake_dir, name)
        if table.partitioned:
            days = [d for d in sorted(table.dates()) if d <= self.run.as_of]
            frames = [read(table.file(d)).assign(business_date=pd.Timestamp(d)) for d in days]
            empty = table.schema.empty_table().to_pandas(types_mapper=_type, date_as_object=False)
            return pd.concat(frames, ignore_index=True) if frames else empty
        if not table.file().is_file():
            return table.schema.empty_table().to_pandas(types_mapper=_type, date_as_object=False)
        frame = read(table.file())
        return frame[frame.business_date <= self.as_of]

    def rows(self) -> pd.DataFrame:
        """Events and receipt lines of customers."""
        both = [
            online(self._attributed(self.events), self.config),
            in_store(self._receipts(), self.lake("pos_receipt_line")),
        ]
        rows = pd.concat([self._placed(part) for part in both], ignore_index=True)
        return rows.astype(dict.fromkeys(("event_name", "channel", "store_id"), "category"))

    def _receipts(self) -> pd.DataFrame:
        return self._attributed(self.lake("pos_receipt"))

    def _placed(self, rows: pd.DataFrame) -> pd.DataFrame:
        """The position of the item, -1 where there is none."""
        item = rows.sku.map(self.items).fillna(-1).astype("int32")
        return rows.assign(item=item)[COLUMNS]

    def _attributed(self, rows: pd.DataFrame) -> pd.DataFrame:
        """The rows that have an owner, with `customer`: that of the first kind that has one on the day."""
        customer = pd.Series(pd.NA, rows.index, dtype="Int64")
        for kind in self.settings.identity.priority:
            if f"{kind}_code" not in rows:
                continue
            owner = self.owners[self.owners.kind == kind]
            found = rows[[f"{kind}_code", "business_date"]].reset_index().merge(
                owner, left_on=f"{kind}_code", right_on="code"
            )  # fmt: skip
            found = found[(found.business_date >= found.valid_from) & (found.business_date < found.valid_to)]
            customer = customer.fillna(found.set_index("index").customer.astype("Int64"))
        known = customer.notna()
        return rows[known].assign(customer=customer[known].astype("int32"))

    def write(self, folder: Path) -> None:
        """Parquet tables by customer_id of the customers there are today, and the matrices."""
        folder.mkdir(parents=True, exist_ok=True)
        today = self.ids[self.ids.row.isin(self.tables["customer"].index)].set_index("row").customer_id
        for name, table in self.tables.items():
            flat = table.reset_index() if table.index.name == "customer" else table
            if "customer" in flat and name != "purchases":
                flat = flat.merge(today, left_on="customer", right_index=True).drop(columns="customer")
                flat = flat.sort_values("customer_id", kind="stable")
            flat.to_parquet(folder / f"{name}.parquet", compression="zstd", index=False)
        for name, matrix in self.matrices.items():
            save_npz(folder / f"{name}.npz", matrix, compressed=False)


def tables_of(
    rows: pd.DataFrame, product: pd.DataFrame, config: FeatureConfig, as_of: pd.Timestamp
) -> dict[str, pd.DataFrame]:
    """What is computed from the interactions."""
    bought = rows[rows.event_name.isin(config.purchases)]
    bought = bought.assign(pieces=bought.quantity.fillna(1).abs())
    whole = baskets(bought)
    favourite = stores(rows)
    seen = activity(rows, as_of).join(favourite.main_store.rename("favourite_store"))
    families = [
        intervals(bought), basket(whole, bought), channels(rows, bought, config, as_of), rhythm(rows, config),
        diversity(rows, product, config), price(rows, product, config), behaviour(rows, config, as_of), favourite,
    ]  # fmt: skip
    return {
        "rfm": rfm(whole, rows, config, as_of),
        "activity": seen,
        "features": seen[[]].join(families),
        "affinity": affinity(rows, product, config, as_of),
        "repurchase": repurchase(bought, product),
        "sequence": sequences(rows, config),
        "search": searches(rows, config, as_of),
        "purchases": bought[bought["item"] >= 0][["customer", "business_date", "item"]].drop_duplicates(),
    }


def read(path: Path) -> pd.DataFrame:
    """A Parquet file. Identifiers' codes have 63 bits and gaps, which floats do not hold."""
    return pq.read_table(path, partitioning=None).to_pandas(types_mapper=_type, date_as_object=False)


def _type(arrow: object) -> pd.Int64Dtype | None:
    return pd.Int64Dtype() if str(arrow) == "int64" else None


def ratio(part: pd.Series, whole: pd.Series) -> pd.Series:
    """Their quotient for all of `whole`; nothing where it is 0."""
    return part.reindex(whole.index).fillna(0).astype("float64") / whole.where(whole != 0)


def clean(events: pd.DataFrame, config: FeatureConfig) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Events without copies and robots, with capped quantities; and rule, business_date, rows taken out."""
    codes = [c for c in events if c.endswith("_code")]
    same = [*codes, "event_name", "occurred_at", "sku", "search_query", "session_id", "rating"]
    lines = events.event_name.isin([*config.purchases, *config.refunds])
    copy = events.duplicated(same) & ~lines
    subject = events.device_code.fillna(events.account_code)
    often = events.groupby([events.business_date, subject]).event_name.transform("size")
    robot = often.fillna(0) > config.bot_events_per_day
    kept = events[~copy & ~robot]
    over = kept.quantity.abs() > config.quantity_cap
    record = {"duplicate": events[copy], "bot": events[robot], "quantity": kept[over]}
    counts = {rule: found.groupby("business_date").size() for rule, found in record.items()}
    cleaned = pd.concat(counts, names=["rule"]).rename("rows").reset_index()
    return kept.assign(quantity=kept.quantity.clip(-config.quantity_cap, config.quantity_cap)), cleaned


def online(events: pd.DataFrame, config: FeatureConfig) -> pd.DataFrame:
    in_order = events.event_name.isin([*config.purchases, *config.refunds])
    moment = events.occurred_at[in_order].dt.floor("s").astype("string")
    return events.assign(
        channel="online",
        basket=pd.factorize(events.order_id.astype("string").fillna(moment))[0],
        amount=events.amount.fillna(events.quantity * events.unit_price),
        discount=np.nan,
        store_id=None,
    )


def in_store(receipts: pd.DataFrame, lines: pd.DataFrame) -> pd.DataFrame:
    key = ["store_id", "workstation_id", "sequence_number", "business_date"]
    line = lines.merge(receipts[[*key, "customer", "occurred_at", "local_hour", "kind"]], on=key)
    computed = line.quantity * line.unit_price - line.discount_amount.fillna(0)
    returned = (line.kind == "return") | (line.quantity < 0)
    return line.assign(
        channel="store",
        event_name=np.where(returned, "pos_return", "pos_sale"),
        basket=line.groupby(key).ngroup(),
        amount=line.line_amount.fillna(computed).abs(),
        discount=line.discount_amount,
        quantity=line.quantity.abs(),
        rating=np.nan,
        search_query=None,
    )


def catalogue(product: pd.DataFrame, items: pd.Series) -> pd.DataFrame:
    """One row a product, the latest delivery; price tiers within categories of five priced products and more."""
    latest = product.sort_values(["business_date", "source", "source_row_id"], ascending=[False, True, True])
    latest = latest.drop_duplicates("sku")
    latest = latest.assign(item=latest.sku.map(items), category=latest.category_2.fillna(latest.category_1))
    by = latest.groupby("category").list_price
    place, others = by.rank(method="min") - 1, by.transform("count") - 1
    tier = (1 + 5 * place // others.clip(lower=1)).clip(upper=5).where(others >= 4)
    found = latest.assign(price_tier=tier)[
        ["item", "sku", "category", "category_1", "brand", "list_price", "price_tier"]
    ]
    return found.astype({"category": "category", "brand": "category"})


def baskets(bought: pd.DataFrame) -> pd.DataFrame:
    """One row an order or receipt."""
    by = bought.groupby(["customer", "channel", "basket"], observed=True)
    whole = by[["amount", "pieces"]].sum(min_count=1)
    whole["on"] = by.business_date.min()
    whole["items"] = (
        bought[bought["item"] >= 0]
        .groupby(["customer", "channel", "basket"], observed=True)["item"]
        .nunique()
    )
    return whole.reset_index().fillna({"items": 0})


def rfm(whole: pd.DataFrame, rows: pd.DataFrame, config: FeatureConfig, as_of: pd.Timestamp) -> pd.DataFrame:
    buyer = whole.groupby("customer").agg(
        first_purchase_on=("on", "min"), last_purchase_on=("on", "max"), days=("on", "nunique"),
        frequency=("on", "size"), monetary=("amount", "sum"), items=("pieces", "sum"),
    )  # fmt: skip
    age = (as_of - whole.on).dt.days
    for days in WINDOWS:
        recent = whole[age < days].groupby("customer").amount
        buyer[f"frequency_{days}d"], buyer[f"monetary_{days}d"] = recent.size(), recent.sum()
    store = whole[whole.channel == "store"].groupby("customer").amount
    buyer["store_frequency"], buyer["store_monetary"] = store.size(), store.sum()
    buyer["refunded"] = rows[rows.event_name.isin(config.refunds)].groupby("customer").amount.sum()
    buyer = buyer.fillna(dict.fromkeys(buyer.columns[2:], 0))
    span = (buyer.last_purchase_on - buyer.first_purchase_on).dt.days
    buyer["interpurchase_days"] = span / (buyer.pop("days") - 1).replace(0, np.nan)
    buyer["items"] = buyer["items"].round()
    buyer["recency_days"] = (as_of - buyer.last_purchase_on).dt.days
    # Sums of one amount in two orders may differ in the last digit, which ranks would show.
    monetary = buyer.monetary.round(4)
    scored = {"r": -buyer.recency_days, "f": buyer.frequency, "m": monetary}
    for name, value in scored.items():
        place = value.rank(method="min") - 1
        buyer[f"{name}_score"] = (1 + 5 * place // max(len(buyer) - 1, 1)).clip(upper=5)
    recent, frequent, high = (v >= v.mean() - 1e-6 for v in scored.values())
    buyer["value_type"] = VALUE_TYPES[4 * high + 2 * recent + frequent]
    return buyer


def activity(rows: pd.DataFrame, as_of: pd.Timestamp) -> pd.DataFrame:
    seen = rows.groupby("customer").agg(
        interactions=("channel", "size"), first_seen_on=("business_date", "min"), last_seen_on=("business_date", "max")
    )  # fmt: skip
    seen["online_events"] = rows[rows.channel == "online"].groupby("customer").size()
    seen["store_receipts"] = rows[rows.channel == "store"].groupby("customer").basket.nunique()
    recent = rows[(as_of - rows.business_date).dt.days < 30]
    for name in ("views", "searches", "carts"):
        seen[f"{name}_30d"] = recent[recent.event_name == EVENTS[name]].groupby("customer").size()
    return seen.fillna(dict.fromkeys(seen.columns[3:], 0))


def intervals(bought: pd.DataFrame) -> pd.DataFrame:
    days = bought[["customer", "business_date"]].drop_duplicates().sort_values(["customer", "business_date"])
    days["gap"] = days.groupby("customer").business_date.diff().dt.days
    by = days.groupby("customer").gap
    found = by.agg(purchase_days="size", interval_mean_days="mean", interval_sd_days="std")
    quantiles = by.quantile([0.25, 0.5, 0.75]).unstack()
    return found.join(quantiles.set_axis([f"interval_p{p}_days" for p in (25, 50, 75)], axis=1))


def basket(whole: pd.DataFrame, bought: pd.DataFrame) -> pd.DataFrame:
    found = whole.groupby("customer").agg(
        basket_amount_mean=("amount", "mean"), basket_amount_median=("amount", "median"), basket_amount_max=("amount", "max"),
        basket_pieces_mean=("pieces", "mean"), basket_pieces_median=("pieces", "median"), basket_pieces_max=("pieces", "max"),
        basket_items_mean=("items", "mean"),
    )  # fmt: skip
    found["distinct_items"] = bought[bought["item"] >= 0].groupby("customer")["item"].nunique()
    return found.fillna({"distinct_items": 0})


def channels(
    rows: pd.DataFrame, bought: pd.DataFrame, config: FeatureConfig, as_of: pd.Timestamp
) -> pd.DataFrame:
    everything = rows.groupby("customer").size()
    found = pd.DataFrame(index=everything.index)
    found["online_event_share"] = ratio(rows[rows.channel == "online"].groupby("customer").size(), everything)
    spent = bought.groupby("customer").amount.sum()
    found["online_spend_share"] = ratio(
        bought[bought.channel == "online"].groupby("customer").amount.sum(), spent
    )
    for what, part in (("event", rows), ("purchase", bought)):
        for channel in ("online", "store"):
            last = part[part.channel == channel].groupby("customer").business_date.max()
            found[f"days_since_{channel}_{what}"] = (as_of - last).dt.days
    return found.join(showrooming(rows, config))


def showrooming(rows: pd.DataFrame, config: FeatureConfig) -> pd.Series:
    """Lines bought in stores whose item was viewed online shortly before, of all such lines."""
    known = rows[rows["item"] >= 0]
    known = known.assign(at=known.occurred_at.dt.floor("s"))
    lines = known[(known.channel == "store") & known.event_name.isin(config.purchases)]
    views = known[(known.channel == "online") & (known.event_name == "product_viewed")]
    views = views[["customer", "item", "at"]].assign(viewed=True)
    looked = pd.merge_asof(
        lines[["customer", "item", "at"]].sort_values("at"), views.sort_values("at"), on="at", by=["customer", "item"],
        tolerance=pd.Timedelta(days=config.showrooming_days),
    )  # fmt: skip
    return looked.viewed.notna().groupby(looked.customer).mean().rename("showrooming_share")


def rhythm(rows: pd.DataFrame, config: FeatureConfig) -> pd.DataFrame:
    part = pd.cut(rows.local_hour, [*DAYPARTS.values(), 24], right=False, labels=list(DAYPARTS))
    counts = rows.groupby(["customer", part], observed=False).size().unstack(fill_value=0)
    shares = counts.div(counts.sum(axis=1).replace(0, np.nan), axis=0)
    day = rows.business_date.dt
    found = pd.DataFrame(
        {
            "weekend_share": (day.day_of_week >= 5).groupby(rows.customer).mean(),
            "payday_share": day.day.isin(config.paydays).groupby(rows.customer).mean(),
        }
    )
    return pd.DataFrame({f"{name}_share": shares[name] for name in DAYPARTS}).join(found, how="right")


def diversity(rows: pd.DataFrame, product: pd.DataFrame, config: FeatureConfig) -> pd.DataFrame:
    counted = {
        e: w for e, w in config.behaviour_weights.items() if e in (*config.purchases, "product_viewed")
    }
    shown = rows.loc[
        rows.event_name.isin([e for e, w in counted.items() if w > 0]), ["customer", "item", "event_name"]
    ]
    shown = shown.assign(weight=shown.event_name.astype("object").map(counted).astype("float64"))
    shown = shown.merge(product[["item", "category", "brand"]], on="item")
    found = {}
    for dimension in ("category", "brand"):
        weight = shown.groupby(["customer", dimension], observed=True).weight.sum()
        share = weight / weight.groupby("customer").transform("sum")
        found[f"{dimension}_count"] = share.groupby("customer").size()
        found[f"{dimension}_entropy"] = -(share * np.log(share)).groupby("customer").sum()
    return pd.DataFrame(found).fillna({"category_count": 0, "brand_count": 0})


def price(rows: pd.DataFrame, product: pd.DataFrame, config: FeatureConfig) -> pd.DataFrame:
    columns = ["customer", "event_name", "item", "amount", "discount"]
    shown = rows.loc[rows.event_name.isin([*config.purchases, *config.refunds]), columns]
    shown = shown.merge(product[["item", "price_tier"]], on="item", how="left")
    bought = shown[shown.event_name.isin(config.purchases)]
    tiered = bought.dropna(subset="price_tier")
    spent_tiered = tiered.groupby("customer").amount.sum()
    discounted = (
        bought.dropna(subset=["discount", "amount"]).groupby("customer")[["discount", "amount"]].sum()
    )
    spent = bought.groupby("customer").amount.sum()
    refunded = shown[shown.event_name.isin(config.refunds)].groupby("customer").amount.sum()
    return pd.DataFrame(
        {
            "price_tier_mean": tiered.groupby("customer").price_tier.mean(),
            "dearest_tier_share": ratio(
                tiered[tiered.price_tier == 5].groupby("customer").amount.sum(), spent_tiered
            ),
            "cheapest_tier_share": ratio(
                tiered[tiered.price_tier == 1].groupby("customer").amount.sum(), spent_tiered
            ),
            "discount_share": ratio(discounted.discount, discounted.sum(axis=1)),
            "return_rate": ratio(refunded, spent).clip(upper=1),
        }
    )


def behaviour(rows: pd.DataFrame, config: FeatureConfig, as_of: pd.Timestamp) -> pd.DataFrame:
    events = rows[rows.channel == "online"]
    total = events.groupby(["customer", "event_name"], observed=True).size().unstack(fill_value=0)
    recent = events[(as_of - events.business_date).dt.days < 90]
    recent = recent.groupby(["customer", "event_name"], observed=True).size().unstack(fill_value=0)
    found = pd.DataFrame(index=total.index)
    for end, counts in (("90d", recent), ("total", total)):
        for name, event in EVENTS.items():
            of_kind = counts[event] if event in counts else pd.Series(0, counts.index)
            found[f"{name}_{end}"] = of_kind.reindex(found.index).fillna(0)
    found["rating_mean"] = events.groupby("customer").rating.mean()
    found["search_to_view"] = ratio(found.views_total, found.searches_total)
    found["view_to_cart"] = ratio(found.carts_total, found.views_total)
    orders = total[[e for e in config.purchases if e in total]].sum(axis=1)
    found["cart_to_purchase"] = ratio(orders, found.carts_total)
    return found


def stores(rows: pd.DataFrame) -> pd.DataFrame:
    receipts = rows.loc[rows.store_id.notna(), ["customer", "store_id", "basket"]].drop_duplicates()
    visits = receipts.groupby(["customer", "store_id"], observed=True).size().rename("visits").reset_index()
    by = visits.groupby("customer").visits
    found = pd.DataFrame({"store_count": by.size()})
    first = visits.sort_values(["visits", "store_id"], ascending=[False, True]).drop_duplicates("customer")
    first = first.set_index("customer")
    found["main_store"] = first.store_id.astype("object")
    found["main_store_share"] = first.visits / by.sum()
    return found


def affinity(
    rows: pd.DataFrame, product: pd.DataFrame, config: FeatureConfig, as_of: pd.Timestamp
) -> pd.DataFrame:
    """The strongest values of each customer by behaviour weight that fades, of products and of visits."""
    columns = ["customer", "item", "event_name", "business_date", "channel", "store_id", "local_hour"]
    shown = rows[columns].assign(weight=faded(rows, config, as_of))
    shown = shown[shown.weight > 0]
    shown["daypart"] = pd.cut(shown.local_hour, [*DAYPARTS.values(), 24], right=False, labels=list(DAYPARTS))
    shown["evidence"], shown["last_on"] = 1, shown.business_date
    interest = shown.groupby(["customer", "item"], observed=True).agg(
        weight=("weight", "sum"), evidence=("evidence", "sum"), last_on=("last_on", "max")
    ).reset_index()  # fmt: skip
    # Ten looks at one product say less than a look at each of ten.
    interest["weight"] **= 0.5
    known = interest.merge(product[["item", "category", "brand", "price_tier"]], on="item")
    known["price_band"] = known.price_tier.astype("Int64").astype("string").astype("category")
    best = [strongest(known, d, d, config.affinity_top) for d in ("category", "brand", "price_band")]
    best += [
        strongest(shown, c, d, config.affinity_top)
        for c, d in (("channel", "channel"), ("store_id", "store"), ("daypart", "daypart"))
    ]
    return pd.concat(best, ignore_index=True)


def strongest(shown: pd.DataFrame, column: str, dimension: str, top: int) -> pd.DataFrame:
    """The best values of one dimension, with their share of all."""
    interest = shown.groupby(["customer", column], observed=True).agg(
        weight=("weight", "sum"), evidence=("evidence", "sum"), last_on=("last_on", "max")
    ).reset_index()  # fmt: skip
    interest["score"] = interest.weight / interest.groupby("customer").weight.transform("sum")
    interest = interest.rename(columns={column: "value"}).astype({"value": "object"})
    interest = interest.sort_values(["customer", "weight", "value"], ascending=[True, False, True])
    interest["rank"] = interest.groupby("customer").cumcount() + 1
    kept = interest[interest["rank"] <= min(top, FEW.get(dimension, top))]
    return kept.drop(columns="weight").assign(dimension=dimension)


def faded(rows: pd.DataFrame, config: FeatureConfig, day: pd.Timestamp) -> pd.Series:
    """Behaviour weight that halves every `half_life_days` up to `day`."""
    base = rows.event_name.astype("object").map(config.behaviour_weights).fillna(0).astype("float64")
    return base * 0.5 ** ((day - rows.business_date).dt.days / config.half_life_days)


def repurchase(bought: pd.DataFrame, product: pd.DataFrame) -> pd.DataFrame:
    known = bought[["customer", "item", "business_date"]].merge(
        product[["item", "category"]].dropna(), on="item"
    )
    found = known.groupby(["customer", "category"], observed=True).agg(
        purchase_days=("business_date", "nunique"), first_on=("business_date", "min"), last_on=("business_date", "max")
    )  # fmt: skip
    return found.reset_index()


def sequences(rows: pd.DataFrame, config: FeatureConfig) -> pd.DataFrame:
    """The last events of each customer in order, a list a column."""
    from portrait.features.sequence import CHANNELS, EVENTS

    coded = pd.DataFrame(
        {
            "customer": rows.customer,
            "at": rows.occurred_at.dt.floor("s").astype("datetime64[s, UTC]").astype("int64"),
            "event": rows.event_name.astype("object").map({e: n + 1 for n, e in enumerate(EVENTS)}),
            "item": rows["item"],
            "channel": rows.channel.astype("object").map({c: n + 1 for n, c in enumerate(CHANNELS)}),
        }
    ).dropna(subset="event")
    ordered = coded.sort_values(["customer", "at", "event", "item", "channel"])
    last = ordered.groupby("customer").tail(config.sequence_length)
    last = last.assign(gap=last.groupby("customer")["at"].diff().fillna(0))
    return last.astype("int64").groupby("customer").agg(list)


def searches(rows: pd.DataFrame, config: FeatureConfig, as_of: pd.Timestamp) -> pd.DataFrame:
    typed = rows[(rows.event_name == "products_searched") & rows.search_query.notna()]
    epoch = pd.Timestamp(epoch_of(as_of.date(), config.half_life_days))
    weight = 0.5 ** ((epoch - typed.business_date).dt.days / config.half_life_days)
    found = typed.assign(weight=weight).groupby(["customer", "search_query"]).agg(
        searches=("weight", "size"), last_on=("business_date", "max"), weight=("weight", "sum")
    )  # fmt: skip
    return found.reset_index().rename(columns={"search_query": "query"})


def customers(
    owners: pd.DataFrame, member: pd.DataFrame, config: FeatureConfig, as_of: pd.Timestamp
) -> pd.DataFrame:
    """Everyone who is a customer today: identifiers, and what their member rows say."""
    today = owners[owners.valid_to == pd.Timestamp("9999-12-31")]
    kinds = today.groupby(["customer", "kind"]).size().unstack(fill_value=0)
    kinds = kinds.reindex(columns=["card", "account", "device"], fill_value=0).add_suffix("s")
    kinds.insert(0, "is_known", (kinds.cards > 0) | (kinds.accounts > 0))
    youngest, oldest = as_of - pd.DateOffset(years=10), as_of - pd.DateOffset(years=106)
    member = member.assign(
        birth_date=member.birth_date.where((member.birth_date <= youngest) & (member.birth_date > oldest))
    )
    if config.regions is not None:
        member = member.assign(region=member.region.where(member.region.isin(config.regions)))
    corrected = member.source == "correction"
    member = member.assign(
        delivered=~corrected,
        edited=member.source_row_id.where(corrected, ""),
        no_card=member.card_code.isna(),
    )
    member = member.sort_values(
        ["delivered", "edited", "no_card", "business_date", "source", "source_row_id"],
        ascending=[True, False, True, False, True, True],
    )
    by = member.groupby("customer")
    declared = by[list(DECLARED.values())].first().rename(columns={v: k for k, v in DECLARED.items()})
    return kinds.join(declared.assign(joined_on=by.occurred_on.min()))


def matrices(
    rows: pd.DataFrame, config: FeatureConfig, as_of: date, holdout_days: int, shape: tuple[int, int]
) -> Iterable[tuple[str, csr_matrix]]:
    """The eight matrices, float32."""
    positive = [e for e, w in config.behaviour_weights.items() if w > 0]
    columns = ["customer", "item", "event_name", "business_date"]
    shown = rows.loc[(rows["item"] >= 0) & rows.event_name.isin([*positive, *config.purchases]), columns]
    bought = shown[shown.event_name.isin(config.purchases)]

    def matrix(cell: pd.Series) -> csr_matrix:
        position = cell.index.get_level_values("customer"), cell.index.get_level_values("item")
        return coo_matrix((cell.to_numpy("float32"), position), shape=shape).tocsr()

    last = {part: pd.Timestamp(day) for part, day in last_days(as_of, holdout_days).items()}
    for part, day in last.items():
        seen = shown[shown.business_date <= day]
        seen = seen.assign(weight=faded(seen, config, day))
        yield f"{part}_weights", matrix(seen[seen.weight > 0].groupby(["customer", "item"]).weight.sum())
        yield (
            f"{part}_bought",
            matrix(bought[bought.business_date <= day].groupby(["customer", "item"]).size()),
        )
    for name, after, until in (("target", "train", "full"), ("validation_target", "validation", "train")):
        within = bought[(bought.business_date > last[after]) & (bought.business_date <= last[until])]
        yield name, matrix(within.groupby(["customer", "item"]).size().clip(upper=1))
