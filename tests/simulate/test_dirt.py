"""The dirt that is found in the files is the dirt that was planted, at the rates that were asked for."""

import json
from collections import Counter
from dataclasses import fields, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from portrait.simulate import Dirt, Retailer, simulate

KEY = ["store_id", "workstation_id", "sequence_number", "business_date"]


def test_duplicate_events(simulated: Any) -> None:
    events = simulated.events()
    real = events[events["event_id"].notna()]
    extra = len(real) - real["event_id"].nunique()
    assert extra == simulated.dirt()["duplicate_events"]
    assert extra / len(real) == pytest.approx(simulated.retailer.dirt.duplicate_events, rel=0.15)
    pairs = real[real.duplicated("event_id", keep=False)].groupby("event_id")["delivered"].agg(["min", "max"])
    apart = (pd.to_datetime(pairs["max"]) - pd.to_datetime(pairs["min"])).dt.days
    assert set(apart) == {0, 1}
    assert apart.mean() == pytest.approx(0.5, abs=0.1)


def test_late_events(simulated: Any, good_events: pd.DataFrame) -> None:
    delay = (pd.to_datetime(good_events["delivered"]) - good_events["business_date"]).dt.days
    late = delay > 0
    assert delay.min() == 0
    assert delay.max() == 7
    assert late.sum() == simulated.dirt()["late_events"]
    assert late.mean() == pytest.approx(simulated.retailer.dirt.late, rel=0.2)


def test_late_receipts_come_with_their_lines(simulated: Any) -> None:
    slips, lines = simulated.csv("receipts"), simulated.csv("receipt_lines")
    late = slips[slips["delivered"] > slips["business_date"]]
    assert len(late) == simulated.dirt()["late_receipts"]
    assert len(late) / len(slips) == pytest.approx(simulated.retailer.dirt.late, rel=0.4)
    found = late.merge(lines, on=KEY, suffixes=("", "_line"))
    assert set(map(tuple, late[KEY].to_numpy())) == set(map(tuple, found[KEY].to_numpy()))
    assert (found["delivered"] == found["delivered_line"]).all()


def test_bad_events(simulated: Any) -> None:
    events, planted = simulated.events(), simulated.dirt()
    for channel in ("app", "web"):
        mine = events[events["channel"] == channel]
        year = mine["occurred_at"].dt.year
        found = {
            "negative_price": (mine["unit_price"].astype(float) < 0).sum(),
            "unknown_event_name": (mine["event_name"] == "page_teleported").sum(),
            "unparsable_time": year.isna().sum(),
            "missing_id": mine["event_id"].isna().sum(),
            "future_time": (year > 2030).sum(),
        }
        assert found == {way: planted[f"bad_{channel}_event_{way}"] for way in found}
        assert sum(found.values()) / len(mine) == pytest.approx(simulated.retailer.dirt.bad_rows, rel=0.5)
    assert planted["bad_web_event_unparsable_time"] == 0
    assert planted["bad_app_event_unparsable_time"] > 0


def test_bad_receipts_and_lines(simulated: Any) -> None:
    slips, lines, planted = simulated.csv("receipts"), simulated.csv("receipt_lines"), simulated.dirt()
    assert slips["store_id"].isna().sum() == planted["bad_receipt_missing_id"]
    assert (slips["sold_at"] == "31/13/20xx 25:61").sum() == planted["bad_receipt_unparsable_time"]
    assert (slips["business_date"] > "2030").sum() == planted["bad_receipt_future_date"]
    assert lines["sku"].isna().sum() == planted["bad_line_missing_id"]
    assert (lines["quantity"] == "abc").sum() == planted["bad_line_quantity_abc"]
    assert (lines["unit_price"].astype(float) < 0).sum() == planted["bad_line_negative_price"]
    assert (lines["business_date"] > "2030").sum() == planted["bad_line_future_date"]
    bad = sum(count for name, count in planted.items() if name.startswith("bad_line_"))
    assert bad / len(lines) == pytest.approx(simulated.retailer.dirt.bad_rows, rel=0.5)
    assert min(v for k, v in planted.items() if k.startswith("bad_line_") and "time" not in k) > 0


