"""Features at size: a full build, a night that goes on from it, twice the events, hand-written SQL and plain pandas.

    python benchmarks/features.py                        # 50M events, 1M customers, 20k items
    python benchmarks/features.py --events 10000000 --night-events 100000 --only full,night
    python benchmarks/features.py --only pandas --pandas-events 2000000,5000000

The lake and the identity map are generated (not timed) as the snapshot and the identity stage leave them: sessions of
eight events over a year, six of ten logged in, one event in seven a receipt line. Every build runs in a process of its
own, whose peak memory (RSS) is sampled five times a second. A night must touch less than half of the customers to be
one: with fewer `--events` give `--night-events` a hundredth of them. pandas (`features_pandas.py`) computes and writes
all the same tables and matrices on `--pandas-events`, where Portrait is timed as well; text vectors are left out on both
sides. LOG=1 shows the seconds by the clock and of the processor of each step.

Measured, with conditions and what stands in the way: docs/decisions/0011. In short, on two idle cores: 50M events 159 s and
4.4 GB, a night of 500,000 more 55.9 s (35 %; target 20 %), twice the events 2.00 x the time, 1.39 x SQL by hand; pandas
at 10M events 89.2 s, Portrait without text 30.7 s (2.9 x; target 15 x).
"""

import argparse
import json
import multiprocessing
import os
import resource
import shutil
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import duckdb
import psutil
import pyarrow as pa
import pyarrow.parquet as pq
from portrait.config import Settings, load_settings
from portrait.features.build import build, features_dir
from portrait.features.codes import MADE_WITH, code_of
from portrait.features.lake import LakeFile, LakeTable, Manifest
from portrait.identity import map_path
from portrait.run import Run

LAST = date(2025, 12, 30)
DAYS = 365
ITEMS = 20_000
NIGHT = 500_000
"""Events of the night that goes on."""
PARTS = ("full", "night", "half", "sql", "pandas")


