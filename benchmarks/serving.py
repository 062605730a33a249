"""The profile API under load: a million customers, a model of 20,000 items, client and database on the same machine.

Profile tables, identifiers, matrices and a model of that size are made (their content is random: only their size and
shape matter here), `portrait serve` answers, and wrk asks: the customer document by id and by card, `POST /predict` for
known customers with three items at hand. The middle one of `--repeat` runs and every run are printed, with the memory of each
worker: what is its own (anonymous pages), and PSS, which adds its share of the files that all workers map.

    python benchmarks/serving.py [--customers 1000000] [--items 20000] [--seconds 20] [--workers 2] [--connections 8]
"""

import argparse
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path

import duckdb
import numpy as np
import psutil
import pyarrow.parquet as pq
from portrait.config import Settings, load_settings
from portrait.config.settings import CONFIG_DIR
from portrait.features.matrix import write_csr
from portrait.ingest.pii import hash_column
from portrait.models import create
from portrait.profiles.load import load
from portrait.profiles.tables import TABLES, profiles_dir, value_model_file
from portrait.run import Run
from portrait.serving.keys import create_key
from portrait.serving.scopes import Scope
from portrait.warehouse import Warehouse, open_warehouse
from portrait.warehouse.server import stop_server
from scipy.sparse import csr_matrix

RUN = Run("2026-03-01.1", date(2026, 3, 1))
PORT = 8099
HISTORY = 30
"""Items of a customer's history."""
ROWS_EACH = {"affinity": 6, "recommendation": 4, "customer_tag": 5}
"""Rows a customer in tables with several."""
EMPTY = {"embedding", "tag_definition", "popular"}
BY_TYPE = {
    "string": "'value ' || (n % 17)",
    "boolean": "n % 2 = 0",
    "date": "date '2026-01-01' + (n % 59)::int",
    "int32": "(n % 1000)::int",
    "float64": "(n % 100000) / 7.0",
}
GET_LUA = """
local ids = {} ; for line in io.lines("IDS") do ids[#ids + 1] = line end
math.randomseed(os.time())
request = function()
  return wrk.format("GET", "/customers/" .. ids[math.random(#ids)], {["X-API-Key"] = "KEY"})
end
"""
PREDICT_LUA = """
local ids = {} ; for line in io.lines("IDS") do ids[#ids + 1] = line end
math.randomseed(os.time())
request = function()
  local items = {}
  for i = 1, 3 do items[i] = '"i' .. math.random(0, ITEMS - 1) .. '"' end
  local body = '{"user_id":"' .. ids[math.random(#ids)] .. '","item_ids":[' .. table.concat(items, ",") .. ']}'
  return wrk.format("POST", "/predict", {["X-API-Key"] = "KEY", ["Content-Type"] = "application/json"}, body)
end
"""


def main() -> None:
    arguments = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    arguments.add_argument("--customers", type=int, default=1_000_000)
    arguments.add_argument("--items", type=int, default=20_000)
    arguments.add_argument("--seconds", type=int, default=20)
    arguments.add_argument("--repeat", type=int, default=3)
    arguments.add_argument("--workers", type=int, default=2)
    arguments.add_argument(
        "--connections", type=int, default=8, help="of the client, asking one after another"
    )
    arguments.add_argument("--home", type=Path, help="keep what is made here, and use it again")
    options = arguments.parse_args()
    if shutil.which("wrk") is None:
        print("not measured: it needs wrk (Debian: apt-get install wrk)")
        return
    home = options.home or Path(tempfile.mkdtemp(prefix="portrait-serving-", dir="/var/tmp"))
    settings = _settings(home)
    try:
        _make(settings, options.customers, options.items)
        _measure(settings, options)
    finally:
        stop_server(settings.server_dir)
        if options.home is None:
            shutil.rmtree(home, ignore_errors=True)


def _settings(home: Path) -> Settings:
    config = home / "config"
    if not config.is_dir():
        shutil.copytree(CONFIG_DIR, config)
        (config / "serving.yaml").write_text("requests_per_second: 1000000\nburst: 1000000\n")
    os.environ.update(PORTRAIT_HOME=str(home), PORTRAIT_CONFIG_DIR=str(config), PORTRAIT_PII_KEY="benchmark")
    return load_settings()