def test_anonymous_receipts_and_till_phones(simulated: Any) -> None:
    slips, planted = simulated.csv("receipts"), simulated.dirt()
    good = slips[slips["sequence_number"].astype(int) < 500_000]
    assert good["card_no"].isna().sum() == planted["anonymous_receipts"]
    assert good["card_no"].isna().mean() == pytest.approx(0.35, abs=0.03)
    shared = simulated.truth("shared").query("reason == 'till phone'")
    digits = good["phone"].str.replace(r"\D", "", regex=True).str[-11:]
    till = good[digits.isin(shared["value"])]
    assert len(till) == planted["till_phone_receipts"]
    assert len(till) / len(good) == pytest.approx(0.02, abs=0.006)
    assert (till["store_id"].map(shared.set_index("store_id")["value"]) == digits[till.index]).all()


def test_refunds_and_returns(simulated: Any, good_events: pd.DataFrame) -> None:
    slips = simulated.csv("receipts")
    share = (slips["kind"] == "return").sum() / (slips["kind"] == "sale").sum()
    assert share == pytest.approx(0.03, abs=0.008)
    orders = good_events[good_events["event_name"] == "order_completed"].groupby("order_id")
    refunds = good_events[good_events["event_name"] == "order_refunded"]
    assert refunds["order_id"].nunique() / orders.ngroups == pytest.approx(0.03, abs=0.012)
    # a refund gives back what its order cost; its order may have been delivered after the last simulated day
    paid, back = orders["amount"].sum(), refunds.groupby("order_id")["amount"].sum()
    both = back.index.intersection(paid.index)
    assert len(both) > 0.9 * len(back)
    ordered = orders["occurred_at"].min()[both]
    assert (refunds.groupby("order_id")["occurred_at"].min()[both] > ordered).all()
    assert (back[both] <= paid[both] + 0.001).all()


@pytest.mark.parametrize(("kind", "dataset"), [("member", "csv"), ("account", "jsonl")])
def test_personal_data(simulated: Any, kind: str, dataset: str) -> None:
    rows, planted, rates = getattr(simulated, dataset)(f"{kind}s"), simulated.dirt(), simulated.retailer.dirt
    n = len(rows)
    for column, plural, rate in (
        ("birth_date", "birth_dates", rates.missing_birth_date),
        ("gender", "genders", rates.missing_gender),
        ("phone", "phones", rates.missing_phone),
        ("email", "emails", rates.missing_email),
    ):
        missing = rows[column].isna().sum()
        assert missing == planted[f"{kind}_missing_{plural}"]
        assert missing / n == pytest.approx(rate, abs=0.06)
    impossible = rows["birth_date"].isin(["1900-01-01", "2099-01-01"]).sum()
    assert impossible == planted[f"{kind}_impossible_ages"]
    odd = (~rows["phone"].dropna().str.fullmatch(r"1\d{10}")).sum()
    assert odd == planted[f"{kind}_odd_phones"]
    assert odd / n == pytest.approx(0.9 * rates.odd_format, abs=0.04)
    odd_emails = (rows["email"].dropna() != rows["email"].dropna().str.strip().str.lower()).sum()
    assert odd_emails == planted[f"{kind}_odd_emails"]


def test_linked_cards_and_shared_devices(simulated: Any) -> None:
    people, accounts = simulated.truth("customers"), simulated.jsonl("accounts")
    both = set(people[people["channels"] == "both"]["account_id"])
    mine = accounts[accounts["account_id"].isin(both)]
    assert 0.15 < mine["card_no"].notna().mean() < 0.4  # 30 %, less the accounts that are older than the card
    assert accounts[~accounts["account_id"].isin(both)]["card_no"].isna().all()
    devices = (
        simulated.truth("identifiers").query("kind == 'device_id'").groupby("value")["person_id"].nunique()
    )
    shared = simulated.truth("shared").query("kind == 'device_id'")["value"]
    assert set(devices[devices > 1].index) == set(shared)
    assert devices.max() == 2
    assert len(shared) > 0


def test_no_dirt_at_rate_zero(tmp_path: Path) -> None:
    clean = Dirt(**{f.name: 0.0 for f in fields(Dirt)})
    retailer = Retailer(customers=200, products=100, stores=2, history_days=10, events_per_customer_day=3)
    retailer = replace(retailer, dirt=clean, receipts_per_customer_day=0.3)
    counts = simulate(retailer, tmp_path, retailer.start, retailer.start + timedelta(days=9))
    planted: Counter[str] = Counter()
    for record in (tmp_path / "truth" / "dirt").iterdir():
        planted.update(json.loads(record.read_text())["dirt"])
    assert counts.receipts > 300
    assert {name: count for name, count in planted.items() if count} == {}
