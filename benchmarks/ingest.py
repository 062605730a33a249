"""Loading events into `raw`: a whole pull beside `psql \\copy` and pandas, and what a second delivery costs.

Each figure is the median of several runs, in turns. `\\copy` gets a file that is clean already, with the natural key and
the business date in it, and writes the same columns into the same keyed and partitioned table; the pull reads a CSV as a
shop would deliver it, validates it, hashes nothing, and finds duplicates. pandas' `to_sql` writes a part of the rows and
is scaled up. Peak memory is of the pulling process (RSS); PostgreSQL's own is given beside it.

    python benchmarks/ingest.py [--rows 5000000] [--repeat 5] [--sizes 1000000,5000000,20000000]
"""

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import textwrap
import threading
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path

import duckdb
import pandas as pd
import psutil

AS_OF = date(2025, 6, 1)
PANDAS_ROWS = 100_000
SOURCES = """
workspace: bench
timezone: Asia/Shanghai
currency: CNY
phone_region: CN
sources:
  - name: events
    entity: online_event
    path: {path}
    format: csv
    settle_seconds: 0
    columns:
      event_id: event_id
      event_name: event_name
      occurred_at: occurred_at
      account_id: account_id
      device_id: device_id
      session_id: session_id
      sku: sku
      search_query: search_query
      quantity: quantity
      unit_price: unit_price
      currency: currency
"""
COLUMNS = (
    "source, source_row_id, event_id, event_name, occurred_at, account_id, device_id, session_id, sku, "
    "search_query, quantity, unit_price, currency, business_date, batch_id"
)


def write_events(path: Path, rows: int) -> None:
    """Events of 90 days in the order of their time, with ids as random as UUIDs."""
    duckdb.sql(f"""
        copy (
            select md5('event' || i) as event_id,
                ['product_viewed', 'product_added', 'products_searched', 'order_completed'][1 + i % 4] as event_name,
                strftime(timestamp '2025-01-01' + to_seconds((i * 7776000 // {rows})::int), '%Y-%m-%dT%H:%M:%S+08:00')
                    as occurred_at,
                'a' || hash(i + 1) % 200000 as account_id, 'd' || hash(i + 2) % 400000 as device_id,
                's' || i // 8 as session_id, 'p' || hash(i + 3) % 20000 as sku,
                case when i % 4 = 2 then '红色 shoes' end as search_query, 1 + hash(i + 5) % 3 as quantity,
                (1 + hash(i + 6) % 9000) / 100.0 as unit_price, 'CNY' as currency
            from range({rows}) t(i)
        ) to '{path}' (header)
    """)


def write_clean(events: Path, path: Path) -> None:
    duckdb.sql(f"""
        copy (select 'events', event_id as key, *, substr(occurred_at, 1, 10), 1
              from read_csv('{events}', all_varchar = true)) to '{path}' (header false)
    """)


