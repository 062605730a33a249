"""Precision and recall of customers on simulated truth with the dirt of real retailers (docs/accuracy.md).

`pytest tests/identity/test_accuracy.py -o log_cli=true -o log_cli_level=INFO` prints the tables of that page.
"""

import logging
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from portrait.config import Settings, load_settings
from portrait.config.settings import CONFIG_DIR
from portrait.identity import map_path, resolve
from portrait.ingest import pull
from portrait.ingest.pii import hash_column, pii_key
from portrait.run import Run
from portrait.simulate import Retailer, simulate
from portrait.simulate.retailer import Dirt
from portrait.warehouse import Warehouse
from portrait.warehouse.database import create_database
from portrait.warehouse.migrate import migrate
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from sqlalchemy import URL

log = logging.getLogger(__name__)
pytestmark = pytest.mark.slow

DAYS = 120
KINDS = {
    "card_no": "card",
    "account_id": "account",
    "phone": "phone",
    "email": "email",
    "device_id": "device",
}
DIRT = {
    "the issue's": Dirt(recycled_phone=0.01, email_typo=0.03, missing_phone=0, second_phone=0),
    "and missing or second phones": Dirt(recycled_phone=0.01, email_typo=0.03),
}
"""Besides, of both: till phones on 2 % of receipts, 5 % of households with two accounts share a device, 20 % of people
use both channels, 30 % of e-mails missing, a quarter of the visits logged out."""
RECALL = {"the issue's": 0.97, "and missing or second phones": 0.95}
UNGUARDED = {"caps": {}, "unique": (), "per_customer": {}, "expires": {}, "blocked": {}}


@dataclass(frozen=True)
class Judge:
    """The resolved warehouse and the truth about it."""

    settings: Settings
    warehouse: Warehouse
    out: Path
    as_of: date
    dirt: str

    def resolve(self, attempt: int, **changes: object) -> Run:
        run = Run(f"{self.as_of}.{attempt}", self.as_of)
        identity = self.settings.identity.model_copy(update=changes)
        resolve(self.settings.model_copy(update={"identity": identity}), run)
        return run

    def truth(self) -> pd.DataFrame:
        """kind, value, former, person_id; values as stored, what people really share left out.

        A number that was handed on is twice in the truth; of those who were seen with it, who joined last has it.
        """
        table = pd.read_parquet(self.out / "truth/identifiers.parquet")
        shared = pd.read_parquet(self.out / "truth/shared.parquet")
        joined = pd.read_parquet(self.out / "truth/customers.parquet").set_index("person_id")["joined_on"]
        table = table[~table["value"].isin(shared["value"])].assign(
            joined=lambda t: t["person_id"].map(joined)
        )
        table["kind"] = table["kind"].map(KINDS)
        for kind in ("card", "phone", "email"):
            mine = table["kind"] == kind
            values = pa.array(table.loc[mine, "value"])
            table.loc[mine, "value"] = hash_column(values, kind, pii_key(self.settings), "CN").to_pylist()  # type: ignore[arg-type]
        twice = table.duplicated(["kind", "value"], keep=False)
        owner = table[~twice].set_index("value")["person_id"]
        edges = pd.DataFrame(self.warehouse.rows("select value_a, value_b from identity.edge"))
        met = set(zip(edges["value_a"], edges["value_b"].map(owner), strict=True))
        met |= set(zip(edges["value_b"], edges["value_a"].map(owner), strict=True))
        seen = [pair in met for pair in zip(table["value"], table["person_id"], strict=True)]
        table = table[~twice | np.array(seen)].sort_values("joined")
        table["former"] = table.duplicated(["kind", "value"], keep="last")
        return table[["kind", "value", "former", "person_id"]]

    def judged(self, run: Run) -> pd.DataFrame:
        """The identifiers that have a customer, with their person."""
        held = pd.read_parquet(map_path(self.settings, run))
        held["former"] = held["valid_to"].notna()
        return held.merge(self.truth(), on=["kind", "value", "former"])


