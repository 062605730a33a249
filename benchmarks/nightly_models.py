"""The nightly path of the models at the size of a large retailer: train, evaluate, gate, score, embed, on two nights.

    python benchmarks/nightly_models.py                        # 100k customers, 20k items
    python benchmarks/nightly_models.py --customers 1000000    # the target's size: some 12 GB of memory and of disk
    python benchmarks/nightly_models.py --ranker               # with the learned ranker as well

The matrices, purchases and products are generated straight into a run's features folder; the stages are the night's own,
on an embedded PostgreSQL. The second night has a champion to beat, and to start from where training does so. Each stage of
each night runs in a process of its own, as Airflow runs it, whose wall and processor seconds and peak memory are printed.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from portrait.config import Settings, load_settings
from portrait.config.settings import CONFIG_DIR
from portrait.features.cells import last_days
from portrait.features.lake import LakeTable
from portrait.features.matrix import write_csr
from portrait.run import Run
from portrait.warehouse import open_warehouse
from portrait.warehouse.server import stop_server
from scipy.sparse import csr_matrix

FIRST = date(2026, 3, 1)
CELLS_A_CUSTOMER = 60
"""Draws of items a customer touches; popular ones fall on the same item."""
BOUGHT_SHARE, LATE_SHARE, BUYERS_SHARE = 0.4, 0.1, 0.3
"""Of what is touched: was bought; only in the held-out days. Customers who bought something in those."""
TASTES, CATEGORIES = 200, 200
EPOCHS = 3

MODELS = f"""
candidates:
  - {{name: popularity}}
  - {{name: repeat}}
  - {{name: multvae, params: {{hidden: 256, latent: 64, epochs: {EPOCHS}, patience: 1, anneal_epochs: 2, learning_rate: 0.002, batch_size: 500, validation_k: 10, validation_exclude_seen: false}}}}
embedding_model: multvae
holdout_days: 14
k: 10
recommendations: 20
seed: 7
"""
RANKER = "  - {name: nightly}\n"
FOR_THE_RANKER = "evaluation_customers: 30000\nrenew_lists_every: 7\n"
TOUCHED_SHARE = 0.05
"""Of the customers, who did something since the night before."""


def cells(customers: int, items: int) -> csr_matrix:
    """Weights of customers x items: two thirds from a taste's two hundredth of the items, popular ones more often."""
    random = np.random.default_rng(0)
    width = items // TASTES
    indices = np.empty((customers, CELLS_A_CUSTOMER), dtype=np.int32)
    for start in range(0, customers, 50_000):
        part = indices[start : start + 50_000]
        everywhere = (items * random.random(part.shape, dtype=np.float32) ** 2).astype(np.int32)
        taste = random.integers(0, TASTES, (len(part), 1))
        inside = taste + TASTES * random.integers(0, width, part.shape)
        part[:] = np.minimum(np.where(random.random(part.shape) < 2 / 3, inside, everywhere), items - 1)
        part.sort(axis=1)
    pointer = np.arange(customers + 1, dtype=np.int64) * CELLS_A_CUSTOMER
    made = csr_matrix((np.ones(indices.size, np.float32), indices.ravel(), pointer), shape=(customers, items))
    made.sum_duplicates()
    return made


def part_of(matrix: csr_matrix, kept: np.ndarray, values: np.ndarray) -> csr_matrix:
    """The cells that are kept, with these values."""
    before = np.concatenate([[0], np.cumsum(kept)])
    return csr_matrix((values[kept], matrix.indices[kept], before[matrix.indptr]), shape=matrix.shape)


def write_night(settings: Settings, run: Run, customers: int, items: int) -> None:
    """A features folder as the feature stage leaves it. Some customers looked at something again since the night before."""
    every = cells(customers, items)
    random = np.random.default_rng(1)
    bought = random.random(every.nnz, dtype=np.float32) < BOUGHT_SHARE
    row = np.repeat(np.arange(customers, dtype=np.int32), np.diff(every.indptr))
    late = (random.random(every.nnz, dtype=np.float32) < LATE_SHARE) & (
        random.random(customers) < BUYERS_SHARE
    )[row]
    later = (random.random(every.nnz, dtype=np.float32) < LATE_SHARE) & ~late
    again = bought & ~late & (random.random(every.nnz, dtype=np.float32) < LATE_SHARE)
    one = np.ones(every.nnz, np.float32)
    nights = (run.as_of - FIRST).days
    weight = every.data * np.float32(0.5 ** (nights / settings.features.half_life_days))
    touched = np.random.default_rng([2, nights]).random(customers) < TOUCHED_SHARE
    weight[every.indptr[:-1][touched]] += 0.5
    folder = settings.run_dir(run.run_id) / "features" / "matrix"
    for name, kept in {
        "full_weights": np.ones(every.nnz, bool),
        "full_bought": bought,
        "train_weights": ~late,
        "train_bought": ~late & bought,
        "target": (late | again) & bought & (random.random(customers) < BUYERS_SHARE)[row],
        "validation_weights": ~late & ~later,
        "validation_target": later & bought,
    }.items():
        write_csr(part_of(every, kept, weight if "weights" in name else one), folder / name)
    days = last_days(run.as_of, settings.models.holdout_days)
    epoch = date(1970, 1, 1)
    # Of each window the purchases that its target shows; all others in the half year before both.
    last = {part: (end - epoch).days for part, end in days.items()}
    within = random.integers(0, settings.models.holdout_days, every.nnz)
    day = last["validation"] - random.integers(0, 150, every.nnz)
    day = np.where(later, last["train"] - within, day)
    day = np.where(late, last["full"] - within, day)
    log = pa.table(
        {"customer": row[bought], "day": day[bought].astype(np.int32), "item": every.indices[bought]}
    )
    pq.write_table(log, folder / "purchases.parquet")
    ids = np.char.mod("c%015d", np.arange(customers))
    index = {
        "row": np.arange(customers, dtype=np.int32),
        "customer_id": ids,
        "current": np.ones(customers, bool),
    }
    pq.write_table(pa.table(index), folder / "customers.parquet")
    skus = np.char.mod("s%09d", np.arange(items))
    pq.write_table(pa.table({"col": np.arange(items, dtype=np.int32), "sku": skus}), folder / "items.parquet")
    _write_products(settings, skus)


