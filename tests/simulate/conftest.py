"""One small retailer, simulated once, and readers of its files."""

import json
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from portrait.simulate import Counts, Retailer, simulate


@dataclass(frozen=True)
class Simulated:
    """A simulated folder; reads a dataset of all days, one row a delivered row, with the delivery date."""

    retailer: Retailer
    out: Path
    counts: Counts

    def csv(self, name: str) -> pd.DataFrame:
        files = sorted((self.out / name).glob("date=*/*.csv.gz"))
        return pd.concat([_dated(pd.read_csv(f, dtype=str), f) for f in files], ignore_index=True)

    def jsonl(self, name: str) -> pd.DataFrame:
        files = sorted((self.out / name).glob("date=*/*.jsonl"))
        rows = [
            json.loads(line) | {"delivered": f.parent.name[5:]}
            for f in files
            for line in f.read_text(encoding="utf-8").splitlines()
        ]
        return pd.DataFrame(rows)

    def events(self) -> pd.DataFrame:
        """App and web events; `occurred_at` is UTC, NaT where it cannot be read."""
        app = self.jsonl("app_events").assign(channel="app")
        app["occurred_at"] = pd.to_datetime(app["occurred_at"], format="ISO8601", errors="coerce", utc=True)
        files = sorted((self.out / "web_events").glob("date=*/*.parquet"))
        web = pd.concat([_dated(pd.read_parquet(f, partitioning=None), f) for f in files])
        return pd.concat([app, web.assign(channel="web")], ignore_index=True)

    def good_events(self) -> pd.DataFrame:
        """Each event once, spoilt rows left out, with its local business date."""
        events = self.events()
        names = set(GOOD_EVENT_NAMES)
        limit = pd.Timestamp(self.retailer.start, tz="UTC") + pd.Timedelta(days=1000)
        price = events["unit_price"].fillna(0).astype(float)
        good = events["event_name"].isin(names) & events["event_id"].notna() & (events["occurred_at"] < limit)
        events = events[good & (price >= 0)].drop_duplicates("event_id")
        local = events["occurred_at"].dt.tz_convert("Asia/Shanghai")
        return events.assign(business_date=local.dt.tz_localize(None).dt.normalize(), local=local)

    def truth(self, name: str) -> pd.DataFrame:
        return pd.read_parquet(self.out / "truth" / f"{name}.parquet")

    def dirt(self) -> dict[str, int]:
        """Planted dirt, all days added up."""
        total: dict[str, int] = {}
        for record in (self.out / "truth" / "dirt").glob("date=*.json"):
            for name, count in json.loads(record.read_text())["dirt"].items():
                total[name] = total.get(name, 0) + count
        return total


GOOD_EVENT_NAMES = (
    "product_viewed",
    "products_searched",
    "product_added",
    "product_favorited",
    "product_shared",
    "product_reviewed",
    "order_completed",
    "order_refunded",
)
DAYS = 90


def _dated(frame: pd.DataFrame, file: Path) -> pd.DataFrame:
    return frame.assign(delivered=file.parent.name[5:])


@pytest.fixture(scope="session")
def simulated(tmp_path_factory: pytest.TempPathFactory) -> Simulated:
    """1200 customers over 90 days."""
    retailer = Retailer(customers=1200, products=400, stores=5, history_days=DAYS, start=date(2024, 12, 1))
    out = tmp_path_factory.mktemp("retailer")
    counts = simulate(retailer, out, retailer.start, retailer.start + timedelta(days=DAYS - 1))
    return Simulated(retailer, out, counts)


@pytest.fixture(scope="session")
def good_events(simulated: Simulated) -> pd.DataFrame:
    return simulated.good_events()


@pytest.fixture(scope="session")
def bought(simulated: Simulated, good_events: pd.DataFrame) -> pd.DataFrame:
    """Every line that a known person bought: person_id, sku, day, category_1."""
    people, products = simulated.truth("customers"), pd.read_csv(simulated.out / "products.csv")
    key = ["store_id", "workstation_id", "sequence_number", "business_date"]
    slips = simulated.csv("receipts").query("kind == 'sale' and card_no.notna()")
    slips = slips.merge(people[["person_id", "card_no"]], on="card_no")
    lines = simulated.csv("receipt_lines")
    lines = lines[lines["line_number"].astype(int) < 500].merge(slips[[*key, "person_id"]], on=key)
    orders = good_events[good_events["event_name"] == "order_completed"]
    orders = orders.merge(people[["person_id", "account_id"]], on="account_id")
    wanted = ["person_id", "sku", "business_date"]
    both = pd.concat([lines[wanted].astype({"business_date": "datetime64[us]"}), orders[wanted]])
    both["day"] = (both["business_date"] - pd.Timestamp(simulated.retailer.start)).dt.days
    return both.merge(products[["sku", "category_1", "category_2"]], on="sku").reset_index(drop=True)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(3)