def _make(settings: Settings, customers: int, items: int) -> None:
    """The night and the champion, unless they are there."""
    mark = settings.home / "made.json"
    if mark.is_file() and json.loads(mark.read_text()) == [customers, items]:
        open_warehouse(settings)
        return
    started = time.monotonic()
    warehouse = open_warehouse(settings, create=True)
    warehouse.execute(
        "insert into ops.run (run_id, as_of, run_key, seed, status) values (:r, :d, 'benchmark', 0, 'published') "
        "on conflict do nothing",
        r=RUN.run_id,
        d=RUN.as_of,
    )
    engine = duckdb.connect()
    engine.execute(
        f"create table id as select n, 'C' || substr(sha256(n::text), 1, 16) as customer_id from range({customers}) r(n)"
    )
    _profile_tables(settings, engine)
    value_model_file(settings, RUN).write_text("{}")
    load(settings, RUN)
    warehouse.execute(
        "insert into ops.published_run (run_id) values (:r) on conflict do nothing", r=RUN.run_id
    )
    _allowing_everything(warehouse)
    _identifiers(settings, warehouse, engine)
    _matrices(settings, engine, customers, items)
    _champion(settings, warehouse, items)
    with (settings.home / "ids.txt").open("w") as ids, (settings.home / "cards.txt").open("w") as cards:
        for n, customer in engine.sql(
            "select n, customer_id from id using sample 100000 (reservoir, 7)"
        ).fetchall():
            ids.write(customer + "\n")
            cards.write(f"card:{_card(n)}\n")
    mark.write_text(json.dumps([customers, items]))
    print(f"{customers:,} customers and {items:,} items made in {time.monotonic() - started:.0f} s")


def _profile_tables(settings: Settings, engine: duckdb.DuckDBPyConnection) -> None:
    folder = profiles_dir(settings, RUN)
    folder.mkdir(parents=True, exist_ok=True)
    for table in TABLES.values():
        each = ROWS_EACH.get(table.name, 1)
        columns = []
        for name, kind in table.columns.items():
            made = BY_TYPE.get(kind, "[1.0::float]")
            if name == "customer_id":
                made = "customer_id"
            elif name == "rank":
                made = "(k + 1)::int"
            elif name in table.key:
                made = "'value ' || k"
            columns.append(f"{made} as {name}")
        engine.execute(
            f"copy (select '{RUN.run_id}' as run_id, {', '.join(columns)} from id cross join range({each}) e(k) "
            f"{'where false' if table.name in EMPTY else ''} order by customer_id, k) "
            f"to '{table.file(settings, RUN)}' (format parquet)"
        )


def _allowing_everything(warehouse: Warehouse) -> None:
    """Every customer, after a statement of each was loaded: the answers are the longest there are."""
    warehouse.execute(
        "insert into privacy.permission select customer_id, true, true, true, true, true, true from profile.customer_profile"
    )
    warehouse.execute(
        "insert into profile_store.tag_definition (run_id, tag, purpose, price_limited)"
        " select run_id, 'value ' || k, 'analytics', false from ops.published_run, generate_series(0, 4) as k"
    )
    warehouse.execute("analyze privacy.permission, profile_store.tag_definition")


def _card(n: int) -> str:
    return f"62{n:012d}"


def _identifiers(settings: Settings, warehouse: Warehouse, engine: duckdb.DuckDBPyConnection) -> None:
    """A card and an account of every customer."""
    ids = engine.sql("select n, customer_id from id order by n").to_arrow_table()
    cards = [_card(n) for n in ids["n"].to_pylist()]
    import pyarrow as pa

    hashed = hash_column(pa.array(cards), "card", b"benchmark", settings.sources.phone_region)
    count = len(cards)
    day = pa.array([RUN.as_of] * count, pa.date32())
    for kind, values, start in (
        ("card", hashed, 0),
        ("account", pa.array([f"A{n}" for n in range(count)]), count),
    ):
        number = pa.array(np.arange(start, start + count, dtype=np.int32))
        table = {"kind": pa.array([kind] * count), "value": values, "first_seen": day, "last_seen": day}
        warehouse.copy_in("identity", "identifier", pa.table({**table, "identifier_id": number}))
        held = {"identifier_id": number, "turn": pa.array(np.ones(count, np.int16))}
        warehouse.copy_in(
            "identity", "assignment", pa.table({**held, "customer_id": ids["customer_id"], "valid_from": day})
        )
    warehouse.execute("analyze identity.identifier, identity.assignment")


def _matrices(settings: Settings, engine: duckdb.DuckDBPyConnection, customers: int, items: int) -> None:
    folder = settings.run_dir(RUN.run_id) / "features" / "matrix"
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(7)
    # Popular items more often, and each at most once in a row.
    column = np.sort(
        (items * rng.random((customers, HISTORY), dtype=np.float32) ** 2).astype(np.int32), axis=1
    )
    matrix = csr_matrix(
        (
            rng.random(column.size, dtype=np.float32) + 0.1,
            column.ravel(),
            np.arange(0, column.size + 1, HISTORY, dtype=np.int32),
        ),
        shape=(customers, items),
    )
    matrix.sum_duplicates()
    for name in ("full_weights", "full_bought"):
        write_csr(matrix, folder / name)
    pq.write_table(
        engine.sql("select n::int as row, customer_id from id order by n").to_arrow_table(),
        folder / "customers.parquet",
    )
    pq.write_table(
        duckdb.sql(f"select n::int as col, 'i' || n as sku from range({items}) r(n)").to_arrow_table(),
        folder / "items.parquet",
    )