def _write_products(settings: Settings, skus: np.ndarray) -> None:
    table = LakeTable(settings.lake_dir, "product")
    columns: dict[str, Any] = {
        "sku": skus,
        "category_2": np.char.mod("category %d", np.arange(len(skus)) % CATEGORIES),
        "business_date": [FIRST - timedelta(days=300)] * len(skus),
    }
    table.file().parent.mkdir(parents=True, exist_ok=True)
    arrays = [pa.array(columns.get(f.name, [None] * len(skus)), f.type) for f in table.schema]
    pq.write_table(pa.table(arrays, schema=table.schema), table.file())


def stages(settings: Settings) -> dict[str, Callable[[Run], object]]:
    """The night's model stages in order."""
    from portrait.models.nightly.evaluate import evaluate_candidates
    from portrait.models.nightly.promote import promote
    from portrait.models.nightly.score import score
    from portrait.models.nightly.train import train

    trained = {
        f"train {c.name}": lambda run, name=c.name: train(settings, run, name)
        for c in settings.models.candidates
    }
    return {
        **trained,
        "evaluate": lambda run: evaluate_candidates(settings, run),
        "promote": lambda run: promote(settings, run),
        "score": lambda run: score(settings, run),
    }


def run_of(night: int) -> Run:
    as_of = FIRST + timedelta(days=night)
    return Run(f"{as_of}.1", as_of, seed=7)


def one_stage(name: str, night: int) -> dict[str, Any]:
    """In this process: its wall and processor seconds and peak memory."""
    settings = load_settings()
    stage = stages(settings)[name]
    started, used = time.perf_counter(), time.process_time()
    found = stage(run_of(night))
    return {
        "seconds": time.perf_counter() - started,
        "processor": time.process_time() - used,
        "gigabytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9,
        "found": str(found)[:300],
    }


def night_of(settings: Settings, night: int, customers: int, items: int) -> None:
    """Generate a night, run its stages one after the other, and print what each took."""
    run = run_of(night)
    open_warehouse(settings).execute(
        "insert into ops.run (run_id, as_of, run_key, seed, status) values (:r, :d, :r, 7, 'running')",
        r=run.run_id,
        d=run.as_of,
    )
    write_night(settings, run, customers, items)
    total, processor = 0.0, 0.0
    for name in stages(settings):
        command = [sys.executable, __file__, "--stage", name, "--night", str(night)]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        took = json.loads(done.stdout.splitlines()[-1])
        total, processor = total + took["seconds"], processor + took["processor"]
        print(
            f"night {night + 1}  {name:18} {took['seconds']:8.1f} s {took['processor']:8.1f} s processor "
            f"{took['gigabytes']:6.2f} GB",
            flush=True,
        )
    open_warehouse(settings).execute(
        "update ops.run set status = 'published', finished_at = now() where run_id = :r", r=run.run_id
    )
    print(f"night {night + 1}  {'all':18} {total:8.1f} s {processor:8.1f} s processor", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--customers", type=int, default=100_000)
    parser.add_argument("--items", type=int, default=20_000)
    parser.add_argument("--nights", type=int, default=2)
    parser.add_argument(
        "--ranker", action="store_true", help="with the candidate `nightly`, the learned ranker"
    )
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--stage", help=argparse.SUPPRESS)
    parser.add_argument("--night", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.stage:
        print(json.dumps(one_stage(options.stage, options.night)))
        return
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / "config"
        config.mkdir()
        for name in ("identity.yaml", "features.yaml", "sources.yaml"):
            (config / name).write_text((CONFIG_DIR / name).read_text())
        models = MODELS.replace("embedding_model", f"{RANKER}embedding_model") if options.ranker else MODELS
        more = FOR_THE_RANKER if options.ranker else ""
        (config / "model.yaml").write_text(f"{models}{more}threads: {options.threads}\n")
        home = Path(folder) / "home"
        os.environ |= {"PORTRAIT_HOME": str(home), "PORTRAIT_CONFIG_DIR": str(config)}
        try:
            settings = load_settings()
            open_warehouse(settings, create=True)
            print(f"{options.customers:,} customers, {options.items:,} items, {options.threads} thread(s)")
            for night in range(options.nights):
                night_of(settings, night, options.customers, options.items)
        finally:
            stop_server(home / "postgres")


if __name__ == "__main__":
    main()
