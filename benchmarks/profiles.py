"""The profile tables of a million customers: computed, loaded, published, and read while they are exchanged.

    python benchmarks/profiles.py [--customers 1000000] [--readers 8] [--home FOLDER]

Every stage is the project's own, in a process of its own as in Airflow; the inputs are those of `profile_tables/inputs.py` (the
inferred columns are empty). Printed beside the targets of issue 6: seconds and peak memory (proportional
set size of the stage's process and of PostgreSQL), rows a second beside a plain COPY of the same rows, the pointer's move
while readers query in a loop, a customer's lookup, an audience's count, and what writing only what changed would cost.
"""

import argparse
import json
import logging
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pyarrow.parquet as pq
from portrait.config import Settings, load_settings
from portrait.profiles import audit as audit_rules
from portrait.profiles.build import build
from portrait.profiles.publish import audit, load, publish, rollback
from portrait.profiles.tables import (
    CUSTOMER_PROFILE,
    TABLES,
)
from portrait.run import Run
from portrait.warehouse import Warehouse, open_warehouse
from portrait.warehouse.server import stop_server
from profile_tables.inputs import make_inputs
from profile_tables.writes import plain_copy, postmaster, server_seconds, ways_to_write
from sqlalchemy import create_engine, text

FIRST = Run("2026-03-01.1", date(2026, 3, 1), 7)
SECOND = Run("2026-03-02.1", date(2026, 3, 2), 7)
STAGES: dict[str, Callable[[Settings, Run], Any]] = {
    "build": build,
    "load": load,
    "audit": audit,
    "publish": publish,
}
SECOND_NIGHT = 0.1
"""Share of the customers that the night has to which the pointer moves: it only has to be another, and disk is dear."""
MOVES = 10
LOOKUPS = 2_000
COUNTS = {
    "lifecycle and score": "lifecycle = 'at_risk' and m_score >= 4",
    "three conditions": "m_score >= 4 and p_alive >= 0.3 and recency_days between 30 and 120",
    "a tag": "exists (select from profile.customer_tag t where t.customer_id = p.customer_id and t.tag = 'lifecycle_stage' and t.value = 'active')",
}
LOG_LINE = re.compile(r"^(\S+__load: .* indexed in .*)$", re.MULTILINE)
LOOKUP = text("select * from profile.customer_profile where customer_id = :c")
EVERYTHING = [
    text(f"select * from profile.{t.name} where customer_id = :c")
    for t in TABLES.values()
    if t.is_of_customers
]


@dataclass(frozen=True)
class Stage:
    """One stage: its seconds, those of the processor (its own and the server's), and the most memory both held, GiB."""

    seconds: float
    processor: float
    peak: float
    log: str


def main() -> None:
    arguments = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    arguments.add_argument("--customers", type=int, default=1_000_000)
    arguments.add_argument("--readers", type=int, default=8)
    arguments.add_argument("--home", type=Path, help="keep what is made here")
    arguments.add_argument("--stage", choices=STAGES, help=argparse.SUPPRESS)
    arguments.add_argument("--run", help=argparse.SUPPRESS)
    options = arguments.parse_args()
    home = options.home or Path(tempfile.mkdtemp(prefix="portrait-profiles-", dir="/var/tmp"))
    os.environ.update(PORTRAIT_HOME=str(home), PORTRAIT_PII_KEY="benchmark")
    settings = load_settings()
    # Everybody allows everything, so that all lists and tags are written.
    allowing = settings.privacy.model_copy(update={"consent_required": ()})
    settings = settings.model_copy(update={"privacy": allowing})
    if options.stage:
        run_stage(settings, options.stage, options.run)
        return
    try:
        measure(settings, options)
    finally:
        stop_server(settings.server_dir)
        if options.home is None:
            shutil.rmtree(home, ignore_errors=True)


