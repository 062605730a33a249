"""People behave as the truth says they do."""

from typing import Any

import numpy as np
import pandas as pd
import pytest

DURABLE = ["Apparel", "Sports", "Electronics", "Home"]


def test_nobody_acts_before_joining_or_after_leaving(
    simulated: Any, good_events: pd.DataFrame, bought: pd.DataFrame
) -> None:
    people = simulated.truth("customers").set_index("person_id")
    by_account = people.reset_index().dropna(subset="account_id").set_index("account_id")["person_id"]
    known = good_events[good_events["account_id"].notna()]
    online = pd.DataFrame({"person_id": known["account_id"].map(by_account), "day": known["business_date"]})
    acts = pd.concat(
        [online, bought.rename(columns={"day": "n", "business_date": "day"})[["person_id", "day"]]]
    )
    joined = pd.to_datetime(people["joined_on"])[acts["person_id"]].to_numpy()
    churned = pd.to_datetime(people["churned_on"])[acts["person_id"]].to_numpy()
    assert (acts["day"].to_numpy() >= joined).all()
    assert not (acts["day"].to_numpy() >= churned).any()
    assert pd.notna(churned).sum() > 500  # they do act before they leave


def test_accounts_act_only_after_they_are_opened(simulated: Any, good_events: pd.DataFrame) -> None:
    accounts = simulated.jsonl("accounts").set_index("account_id")["registered_at"]
    known = good_events[good_events["account_id"].notna()]
    opened = pd.to_datetime(known["account_id"].map(accounts), utc=True)
    assert opened.notna().all()
    assert (known["occurred_at"] > opened).all()


def test_cards_are_used_only_after_they_are_given_out(simulated: Any) -> None:
    joined = simulated.csv("members").set_index("card_no")["joined_at"]
    slips = simulated.csv("receipts")
    slips = slips[slips["card_no"].notna() & slips["sold_at"].str.startswith("20")]
    assert (slips["card_no"].map(joined) < slips["sold_at"]).all()


def test_share_of_repeats(bought: pd.DataFrame) -> None:
    first = bought.groupby(["person_id", "sku"])["day"].transform("min")
    again = bought["day"] > first
    durable = bought["category_1"].isin(DURABLE)
    assert 0.40 < again[~durable].mean() < 0.65
    assert again[durable].mean() < again[~durable].mean() - 0.1


def test_volumes_hit_the_knobs(simulated: Any) -> None:
    days = simulated.retailer.customers * simulated.counts.days
    assert simulated.counts.events / days == pytest.approx(0.6, rel=0.2)
    assert simulated.counts.receipts / days == pytest.approx(0.06, rel=0.2)


def test_channels(simulated: Any) -> None:
    shares = simulated.truth("customers")["channels"].value_counts(normalize=True)
    assert shares["store"] == pytest.approx(0.45, abs=0.05)
    assert shares["online"] == pytest.approx(0.35, abs=0.05)
    assert shares["both"] == pytest.approx(0.20, abs=0.04)


def test_views_outnumber_purchases_tenfold(good_events: pd.DataFrame) -> None:
    count = good_events["event_name"].value_counts()
    assert 7 < count["product_viewed"] / count["order_completed"] < 14
    assert set(count.index) >= {"product_reviewed", "product_shared", "order_refunded", "product_favorited"}


def test_orders_are_preceded_by_views_and_the_cart(good_events: pd.DataFrame) -> None:
    pair = ["account_id", "sku"]
    orders = good_events[good_events["event_name"] == "order_completed"]
    orders = orders[orders["business_date"] > good_events["business_date"].min() + pd.Timedelta(days=3)]
    for name, least in (("product_added", 0.95), ("product_viewed", 0.90)):
        before = good_events[good_events["event_name"] == name]
        first = before.groupby(pair)["occurred_at"].min()
        found = first.reindex(pd.MultiIndex.from_frame(orders[pair])).to_numpy()
        assert (found <= orders["occurred_at"].dt.tz_convert("UTC").to_numpy()).mean() > least


def test_people_buy_what_they_like(simulated: Any, bought: pd.DataFrame) -> None:
    people = simulated.truth("customers")
    tops = people.explode(["taste_categories", "taste_weights"]).sort_values("taste_weights")
    top = tops.groupby("person_id")["taste_categories"].last()
    category = bought["category_1"] + "/" + bought["category_2"]
    share = (category == bought["person_id"].map(top)).mean()
    stranger = (category == bought["person_id"].map(top).sample(frac=1, random_state=1).to_numpy()).mean()
    assert share > 0.2
    assert share > 3 * stranger


def test_spending_power_shows_in_prices(simulated: Any, bought: pd.DataFrame) -> None:
    products = pd.read_csv(simulated.out / "products.csv").set_index("sku")["list_price"]
    tier = simulated.truth("customers").set_index("person_id")["spending_tier"]
    price = np.log(bought["sku"].map(products))
    relative = price - price.groupby(bought["category_2"]).transform("mean")
    mean = relative.groupby(bought["person_id"].map(tier)).mean()
    assert mean["low"] + 0.15 < mean["mid"] < mean["high"] - 0.15


def test_similar_people_buy_the_same_products(simulated: Any, bought: pd.DataFrame) -> None:
    """Within a category people of one archetype agree more than strangers: signal to filter by."""
    people = simulated.truth("customers").set_index("person_id")
    counts = bought.drop_duplicates(["person_id", "sku"])
    archetype = counts["person_id"].map(people["archetype"])
    table = pd.crosstab([archetype, counts["category_2"]], counts["sku"])
    share = table.div(table.sum(axis=1), axis=0)
    own, others = [], []
    for _, rows in share.groupby("category_2"):
        overlap = rows.to_numpy() @ rows.to_numpy().T
        own.append(np.diag(overlap).mean())
        others.append(overlap[~np.eye(len(rows), dtype=bool)].mean())
    assert np.mean(own) > 1.3 * np.mean(others)


def test_sales_are_skewed_towards_popular_products(bought: pd.DataFrame) -> None:
    sold = bought["sku"].value_counts()
    assert sold.iloc[: len(sold) // 10].sum() / sold.sum() > 0.25


def test_unlaunched_products_are_not_sold(simulated: Any, bought: pd.DataFrame) -> None:
    launched = pd.to_datetime(pd.read_csv(simulated.out / "products.csv").set_index("sku")["launched_on"])
    assert (bought["business_date"] >= bought["sku"].map(launched)).all()
    assert (launched > pd.Timestamp(simulated.retailer.start)).mean() == pytest.approx(0.12, abs=0.06)


def test_sex_and_age_lean_on_the_archetype(simulated: Any) -> None:
    """So that what a member declares says something of what the member buys, though little of any one."""
    people = simulated.truth("customers")
    men = (people["gender"] == "m").groupby(people["archetype"]).mean()
    born = pd.to_datetime(people["birth_date"]).dt.year.groupby(people["archetype"]).mean()
    assert 0.36 < (people["gender"] == "m").mean() < 0.48
    assert men[[0, 4, 8, 12]].max() < 0.35 < men[[3, 7, 11, 15]].min()
    assert born[[0, 1, 2, 3]].max() + 10 < born[[12, 13, 14, 15]].min()