class Shop:
    """A lake of generated events: `customers` people, a fiftieth of the events."""

    def __init__(self, home: Path, events: int, memory_limit: str) -> None:
        settings = load_settings({"PORTRAIT_HOME": str(home)})
        tuned = settings.features.model_copy(update={"memory_limit": memory_limit})
        self.settings: Settings = settings.model_copy(update={"features": tuned})
        self.events, self.customers = events, events // 50
        self.engine = duckdb.connect()
        self.manifest = Manifest(self.settings.lake_dir / "manifest.json", f"benchmark, {MADE_WITH}")
        self.sessions = 0

    def fill(self) -> None:
        """A year of days, products and members."""
        for number in range(DAYS):
            self.day(LAST - timedelta(days=DAYS - 1 - number), self.events // DAYS)
        self._whole(
            "product",
            f"""select 's' || i as sku, 'product ' || i as name, 'brand ' || (i % 300) as brand,
                'group ' || (i % 12) as category_1, 'category ' || (i % 80) as category_2,
                round(5 + random() * 500, 2) as list_price from range({ITEMS}) as t(i)""",
        )
        self._whole("member", "select 'm' || i as member_id from range(0) as t(i)")
        self.manifest.write()

    def day(self, day: date, events: int) -> None:
        """Write one business date to the lake."""
        online, lines = events * 6 // 7, events // 7
        first, self.sessions = self.sessions, self.sessions + online // 8 + 1
        # A few customers come often: the square of a uniform draw.
        self._write(
            "online_event",
            day,
            f"""
            select 'e' || (session * 8 + n) as source_row_id, 'e' || (session * 8 + n) as event_id,
                case when n in (0, 1, 2, 4) then 'product_viewed' when n = 3 then 'products_searched'
                     when n = 5 then 'product_added' when n = 6 and session % 4 = 0 then 'product_favorited'
                     when n = 7 and session % 3 = 0 then 'order_completed' else 'product_viewed' end as event_name,
                case when session % 10 < 6 then {code_of("'a' || person")} end as account_code,
                {code_of("'d' || person")} as device_code, 's' || session as session_id,
                case when n <> 3 then 's' || item end as sku,
                case when n = 3 then 'query ' || (item % 3000) end as search_query,
                case when n = 7 then 1.0 end as quantity, case when n = 7 then 10.0 + item % 90 end as amount,
                case when n = 7 then 'o' || session end as order_id,
                timestamptz '{day} 00:00:00+00' + to_seconds((session * 7919) % 80000 + n * 40) as occurred_at,
                (((session * 7919) % 80000) // 3600)::tinyint as local_hour
            from (select session, n, floor({self.customers} * pow(hash(session) / 2e19 + 0.0774, 2))::bigint % {self.customers} as person,
                         floor({ITEMS} * pow(hash(session * 8 + n) / 1.8446744073709552e19, 3))::bigint as item
                  from range({first}, {first + online // 8}) as s(session), range(8) as e(n))
        """,
        )
        receipts = lines // 3
        key = """'st' || (receipt % 200) as store_id, 'w' || (receipt % 4) as workstation_id, receipt as sequence_number"""
        number = f"({day.toordinal()}::bigint * 1000003 + receipt)"
        self._write(
            "pos_receipt",
            day,
            f"""
            select 'r' || receipt as source_row_id, {key}, 'sale' as kind, 10.0 as total_amount,
                {code_of(f"'c' || floor({self.customers} * pow(hash({number}) / 1.8446744073709552e19, 2))::bigint")} as card_code,
                timestamptz '{day} 04:00:00+00' + to_seconds(receipt % 36000) as occurred_at, 12::tinyint as local_hour
            from range({receipts}) as t(receipt)
        """,
        )
        self._write(
            "pos_receipt_line",
            day,
            f"""
            select 'l' || (receipt * 3 + line) as source_row_id, {key}, line as line_number,
                's' || floor({ITEMS} * pow(hash({number} * 3 + line) / 1.8446744073709552e19, 3))::bigint as sku,
                1.0 as quantity, 20.0 as unit_price, (receipt % 5)::double as discount_amount,
                20.0 - receipt % 5 as line_amount
            from range({receipts}) as t(receipt), range(3) as l(line)
        """,
        )

    def _write(self, name: str, day: date, sql: str) -> None:
        table = LakeTable(self.settings.lake_dir, name)
        schema = table.schema.remove(table.schema.get_field_index("business_date"))
        self._file(name, table.file(day), schema, sql)
        self.manifest.files.setdefault(name, {})[str(day)] = LakeFile(0, f"{day} of {self.events}")

    def _whole(self, name: str, sql: str) -> None:
        table = LakeTable(self.settings.lake_dir, name)
        self._file(name, table.file(), table.schema, sql)

    def _file(self, name: str, path: Path, schema: pa.Schema, sql: str) -> None:
        found = self.engine.sql(sql).to_arrow_table()
        defaults = {"source": "bench", "batch_id": 1, "business_date": date(2024, 1, 1), "source_row_id": "x"}
        columns = [
            found[f.name].cast(f.type) if f.name in found.schema.names
            else pa.array([defaults.get(f.name)] * 1, f.type).take(pa.array([0] * found.num_rows, pa.int32()))
            for f in schema
        ]  # fmt: skip
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.table(columns, schema=schema), path, compression="zstd")

    def run(self, day: date, attempt: int = 1) -> Run:
        """A run with an identity map: everybody has a card, an account and a device; a tenth have none but a device."""
        run = Run(f"{day}.{attempt}", day)
        path = map_path(self.settings, run)
        path.parent.mkdir(parents=True, exist_ok=True)
        self.engine.execute(f"""
            copy (select kind, left(kind, 1) || i as value, printf('C%016x', hash(i)) as customer_id,
                         null::date as valid_from, null::date as valid_to
                  from range({self.customers}) as t(i), (values ('card'), ('account'), ('device')) as k(kind)
                  where kind = 'device' or i % 10 > 0)
            to '{path}' (format parquet, compression zstd)""")
        return run


def in_process(call: Callable[..., Any], *arguments: Any) -> tuple["Cost", Any]:
    """What a call costs in a process of its own, and its result."""
    context = multiprocessing.get_context("spawn")
    queue = context.Queue()
    process = context.Process(target=_call, args=(queue, call, arguments))
    started = time.perf_counter()
    process.start()
    peak, done = [0.0], threading.Event()

    def watch() -> None:
        own = psutil.Process(process.pid)
        while not done.wait(0.2):
            try:
                peak[0] = max(peak[0], own.memory_info().rss / 1e6)
            except psutil.Error:
                return

    watcher = threading.Thread(target=watch)
    watcher.start()
    result, cpu = queue.get()
    process.join()
    done.set()
    watcher.join()
    if isinstance(result, BaseException):
        raise result
    return Cost(time.perf_counter() - started, cpu, peak[0]), result


@dataclass(frozen=True)
class Cost:
    """Seconds by the clock, of processor time, and peak MB of a process."""

    seconds: float
    cpu: float
    peak: float

    def __str__(self) -> str:
        return f"{self.seconds:.1f} s (processor {self.cpu:.1f} s), peak {self.peak:,.0f} MB"