def measure(settings: Settings, options: argparse.Namespace) -> None:
    warehouse = open_warehouse(settings, create=True)
    print(
        f"{options.customers:,} customers, {len(CUSTOMER_PROFILE.columns)} columns, {os.cpu_count()} cores,"
        f" load {os.getloadavg()[0]:.1f} before", flush=True,
    )  # fmt: skip
    for run in (FIRST, SECOND):
        register(warehouse, run)
    make_inputs(settings, FIRST, options.customers)
    stages = {"build": stage(settings, "build", FIRST)}
    plain = {t.name: plain_copy(settings, warehouse, t, FIRST) for t in TABLES.values()}
    for name in ("load", "audit", "publish"):
        stages[name] = stage(settings, name, FIRST)
    report_stages(settings, stages, plain)
    ids = warehouse.read_arrow("select customer_id from profile.customer_profile")["customer_id"].to_pylist()
    lookups(warehouse, ids)
    counts(warehouse)
    ways_to_write(settings, warehouse, FIRST, ids)
    make_inputs(settings, SECOND, int(options.customers * SECOND_NIGHT), seed=8)
    ids = pq.read_table(CUSTOMER_PROFILE.file(settings, FIRST), columns=["customer_id"])["customer_id"]
    ids = ids.slice(0, int(options.customers * SECOND_NIGHT)).to_pylist()
    shutil.rmtree(settings.run_dir(FIRST.run_id))
    for name in ("build", "load", "audit"):
        stage(settings, name, SECOND)
    pointer(settings, warehouse, ids, options.readers)
    print(f"load {os.getloadavg()[0]:.1f} after")


def register(warehouse: Warehouse, run: Run) -> None:
    warehouse.execute(
        "insert into ops.run (run_id, as_of, run_key, seed, status) values (:r, :d, :r, :s, 'running') on conflict do nothing",
        r=run.run_id,
        d=run.as_of,
        s=run.seed,
    )


def run_stage(settings: Settings, name: str, run_id: str) -> None:
    """In the child: the stage, and how long it took on standard output."""
    run = next(r for r in (FIRST, SECOND) if r.run_id == run_id)
    # The second night is smaller on purpose.
    audit_rules.LEAST_SHARE_OF_LAST_NIGHT = 0.0
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    started, worked = time.perf_counter(), time.process_time()
    STAGES[name](settings, run)
    print(json.dumps([time.perf_counter() - started, time.process_time() - worked]))


def stage(settings: Settings, name: str, run: Run) -> Stage:
    command = [sys.executable, __file__, "--home", str(settings.home), "--stage", name, "--run", run.run_id]
    peak, before = 0, server_seconds(settings)
    with (
        tempfile.TemporaryFile("w+") as log,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True) as child,
    ):
        while child.poll() is None:
            peak = max(peak, sum(map(proportional_bytes, processes(child.pid, settings))))
            time.sleep(0.5)
        assert child.stdout is not None
        answer = child.stdout.read()
        log.seek(0)
        said = log.read()
    if child.returncode:
        raise SystemExit(f"{name} of {run.run_id} failed:\n{said[-2000:]}")
    seconds, worked = json.loads(answer)
    return Stage(seconds, worked + server_seconds(settings) - before, peak / 2**30, said)


def processes(child: int, settings: Settings) -> Iterable[psutil.Process]:
    """The stage's process and those of the server."""
    found = []
    for pid in (child, postmaster(settings)):
        try:
            process = psutil.Process(pid)
            found += [process, *process.children(recursive=True)]
        except psutil.Error:
            continue
    return found


def proportional_bytes(process: psutil.Process) -> int:
    """Shared pages divided by their sharers; 0 once the process has ended."""
    try:
        rollup = Path(f"/proc/{process.pid}/smaps_rollup").read_text()
    except OSError:
        return 0
    return sum(int(line.split()[1]) * 1024 for line in rollup.splitlines() if line.startswith("Pss:"))


def report_stages(
    settings: Settings, stages: dict[str, Stage], plain: dict[str, tuple[float, float]]
) -> None:
    rows = {t.name: pq.read_metadata(t.file(settings, FIRST)).num_rows for t in TABLES.values()}
    print("rows: " + ", ".join(f"{name} {n:,}" for name, n in rows.items()))
    for name, measured in stages.items():
        print(
            f"{name:8} {measured.seconds:7.1f} s   processor {measured.processor:7.1f} s   peak {measured.peak:.2f} GiB"
        )
    total, worked = sum(s.seconds for s in stages.values()), sum(s.processor for s in stages.values())
    peak = max(s.peak for s in stages.values())
    print(f"together {total:7.1f} s   processor {worked:7.1f} s   peak {peak:.2f} GiB   (target 360 s, 6 GB)")
    number, load_ = sum(rows.values()), stages["load"]
    copied, worked = (sum(p[i] for p in plain.values()) for i in (0, 1))
    print(
        f"plain COPY of the same {number:,} rows: {copied:.1f} s, processor {worked:.1f} s, {number / copied:,.0f} rows/s;"
        f" load with keys, indexes and statistics: {number / load_.seconds:,.0f} rows/s,"
        f" {copied / load_.seconds:.2f}x (target 0.7x)"
    )
    for line in LOG_LINE.findall(load_.log):
        print(f"    {line}", flush=True)