@pytest.fixture(scope="module", params=DIRT)
def judge(
    request: pytest.FixtureRequest, server: URL, template: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Judge]:
    assert template
    folder = tmp_path_factory.mktemp("identity")
    dirt = DIRT[request.param]
    retailer = Retailer(
        customers=1200, products=400, stores=5, history_days=180, start=date(2024, 12, 1), seed=11, dirt=dirt
    )
    as_of = retailer.start + timedelta(days=DAYS - 1)
    simulate(retailer, folder / "out", retailer.start, as_of)
    name = f"portrait_identity_{list(DIRT).index(request.param)}"
    create_database(server, name)
    warehouse = Warehouse(server.set(database=name))
    migrate(warehouse)
    for name in ("identity.yaml", "features.yaml", "model.yaml"):
        shutil.copy(CONFIG_DIR / name, folder)
    sources = (CONFIG_DIR / "sources.yaml").read_text()
    (folder / "sources.yaml").write_text(sources.replace("{simulated}", str(folder / "out")))
    settings = load_settings(
        {
            "PORTRAIT_HOME": str(folder / "home"),
            "PORTRAIT_CONFIG_DIR": str(folder),
            "PORTRAIT_DATABASE_URL": warehouse.url.render_as_string(hide_password=False),
            "PORTRAIT_PII_KEY": "test-key",
        }
    )
    for source in settings.sources.sources:
        pull(settings, source.name, as_of)
    yield Judge(settings, warehouse, folder / "out", as_of, request.param)
    warehouse.engine.dispose()


def pairwise(
    table: pd.DataFrame, predicted: str = "customer_id", actual: str = "person_id"
) -> tuple[float, float]:
    """Precision and recall over pairs of rows: same predicted group, same actual group."""

    def pairs(*columns: str) -> int:
        sizes = table.groupby(list(columns)).size()
        return int((sizes * (sizes - 1) // 2).sum())

    both = pairs(predicted, actual)
    return both / max(pairs(predicted), 1), both / pairs(actual)


def test_precision_and_recall(judge: Judge) -> None:
    guards = {
        "without guards": judge.judged(judge.resolve(2, **UNGUARDED)),
        "caps alone": judge.judged(judge.resolve(3, **{k: v for k, v in UNGUARDED.items() if k != "caps"})),
        "identity.yaml": judge.judged(judge.resolve(1)),
    }
    found = {name: pairwise(table) for name, table in guards.items()}
    lines = [f"| {name} | {p:.4f} | {r:.4f} |" for name, (p, r) in found.items()]
    table = guards["identity.yaml"]
    log.info("%s\n| identity | precision | recall |\n|---|---:|---:|\n%s", judge.dirt, "\n".join(lines))
    log.info(
        "%d identifiers of %d people, %d customers, %d handed on",
        len(table), table["person_id"].nunique(), table["customer_id"].nunique(), table["former"].sum(),
    )  # fmt: skip
    _by_rule(judge, table)
    precision, recall = found["identity.yaml"]
    assert precision >= 0.999
    assert recall >= RECALL[judge.dirt]
    assert found["without guards"][0] < 0.7


def _by_rule(judge: Judge, table: pd.DataFrame) -> None:
    """What each rule alone would give: links of one raw table between two kinds."""
    edges = pd.DataFrame(judge.warehouse.rows("select * from identity.edge where valid_to is null"))
    current = table[~table["former"]].reset_index(drop=True)
    place = {key: n for n, key in enumerate(zip(current["kind"], current["value"], strict=True))}
    order = ["card", "account", "phone", "email", "payment", "device"]
    edges["kinds"] = [
        "-".join(sorted((a, b), key=order.index))
        for a, b in zip(edges["kind_a"], edges["kind_b"], strict=True)
    ]
    lines = []
    for (rule, kinds), part in edges.groupby(["rule", "kinds"]):
        ends = [
            (place[a], place[b])
            for a, b in zip(
                zip(part["kind_a"], part["value_a"], strict=True),
                zip(part["kind_b"], part["value_b"], strict=True),
                strict=True,
            )
            if a in place and b in place
        ]
        if not ends:
            continue
        left, right = np.array(ends).T
        size = len(current)
        _, label = connected_components(
            coo_matrix((np.ones(len(left)), (left, right)), (size, size)), directed=False
        )
        precision, recall = pairwise(current.assign(alone=label), "alone")
        lines.append(f"| `{rule}` | {kinds} | {len(ends)} | {precision:.4f} | {recall:.4f} |")
    log.info(
        "\n| rule | kinds | links | precision | recall alone |\n|---|---|---:|---:|---:|\n%s",
        "\n".join(lines),
    )


def test_what_is_lost(judge: Judge) -> None:
    """People who are more than one customer are those of whom no row shows both halves."""
    table = judge.judged(judge.resolve(1))
    lost = table.groupby("person_id")["customer_id"].nunique()
    parts = table[table["person_id"].isin(lost[lost > 1].index)]
    kinds = parts.groupby(["person_id", "customer_id"])["kind"].agg(lambda k: "+".join(sorted(set(k))))
    log.info(
        "\n%s", kinds.reset_index().groupby("person_id")["kind"].agg(" | ".join).value_counts().to_string()
    )
