"""How right identity and features are, against the truth that the simulated retailer keeps (docs/accuracy.md).

`pytest tests/simulate/test_accuracy.py -o log_cli=true -o log_cli_level=INFO` prints the tables of that page.
"""

import logging
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from portrait.config import Settings, load_settings
from portrait.config.settings import CONFIG_DIR
from portrait.features import build, snapshot
from portrait.identity import map_path, resolve
from portrait.ingest import pull
from portrait.ingest.pii import hash_column, pii_key
from portrait.run import Run
from portrait.warehouse import Warehouse, open_warehouse
from portrait.warehouse.database import create_database
from portrait.warehouse.migrate import migrate
from sqlalchemy import URL

log = logging.getLogger(__name__)
pytestmark = pytest.mark.slow

DAYS = 60
KINDS = {
    "card_no": "card",
    "account_id": "account",
    "phone": "phone",
    "email": "email",
    "device_id": "device",
}
HASHED = ("card", "phone", "email")


@dataclass(frozen=True)
class Resolved:
    """The pipeline up to the features on the first 60 days of the simulated retailer."""

    settings: Settings
    simulated: Any
    run: Run
    uncapped: Run

    @property
    def as_of(self) -> date:
        return self.run.as_of

    def assignment(self, run: Run) -> pd.DataFrame:
        """kind, value, customer_id."""
        return pd.read_parquet(map_path(self.settings, run))

    def feature(self, name: str) -> pd.DataFrame:
        path: Path = self.settings.run_dir(self.run.run_id) / "features" / f"{name}.parquet"
        return pd.read_parquet(path)

    def truth(self) -> pd.DataFrame:
        """person_id, kind, value as stored: personal identifiers hashed; shared ones left out."""
        table, shared = self.simulated.truth("identifiers"), self.simulated.truth("shared")
        table = table[~table["value"].isin(shared["value"])]
        parts = []
        for written, kind in KINDS.items():
            part = table[table["kind"] == written].assign(kind=kind)
            if kind in HASHED:
                part["value"] = hash_column(
                    pa.array(part["value"]),
                    kind,
                    pii_key(self.settings),
                    "CN",  # type: ignore[arg-type]
                ).to_pylist()
            parts.append(part)
        return pd.concat(parts, ignore_index=True)


@pytest.fixture(scope="module")
def resolved(
    simulated: Any, server: URL, template: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Resolved]:
    create_database(server, "portrait_accuracy")
    warehouse = Warehouse(server.set(database="portrait_accuracy"))
    migrate(warehouse)
    folder = tmp_path_factory.mktemp("accuracy")
    for name in ("identity.yaml", "features.yaml", "model.yaml"):
        shutil.copy(CONFIG_DIR / name, folder)
    sources = (CONFIG_DIR / "sources.yaml").read_text()
    (folder / "sources.yaml").write_text(sources.replace("{simulated}", str(simulated.out)))
    settings = load_settings(
        {
            "PORTRAIT_HOME": str(folder / "home"),
            "PORTRAIT_CONFIG_DIR": str(folder),
            "PORTRAIT_DATABASE_URL": warehouse.url.render_as_string(hide_password=False),
            "PORTRAIT_PII_KEY": "test-key",
        }
    )
    as_of = simulated.retailer.start + timedelta(days=DAYS - 1)
    for source in settings.sources.sources:
        pull(settings, source.name, as_of)
    uncapped = Run(f"{as_of}.2", as_of)
    off = {"caps": {}, "unique": (), "per_customer": {}, "expires": {}}
    without = settings.model_copy(update={"identity": settings.identity.model_copy(update=off)})
    resolve(without, uncapped)
    run = Run(f"{as_of}.1", as_of)
    resolve(settings, run)
    snapshot(settings, run)
    build(settings, run)
    yield Resolved(settings, simulated, run, uncapped)
    warehouse.engine.dispose()