def _champion(settings: Settings, warehouse: Warehouse, items: int) -> None:
    """An EASE of this many items with random weights: as heavy as a trained one."""
    model = create("ease").fit(csr_matrix(np.eye(10, dtype=np.float32)))
    model.n_items, model.prior_ = items, np.full(items, 1 / items, np.float32)
    model.weights_ = np.random.default_rng(7).random((items, items), dtype=np.float32)  # type: ignore[attr-defined]
    model.save(settings.models_dir / RUN.run_id / "ease" / "serving")
    warehouse.execute(
        "insert into ops.model_version (model_version, slot, model, parameters, run_id, trained_through, path, status, "
        "reason) values (:v, 'new', 'ease', '{}', :r, :d, :p, 'champion', 'benchmark') on conflict do nothing",
        v=f"{RUN.run_id}/new/ease",
        r=RUN.run_id,
        d=RUN.as_of,
        p=f"{RUN.run_id}/ease",
    )


def _measure(settings: Settings, options: argparse.Namespace) -> None:
    key = create_key(settings, "benchmark", tuple(Scope))
    with _serving(options.workers) as parent:
        print(f"{options.workers} workers, {options.connections} connections, {options.seconds} s a run")
        for name, lua, file in (
            ("GET /customers/{id}", GET_LUA, "ids.txt"),
            ("GET /customers/card:{number}", GET_LUA, "cards.txt"),
            ("POST /predict", PREDICT_LUA, "ids.txt"),
        ):
            script = settings.home / "wrk.lua"
            text = lua.replace("IDS", str(settings.home / file)).replace("KEY", key)
            script.write_text(text.replace("ITEMS", str(options.items)))
            runs = [_wrk(script, options) for _ in range(options.repeat)]
            middle = sorted(runs)[len(runs) // 2]
            print(
                f"{name}: {middle[0]:,.0f} requests/s, p99 {middle[1]:.1f} ms, errors {sum(r[2] for r in runs)}"
            )
            print("    every run: " + "; ".join(f"{rate:,.0f}/s p99 {p99:.1f} ms" for rate, p99, _ in runs))
        for worker in parent.children():
            if worker.num_threads() > 1:
                memory = worker.memory_full_info()
                print(f"worker: its own {_anonymous(worker.pid) / 1e6:.0f} MB, PSS {memory.pss / 1e6:.0f} MB")


def _anonymous(pid: int) -> int:
    """Bytes that are no file's: mapped files are clean pages that the kernel drops when memory is short."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    (line,) = (x for x in lines if x.startswith("Anonymous:"))
    return int(line.split()[1]) * 1024


@contextmanager
def _serving(workers: int) -> Iterator[psutil.Process]:
    command = [sys.executable, "-c", "from portrait.cli import main; main()", "serve", "--port", str(PORT)]
    server = subprocess.Popen([*command, "--workers", str(workers)], stdout=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 180
        while not _ready():
            if server.poll() is not None or time.monotonic() > deadline:
                sys.exit("the API did not start")
            time.sleep(0.5)
        time.sleep(10)  # the other workers
        yield psutil.Process(server.pid)
    finally:
        server.send_signal(signal.SIGTERM)
        server.wait(30)


def _ready() -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{PORT}/readyz", timeout=2) as answer:
            return bool(answer.status == 200)
    except (OSError, urllib.error.HTTPError):
        return False


def _wrk(script: Path, options: argparse.Namespace) -> tuple[float, float, int]:
    """(requests a second, 99th percentile in ms, answers other than 2xx and socket errors) of one run."""
    output = subprocess.run(
        ["wrk", "-t1", f"-c{options.connections}", f"-d{options.seconds}s", "--latency", "-s", str(script),
         f"http://127.0.0.1:{PORT}"],
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    found = re.search(r"99%\s+([\d.]+)(us|ms|s)", output)
    rate = re.search(r"Requests/sec:\s+([\d.]+)", output)
    if found is None or rate is None:
        sys.exit(f"wrk said something else:\n{output}")
    bad = re.search(r"Non-2xx or 3xx responses: (\d+)", output)
    sockets = re.search(r"Socket errors: (.*)", output)
    errors = int(bad[1]) if bad else 0
    errors += sum(map(int, re.findall(r"\d+", sockets[1]))) if sockets else 0
    return float(rate[1]), float(found[1]) * {"us": 0.001, "ms": 1.0, "s": 1000.0}[found[2]], errors


if __name__ == "__main__":
    main()