def lookups(warehouse: Warehouse, ids: list[str]) -> None:
    random = np.random.default_rng(7)
    engine = create_engine(warehouse.url)
    with engine.connect() as connection:
        for what, statements in (
            ("row of customer_profile", [LOOKUP]),
            ("everything of a customer", EVERYTHING),
        ):
            taken = []
            for customer in random.choice(ids, LOOKUPS):
                started = time.perf_counter()
                for statement in statements:
                    connection.execute(statement, {"c": str(customer)}).all()
                taken.append(1000 * (time.perf_counter() - started))
            p50, p99 = np.percentile(taken, (50, 99))
            print(f"{what}: median {p50:.2f} ms, p99 {p99:.2f} ms of {LOOKUPS:,} (target 5 ms for the row)")


def counts(warehouse: Warehouse) -> None:
    for name, condition in COUNTS.items():
        taken = []
        for _ in range(5):
            started = time.perf_counter()
            found = warehouse.scalar(f"select count(*) from profile.customer_profile p where {condition}")
            taken.append(time.perf_counter() - started)
        print(
            f"audience by {name}: {found:,} customers, median {statistics.median(taken):.2f} s,"
            f" slowest {max(taken):.2f} s of 5 (target 1 s)", flush=True,
        )  # fmt: skip


def pointer(settings: Settings, warehouse: Warehouse, ids: list[str], readers: int) -> None:
    """Publish and roll back while readers ask for a customer's profile and recommendations in one statement."""
    some = np.random.default_rng(8).choice(ids, min(len(ids), 10_000), replace=False)
    listed = settings.home / "ids.txt"
    listed.write_text("\n".join(some))
    url = warehouse.url.render_as_string(hide_password=False)
    command = [sys.executable, str(Path(__file__).parent / "profile_tables" / "reader.py"), url, str(listed)]
    asking = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(readers)]
    for reader in asking:
        assert reader.stdout is not None
        if reader.stdout.readline() != "ready\n":
            raise SystemExit("a reader did not start")
    time.sleep(5)
    moved, back = [], []
    began = time.time()
    for _ in range(MOVES):
        moved.append(1000 * publish(settings, SECOND).moved_in_s)
        time.sleep(0.3)
        started = time.perf_counter()
        rollback(settings, FIRST.run_id)
        back.append(1000 * (time.perf_counter() - started))
        time.sleep(0.3)
    ended = time.time()
    time.sleep(5)
    for reader in asking:
        reader.terminate()
    found = [json.loads(reader.communicate()[0]) for reader in asking]
    during = [s for f in found for at, s in f["waits"] if began <= at <= ended]
    calm = [s for f in found for at, s in f["waits"] if not began <= at <= ended]
    print(
        f"{MOVES} moves of the pointer with {readers} readers: median {statistics.median(moved):.0f} ms,"
        f" slowest {max(moved):.0f} ms (target 100 ms); rollback, with its connection, median"
        f" {statistics.median(back):.0f} ms, slowest {max(back):.0f} ms"
    )
    print(
        f"readers: {sum(f['queries'] for f in found):,} queries, {sum(f['mixed'] for f in found)} mixed nights,"
        f" {sum(f['empty'] for f in found)} empty ones, nights seen {sorted(set().union(*(f['nights'] for f in found)))};"
        f" longest wait {1000 * max(during, default=0):.0f} ms and {sum(s > 0.2 for s in during)} over 200 ms in"
        f" {ended - began:.0f} s of moving, {1000 * max(calm, default=0):.0f} ms and {sum(s > 0.2 for s in calm)} in 10 s"
        " of rest (target 200 ms)"
    )


if __name__ == "__main__":
    main()