def pairwise(table: pd.DataFrame, predicted: str, actual: str) -> tuple[float, float]:
    """Precision and recall over pairs of rows: same predicted group, same actual group."""

    def pairs(*columns: str) -> int:
        sizes = table.groupby(list(columns)).size()
        return int((sizes * (sizes - 1) // 2).sum())

    both = pairs(predicted, actual)
    return both / pairs(predicted), both / pairs(actual)


def test_pairwise_by_hand() -> None:
    """Groups {1,2,3} {4} against {1,2} {3,4}: of 3 pairs 1 is right, of 2 pairs 1 is found."""
    table = pd.DataFrame({"predicted": list("aaab"), "actual": list("xxyy")})
    assert pairwise(table, "predicted", "actual") == (1 / 3, 1 / 2)


def judged(resolved: Resolved, run: Run) -> pd.DataFrame:
    """Identifiers seen so far, with their customer and their person."""
    return resolved.assignment(run).merge(resolved.truth(), on=["kind", "value"])


def test_identity(resolved: Resolved) -> None:
    table = judged(resolved, resolved.run)
    assert len(table) > 2000
    precision, recall = pairwise(table, "customer_id", "person_id")
    uncapped_precision, uncapped_recall = pairwise(
        judged(resolved, resolved.uncapped), "customer_id", "person_id"
    )
    log.info(
        "\n| identity | precision | recall |\n|---|---:|---:|\n| guards of identity.yaml | %.4f | %.4f |\n"
        "| without guards | %.4f | %.4f |\n%d identifiers of %d people, %d customers",
        precision, recall, uncapped_precision, uncapped_recall,
        len(table), table["person_id"].nunique(), table["customer_id"].nunique(),
    )  # fmt: skip
    assert precision > 0.995
    assert recall > 0.95
    assert uncapped_precision < 0.7
    assert uncapped_recall >= recall


def test_shared_identifiers_belong_to_nobody(resolved: Resolved) -> None:
    shared = resolved.simulated.truth("shared")
    phones = hash_column(
        pa.array(shared[shared["kind"] == "phone"]["value"]), "phone", pii_key(resolved.settings), "CN"
    ).to_pylist()
    held = set(resolved.assignment(resolved.run)["value"])
    assert not held & set(phones)
    assert set(resolved.assignment(resolved.uncapped)["value"]) & set(phones)


def test_only_shared_identifiers_are_demoted(resolved: Resolved) -> None:
    demoted = open_warehouse(resolved.settings).rows("select value from identity.cardinality_audit")
    own = set(resolved.truth()["value"])  # of one person each
    assert len(demoted) >= 5
    assert not own & {r["value"] for r in demoted}


def main_customer(resolved: Resolved) -> pd.Series:
    """person_id by customer_id: whose identifiers are most of the customer's."""
    table = judged(resolved, resolved.run)
    counted = table.groupby(["customer_id", "person_id"]).size().reset_index(name="n")
    best = counted.sort_values(["n", "person_id"], ascending=[False, True]).drop_duplicates("customer_id")
    return best.set_index("customer_id")["person_id"]


@dataclass(frozen=True)
class TasteRecall:
    """Share of people's true tastes (up to four categories) that three categories find, on average.

    `found` by their own customer's three strongest; `popular` by the three that are strongest over all customers;
    `possible` is what three can find at most.
    """

    customers: int
    found: float
    popular: float
    possible: float


def recall_of_tastes(resolved: Resolved, least: int) -> TasteRecall:
    """Of customers with at least so many events and purchases behind their categories."""
    categories = resolved.feature("affinity").query("dimension == 'category'")
    evidence = categories.groupby("customer_id")["evidence"].sum()
    top = categories[categories["rank"] <= 3].groupby("customer_id")["value"].agg(set)
    popular = set(categories.groupby("value")["evidence"].sum().nlargest(3).index)
    people = resolved.simulated.truth("customers").set_index("person_id")
    owner = main_customer(resolved)
    shares = []
    for customer in evidence[evidence >= least].index.intersection(owner.index):
        tastes = {t.split("/")[1] for t in people.loc[owner[customer], "taste_categories"]}
        shares.append([len(s) / len(tastes) for s in (tastes & top[customer], tastes & popular)])
        shares[-1].append(min(3, len(tastes)) / len(tastes))
    found, everybodys, possible = np.mean(shares, axis=0)
    return TasteRecall(len(shares), found, everybodys, possible)


def test_taste(resolved: Resolved) -> None:
    found = {least: recall_of_tastes(resolved, least) for least in (1, 10, 30, 100)}
    lines = [
        f"| {least} and more | {r.customers} | {r.found:.3f} | {r.popular:.3f} | {r.possible:.3f} |"
        for least, r in found.items()
    ]
    head = "| events and purchases | customers | recall | three most popular | possible |\n|---|---:|---:|---:|---:|"
    log.info("\n%s\n%s", head, "\n".join(lines))
    assert found[1].found > 0.72
    assert found[30].found > 0.82
    assert all(r.found > 2 * r.popular for r in found.values())
    assert found[1].found < found[10].found < found[30].found < found[100].found


def test_monetary_is_the_sum_of_the_files(resolved: Resolved, good_events: pd.DataFrame) -> None:
    """Good rows of orders and receipts, delivered and dated until as_of, of people who can be known by them."""
    simulated, last = resolved.simulated, str(resolved.as_of)
    orders = good_events[
        (good_events["event_name"] == "order_completed")
        & (good_events["business_date"] <= pd.Timestamp(resolved.as_of))
        & (good_events["delivered"] <= last)
    ]
    assert orders["account_id"].notna().all()
    online = orders["amount"].astype(float).sum()

    key = ["store_id", "workstation_id", "sequence_number", "business_date"]
    slips = simulated.csv("receipts").query("delivered <= @last and kind == 'sale'")
    digits = slips["phone"].str.replace(r"\D", "", regex=True).str[-11:]
    till = set(simulated.truth("shared")["value"])
    known = slips[slips["card_no"].notna() | (digits.notna() & ~digits.isin(till))]
    lines = simulated.csv("receipt_lines").query("delivered <= @last")
    lines = lines[lines["line_number"].astype(int) < 500]  # spoilt copies are numbered from 500
    sold = lines.merge(known[key].drop_duplicates(), on=key)
    in_store = sold["line_amount"].astype(float).sum()

    rfm = resolved.feature("rfm")
    log.info("\nonline %.2f, in stores %.2f, rfm %.2f", online, in_store, rfm["monetary"].sum())
    assert online > 10_000
    assert in_store > 10_000
    assert rfm["store_monetary"].sum() == pytest.approx(in_store, abs=0.01)
    assert rfm["monetary"].sum() == pytest.approx(online + in_store, abs=0.01)


def test_the_map_is_complete(resolved: Resolved) -> None:
    """Every unshared identifier that was delivered until as_of has a customer."""
    members = resolved.simulated.csv("members").query(f"delivered <= '{resolved.as_of}'")
    cards = hash_column(pa.array(members["card_no"]), "card", pii_key(resolved.settings), "CN").to_pylist()
    held = resolved.assignment(resolved.run)
    assert set(cards) <= set(held[held["kind"] == "card"]["value"])
    assert pq.read_metadata(map_path(resolved.settings, resolved.run)).num_rows == len(held)
