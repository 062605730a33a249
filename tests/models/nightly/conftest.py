"""Nights made of tiny matrices that a test writes by hand, through the real model stages and Postgres."""

from collections.abc import Callable, Sequence
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from portrait.config import Settings
from portrait.config.settings import CONFIG_DIR
from portrait.features.cells import last_days
from portrait.features.lake import LakeTable
from portrait.features.matrix import write_csr
from portrait.models.nightly.evaluate import Decision, evaluate_candidates, exclusion_effects
from portrait.models.nightly.promote import Promotion, promote
from portrait.models.nightly.score import score
from portrait.models.nightly.train import TrainResult, train
from portrait.run import Run
from portrait.warehouse import Warehouse
from scipy.sparse import csr_matrix

Dense = Sequence[Sequence[float]] | np.ndarray


class Nights:
    """Writes a night's matrices and runs its stages; `settings` may change between nights, the home stays."""

    def __init__(self, settings: Settings, warehouse: Warehouse) -> None:
        self.settings, self.warehouse = settings, warehouse

    def write(
        self,
        day: int,
        train: Dense,
        target: Dense,
        attempt: int = 1,
        run: Run | None = None,
        launched: dict[int, date] | None = None,
        **others: Dense,
    ) -> Run:
        """Matrices of a night in March 2026; customers c0, c1, ..., items i0, i1, ...

        Unless given, a weight of 1 or more was bought, and `full` is `train` and 1 for each target. `launched` is of the items
        (by number) that are new in the shop.
        """
        as_of = date(2026, 3, day)
        run = run or Run(f"{as_of}.{attempt}", as_of, seed=7)
        self.warehouse.execute(
            "insert into ops.run (run_id, as_of, run_key, seed, status) values (:r, :d, :r, 7, 'running') "
            "on conflict do nothing",
            r=run.run_id,
            d=as_of,
        )
        before, after = np.asarray(train, np.float32), np.asarray(target, np.float32)
        full = np.asarray(others.get("full", before + after), np.float32)
        matrices = {
            "train_weights": before,
            "train_bought": others.get("train_bought", before >= 1),
            "target": after,
            "full_weights": full,
            "full_bought": others.get("full_bought", full >= 1),
            "validation_weights": others.get("validation_weights", before),
            "validation_target": others.get("validation_target", np.zeros_like(before)),
        }
        folder = self.settings.run_dir(run.run_id) / "features" / "matrix"
        folder.mkdir(parents=True, exist_ok=True)
        for name, dense in matrices.items():
            write_csr(csr_matrix(np.asarray(dense, np.float32)), folder / name)
        for file, column, short, count in (
            ("customers", "row", "customer_id", before.shape[0]),
            ("items", "col", "sku", before.shape[1]),
        ):
            table = {
                column: np.arange(count, dtype=np.int32),
                short: [f"{short[0] if file == 'customers' else 'i'}{n}" for n in range(count)],
            }
            if file == "customers":
                table["current"] = np.full(count, True)
            elif launched:
                table["launched_on"] = pa.array([launched.get(n) for n in range(count)], pa.date32())
            pq.write_table(pa.table(table), folder / f"{file}.parquet")
        pq.write_table(self.log(as_of, matrices), folder / "purchases.parquet")
        return run

    def log(self, as_of: date, matrices: dict[str, Dense]) -> pa.Table:
        """Purchases on the last day of the part of the data that first shows them, targets at the end of theirs."""
        rows: set[tuple[int, int, int]] = set()
        seen = np.zeros_like(np.asarray(matrices["target"]), dtype=bool)
        days = last_days(as_of, self.settings.models.holdout_days)
        targets = {
            "validation": np.zeros_like(seen),
            "train": matrices["validation_target"],
            "full": matrices["target"],
        }
        for part in ("validation", "train", "full"):
            day = days[part]
            there = np.asarray(matrices[f"{part}_weights"]) >= 1
            first = (there & ~seen) | (np.asarray(targets[part]) > 0)
            rows |= {(int(c), (day - date(1970, 1, 1)).days, int(i)) for c, i in np.argwhere(first)}
            seen |= there
        columns = list(zip(*sorted(rows), strict=True)) or [(), (), ()]
        names = ("customer", "day", "item")
        return pa.table({n: pa.array(c, pa.int32()) for n, c in zip(names, columns, strict=True)})

    def write_products(self, *products: tuple[str, str | None]) -> None:
        """A product file of (sku, category)."""
        table = LakeTable(self.settings.lake_dir, "product")
        columns: dict[str, list[Any]] = {
            "sku": [sku for sku, _ in products],
            "category_2": [category for _, category in products],
            "business_date": [date(2026, 1, 1)] * len(products),
        }
        table.file().parent.mkdir(parents=True, exist_ok=True)
        every = [pa.array(columns.get(f.name, [None] * len(products)), f.type) for f in table.schema]
        pq.write_table(pa.table(every, schema=table.schema), table.file())

    def train(self, run: Run, *names: str) -> list[TrainResult]:
        """Train these candidates, all of model.yaml unless named."""
        chosen = names or tuple(c.name for c in self.settings.models.candidates)
        return [train(self.settings, run, name) for name in chosen]

    def evaluate(self, run: Run) -> dict[str, Decision]:
        return {d.slot: d for d in evaluate_candidates(self.settings, run)}

    def promote(self, run: Run) -> dict[str, Promotion]:
        return {p.slot: p for p in promote(self.settings, run)}

    def whole(self, run: Run, *names: str) -> dict[str, Promotion]:
        """Train, evaluate, promote."""
        self.train(run, *names)
        self.evaluate(run)
        return self.promote(run)

    def scores(self, run: Run) -> list[dict[str, Any]]:
        """recommendation.parquet, after scoring."""
        score(self.settings, run)
        return self.output(run, "recommendation")

    def output(self, run: Run, name: str) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = pq.read_table(
            self.settings.run_dir(run.run_id) / "models" / f"{name}.parquet"
        ).to_pylist()
        return rows

    def effects(self, run: Run) -> dict[str, Any]:
        """What leaving out what is not bought again does, by model."""
        return exclusion_effects(self.settings, run)

    def recommended(self, run: Run, customer: int, kind: str) -> list[str]:
        """A customer's list, best first."""
        rows = [r for r in self.output(run, "recommendation") if r["customer_id"] == f"c{customer}"]
        return [r["sku"] for r in sorted(rows, key=lambda r: r["rank"]) if r["kind"] == kind]

    def evaluation(self, run: Run, **wanted: Any) -> dict[str, float]:
        """metric@k -> value of the rows of ops.evaluation that have these columns."""
        rows = self.warehouse.rows("select * from ops.evaluation where run_id = :r", r=run.run_id)
        kept = [r for r in rows if all(r[c] == v for c, v in wanted.items())]
        return {f"{r['metric']}@{r['k']}": r["value"] for r in kept}

    def published(self, run: Run) -> None:
        """What the next night goes by."""
        self.warehouse.execute(
            "update ops.run set status = 'published', finished_at = now() where run_id = :r", r=run.run_id
        )

    def versions(self, slot: str) -> dict[str, str]:
        """model_version -> status, oldest first."""
        rows = self.warehouse.rows(
            "select model_version, status from ops.model_version where slot = :s "
            "order by trained_through, model_version",
            s=slot,
        )
        return {r["model_version"]: r["status"] for r in rows}