def _call(queue: Any, call: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    import logging

    logging.basicConfig(
        level=logging.INFO if os.environ.get("LOG") else logging.WARNING, format="    %(message)s"
    )
    try:
        result = call(*arguments)
    except BaseException as error:
        result = error
    used = resource.getrusage(resource.RUSAGE_SELF)
    queue.put((result, used.ru_utime + used.ru_stime))


def build_once(settings: Settings, run: Run) -> dict[str, int]:
    return build(settings, run).as_dict()


def families_once(settings: Settings, run: Run) -> float:
    """Seconds of RFM and affinity on the attributed rows, by the expressions of `portrait.features`."""
    from portrait.features.affinity import affinity
    from portrait.features.engine import DuckDBEngine
    from portrait.features.rfm import finish, rfm

    folder = features_dir(settings, run)
    engine = DuckDBEngine(settings.features.memory_limit, folder / "spill")
    rows, catalogue = engine.read(folder / "rows.parquet"), engine.read(folder / "catalogue.parquet")
    started = time.perf_counter()
    engine.write(finish(rfm(rows, settings.features, run.as_of), run.as_of), folder / "bench_rfm.parquet")
    engine.write(affinity(rows, catalogue, settings.features), folder / "bench_affinity.parquet")
    return time.perf_counter() - started


def sql_once(settings: Settings, run: Run) -> float:
    """Seconds of the same two tables by SQL written by hand."""
    from portrait.features.affinity import DIMENSIONS, MOST, OF_PRODUCTS
    from portrait.features.families.rhythm import DAYPARTS

    folder, config = features_dir(settings, run), settings.features
    engine = duckdb.connect()
    engine.execute(f"set memory_limit = '{config.memory_limit}'; set threads = 2")
    engine.execute(f"set temp_directory = '{folder / 'spill'}'; set preserve_insertion_order = false")
    engine.execute("set enable_progress_bar = false")
    weights = " ".join(f"when '{e}' then {w}" for e, w in config.behaviour_weights.items())
    named = ", ".join(f"'{e}'" for e in config.behaviour_weights)
    windows = ", ".join(
        f"count(*) filter (age < {d}) as frequency_{d}d, sum(amount) filter (age < {d}) as monetary_{d}d"
        for d in (30, 90, 365)
    )
    started = time.perf_counter()
    engine.execute(f"""
        copy (
            with basket as (
                select customer, channel, basket, min(business_date) as day, sum(amount) as amount, sum(quantity) as items
                from '{folder}/rows.parquet' where event_name in ('order_completed', 'pos_sale') group by all
            ), aged as (select *, date '{run.as_of}' - day as age from basket), buyer as (
                select customer, min(day) as first, max(day) as last, min(age) as recency, count(*) as frequency,
                       sum(amount) as monetary, sum(items) as items, count(distinct day) as days,
                       sum(amount) filter (channel = 'store') as store_monetary, {windows}
                from aged group by customer
            ), back as (
                select customer, sum(amount) as refunded from '{folder}/rows.parquet'
                where event_name in ('order_refunded', 'pos_return') group by customer
            )
            select *, ntile(5) over (order by recency desc) as r, ntile(5) over (order by frequency) as f,
                   ntile(5) over (order by monetary) as m
            from buyer left join back using (customer)
        ) to '{folder}/bench_sql_rfm.parquet' (format parquet, compression zstd)
    """)
    engine.execute(f"""
        create temp table shown as
        select customer, item, channel, store_id as store, business_date,
               case {" ".join(f"when local_hour >= {a} and local_hour < {b} then '{name}'" for name, (a, b) in DAYPARTS.items())} end as daypart,
               (case event_name {weights} end) * pow(0.5, (date '{run.as_of}' - business_date) / {config.half_life_days}) as weight
        from '{folder}/rows.parquet' where event_name in ({named})
    """)
    engine.execute(f"""
        create temp table looked_at as
        select customer, category, brand, price_tier::varchar as price_band, sqrt(sum(weight)) as weight,
               count(*) as evidence, max(business_date) as last_on
        from shown join '{folder}/catalogue.parquet' using (item) group by customer, item, category, brand, price_band
    """)
    for dimension in DIMENSIONS:
        source, evidence = (
            ("looked_at", "sum(evidence)") if dimension in OF_PRODUCTS else ("shown", "count(*)")
        )
        last = "last_on" if dimension in OF_PRODUCTS else "business_date"
        engine.execute(f"""
            copy (
                select *, row_number() over (partition by customer order by weight desc, value) as rank,
                       weight / sum(weight) over (partition by customer) as score
                from (
                    select customer, {dimension} as value, {evidence} as evidence, max({last}) as last_on, sum(weight) as weight
                    from {source} where {dimension} is not null group by 1, 2
                ) qualify rank <= {min(config.affinity_top, MOST.get(dimension, config.affinity_top))}
            ) to '{folder}/bench_sql_{dimension}.parquet' (format parquet, compression zstd)
        """)
    return time.perf_counter() - started


def without_text_once(settings: Settings, run: Run) -> dict[str, int]:
    """A build without text vectors, which pandas has no equivalent of."""
    from portrait.features.build import Night

    Night._text = lambda *_: None  # type: ignore[method-assign]
    return build(settings, run).as_dict()


def pandas_once(settings: Settings, run: Run) -> dict[str, int]:
    """The same tables and matrices with pandas, computed and written."""
    from features_pandas import PandasFeatures

    folder = features_dir(settings, run)
    made = PandasFeatures(settings, run, folder / "state" / "owners.parquet")
    made.write(folder / "pandas")
    cells = made.matrices["full_weights"].nnz
    return {**{name: len(table) for name, table in made.tables.items()}, "cells": cells}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--events", type=int, default=50_000_000)
    parser.add_argument("--night-events", type=int, default=NIGHT, help="of the night that goes on")
    parser.add_argument("--pandas-events", default="5000000", help="one size or several, with commas")
    parser.add_argument("--memory-limit", default="4GB", help="of DuckDB")
    parser.add_argument("--only", default=",".join(PARTS), help=f"of {', '.join(PARTS)}")
    arguments = parser.parse_args()
    parts = set(arguments.only.split(","))
    folder = Path(tempfile.mkdtemp(prefix="portrait-bench-"))
    print(f"load average {os.getloadavg()}")
    try:
        alone = {"full", "night", "half", "sql"} & parts
        if alone:
            full = at_size(
                folder / "full", arguments.events, arguments.memory_limit, parts, arguments.night_events
            )
        if "half" in parts:
            half = at_size(folder / "half", arguments.events // 2, arguments.memory_limit, {"full"}, 0)
            print(f"twice the events take {full.seconds / half.seconds:.2f} x the time, "
                  f"{full.cpu / half.cpu:.2f} x the processor time; target 2.2", flush=True)  # fmt: skip
        if "pandas" in parts:
            for events in map(int, arguments.pandas_events.split(",")):
                against_pandas(folder / "pandas", events, arguments.memory_limit)
    finally:
        shutil.rmtree(folder)


def at_size(home: Path, events: int, memory_limit: str, parts: set[str], night_events: int) -> Cost:
    """What a full build costs; prints it and the others."""
    shop = Shop(home, events, memory_limit)
    shop.fill()
    run = shop.run(LAST)
    cost, result = in_process(build_once, shop.settings, run)
    print(f"{events:,} events, {shop.customers:,} customers: {cost}; {json.dumps(result)}", flush=True)
    if "night" in parts:
        tomorrow = LAST + timedelta(days=1)
        shop.day(tomorrow, night_events)
        shop.manifest.write()
        night, result = in_process(build_once, shop.settings, shop.run(tomorrow))
        share = 100 * result["computed"] / shop.customers
        print(f"a night with {night_events:,} more: {night}; {100 * night.seconds / cost.seconds:.0f} % of it by the clock, "
              f"{100 * night.cpu / cost.cpu:.0f} % of its processor time (target 20); {share:.0f} % of customers computed",
              flush=True)  # fmt: skip
    if "sql" in parts:
        against_sql(shop, run)
    shutil.rmtree(home)
    return cost


def against_sql(shop: Shop, run: Run) -> None:
    rows = features_dir(shop.settings, run) / "rows.parquet"
    in_process(rows_once, shop.settings, run, rows)
    ours = sorted(in_process(families_once, shop.settings, run)[1] for _ in range(3))[1]
    theirs = sorted(in_process(sql_once, shop.settings, run)[1] for _ in range(3))[1]
    print(
        f"RFM + affinity: {ours:.1f} s, SQL by hand {theirs:.1f} s: {ours / theirs:.2f} x; target 2",
        flush=True,
    )


def rows_once(settings: Settings, run: Run, target: Path) -> None:
    """The attributed rows of a run, which a build does not keep."""
    from portrait.features.build import Night
    from portrait.features.engine import open_engine
    from portrait.features.state import read_state

    working = target.parent / "working"
    working.mkdir(exist_ok=True)
    with open_engine(settings, working) as engine:
        night = Night(engine, settings, run, working, working)
        state = read_state(settings, target.parent)
        assert state is not None
        from portrait.features.facts import update_facts

        night.facts = update_facts(engine, settings)
        night.owners = engine.read(state.owners)
        night._rows(None)
    (working / "rows.parquet").replace(target)


def against_pandas(home: Path, events: int, memory_limit: str) -> None:
    shop = Shop(home, events, memory_limit)
    shop.fill()
    run = shop.run(LAST)
    ours, _ = in_process(without_text_once, shop.settings, run)
    theirs, result = in_process(pandas_once, shop.settings, run)
    print(f"{events:,} events without text: {ours}; pandas {theirs}; {theirs.seconds / ours.seconds:.1f} x by the clock "
          f"(target 15), {theirs.cpu / ours.cpu:.1f} x the processor time; {json.dumps(result)}", flush=True)  # fmt: skip
    shutil.rmtree(home)


if __name__ == "__main__":
    main()