class Bench:
    """A warehouse of its own, and the measured ways into it."""

    def __init__(self, folder: Path, events: Path) -> None:
        from portrait.config import load_settings
        from portrait.warehouse import open_warehouse

        (folder / "sources.yaml").write_text(SOURCES.format(path=events))
        self.events, self.clean = events, folder / "clean.csv"
        self.environ = {
            "PORTRAIT_HOME": str(folder / "home"),
            "PORTRAIT_SOURCES": str(folder / "sources.yaml"),
        }
        self.settings = load_settings(self.environ)
        self.warehouse = open_warehouse(self.settings, create=True)

    def empty(self) -> None:
        self.warehouse.execute("truncate raw.online_event, ops.batch cascade")
        self.warehouse.execute("drop table if exists public.copied cascade")
        self.warehouse.execute(
            "create table public.copied (like raw.online_event including all) partition by range (business_date)"
        )
        for month in (1, 2, 3, 4):
            self.warehouse.execute(
                f"create table public.copied_{month} partition of public.copied "
                f"for values from ('2025-{month:02d}-01') to ('2025-{month + 1:02d}-01')"
            )
        with self.warehouse.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.exec_driver_sql("checkpoint")

    def copy(self) -> float:
        from portrait.warehouse.server import psql_path

        self.empty()
        return timed(
            lambda: subprocess.run(
                [psql_path(), self.warehouse.libpq_uri, "-qc",
                 f"\\copy public.copied ({COLUMNS}) from '{self.clean}' csv"], check=True,
            )
        )  # fmt: skip

    def pull(self, empty: bool = True) -> tuple[float, float, float, str]:
        """Seconds, peak MB of the process and of PostgreSQL, and what became of the rows; in a process of its own."""
        if empty:
            self.empty()
        started = time.perf_counter()
        process = subprocess.Popen(
            [sys.executable, "-c", "from portrait.cli import main; main()", "pull", "events", "--date", str(AS_OF)],
            env={**os.environ, **self.environ, "PORTRAIT_LOG_LEVEL": "ERROR"}, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        peak, server = watch(process, self.postmaster)
        said, _ = process.communicate()
        if process.returncode:
            sys.exit("the pull failed")
        return time.perf_counter() - started, peak, server, said.strip()

    @property
    def postmaster(self) -> psutil.Process:
        from portrait.warehouse.server import data_dir

        pid = (data_dir(self.settings.server_dir) / "postmaster.pid").read_text().splitlines()[0]
        return psutil.Process(int(pid))

    def to_sql(self) -> float:
        """Seconds a row."""
        self.empty()
        names = [c.strip() for c in COLUMNS.split(",")]
        frame = pd.read_csv(self.clean, names=names, nrows=PANDAS_ROWS, dtype=str)
        seconds = timed(
            lambda: frame.to_sql(
                "copied", self.warehouse.engine, schema="public", if_exists="append", index=False, dtype=None
            )
        )
        return seconds / PANDAS_ROWS


def timed(call: Callable[[], object]) -> float:
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


def watch(process: subprocess.Popen[str], postmaster: psutil.Process) -> tuple[float, float]:
    """Peak RSS of a process and peak PSS of PostgreSQL's processes, in MB."""
    peaks = [0.0, 0.0]
    done = threading.Event()

    def look() -> None:
        own = psutil.Process(process.pid)
        while not done.wait(0.2):
            try:
                peaks[0] = max(peaks[0], own.memory_info().rss / 1e6)
                peaks[1] = max(peaks[1], sum(p.memory_full_info().pss for p in postmaster.children()) / 1e6)
            except psutil.Error:
                continue

    thread = threading.Thread(target=look)
    thread.start()
    process.wait()
    done.set()
    thread.join()
    return peaks[0], peaks[1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--rows", type=int, default=5_000_000)
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--sizes", default="1000000,5000000,20000000", help="for memory, once each")
    arguments = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="portrait-bench-"))
    bench = None
    try:
        events = folder / "events.csv"
        write_events(events, arguments.rows)
        bench = Bench(folder, events)
        write_clean(events, bench.clean)
        print(
            f"{arguments.rows:,} events, {events.stat().st_size / 1e6:,.0f} MB as CSV; median of {arguments.repeat}"
        )
        compare(bench, arguments.rows, arguments.repeat)
        for rows in map(int, arguments.sizes.split(",")):
            write_events(events, rows)
            seconds, peak, server, _ = bench.pull()
            print(f"{rows:>12,} rows: {seconds:6.1f} s, peak {peak:5,.0f} MB, PostgreSQL {server:5,.0f} MB")
    finally:
        if bench is not None:
            from portrait.warehouse.server import stop_server

            stop_server(bench.settings.server_dir)
        shutil.rmtree(folder, ignore_errors=True)


def compare(bench: Bench, rows: int, repeat: int) -> None:
    copies, pulls, again, changed, to_sql = [], [], [], [], []
    for turn in range(repeat):
        copies.append(bench.copy())
        seconds, *_ = bench.pull()
        pulls.append(seconds)
        os.utime(bench.events)
        seconds, *_, said = bench.pull(empty=False)
        again.append(seconds)
        if f"{rows + turn} unchanged" not in said:
            sys.exit(f"a second delivery changed something: {said}")
        with bench.events.open("a") as file:
            file.write(f"extra{turn},product_viewed,2025-03-01T12:00:00+08:00,a1,d1,s1,p1,,1,1.00,CNY\n")
        seconds, *_, said = bench.pull(empty=False)
        changed.append(seconds)
        if "1 inserted" not in said:
            sys.exit(f"the row that was added is not there: {said}")
        to_sql.append(bench.to_sql() * rows)
        print(
            f"  turn {turn + 1}: \\copy {copies[-1]:.1f} s, pull {pulls[-1]:.1f} s, again {again[-1]:.1f} s, "
            f"again with a row more {changed[-1]:.1f} s",
            flush=True,
        )
    base, first = statistics.median(copies), statistics.median(pulls)
    for name, seconds, target in (
        ("psql \\copy of clean rows", base, ""),
        ("pull (read, validate, dedupe, upsert)", first, f"{first / base:.2f} x \\copy; target 1.5"),
        ("the same file again", statistics.median(again), f"{statistics.median(again) / first:.0%} of the pull; target 30 %"),
        ("the file again with one row more", statistics.median(changed), f"{statistics.median(changed) / first:.0%} of the pull"),
        (f"pandas to_sql (from {PANDAS_ROWS:,} rows)", statistics.median(to_sql),
         f"the pull is {statistics.median(to_sql) / first:.0f} x as fast; target 20"),
    ):  # fmt: skip
        print(f"{textwrap.shorten(name, 60):<42} {seconds:8.1f} s  {target}")


if __name__ == "__main__":
    main()