@pytest.fixture
def configure(make_settings: Callable[..., Settings], tmp_path: Path) -> Callable[..., Settings]:
    """Settings with a model.yaml of these candidates (lines of YAML flow) and settings."""
    count = iter(range(1000))

    def make(
        *candidates: str,
        embedding: str | None = None,
        k: int = 2,
        recommendations: int = 3,
        repurchase: str = "{}",
        renew: int = 1,
    ) -> Settings:
        folder = tmp_path / f"config{next(count)}"
        folder.mkdir()
        for name in ("identity.yaml", "features.yaml"):
            (folder / name).write_text((CONFIG_DIR / name).read_text())
        lines = "".join(f"  - {c if c.startswith('{') else f'{{name: {c}}}'}\n" for c in candidates)
        chosen = embedding or yaml.safe_load(f"[{candidates[0]}]")[0]
        chosen = chosen["name"] if isinstance(chosen, dict) else chosen
        (folder / "model.yaml").write_text(
            f"candidates:\n{lines}embedding_model: {chosen}\nholdout_days: 2\n"
            f"k: {k}\nrecommendations: {recommendations}\nthreads: 1\nseed: 7\n"
            f"repurchase: {repurchase}\nrenew_lists_every: {renew}\n"
        )
        return make_settings(PORTRAIT_CONFIG_DIR=str(folder))

    return make


@pytest.fixture
def make_nights(configure: Callable[..., Settings], warehouse: Warehouse) -> Callable[..., Nights]:
    def make(*candidates: str, **settings: Any) -> Nights:
        return Nights(configure(*candidates, **settings), warehouse)

    return make


ARTICLE = "{name: article, params: {hidden: 8, latent: 4, batch_size: 8, epochs: 3}}"


@pytest.fixture
def article() -> str:
    return ARTICLE
