"""Identity resolution at size: a full rebuild, an incremental night, and Splink's deterministic link on the same data.

    python benchmarks/identity.py                      # 10M sightings, 3M identifiers, 1M customers
    python benchmarks/identity.py --scale 0.1

`raw.*` is filled by COPY and is not timed. A sighting is a row of `raw` with at least one identifier. Peak memory is
that of this process and of its PostgreSQL backends (proportional set size), sampled five times a second.
"""

import argparse
import contextlib
import logging
import multiprocessing
import shutil
import tempfile
import threading
import time
from collections.abc import Iterable, Iterator
from datetime import date, timedelta
from multiprocessing.queues import Queue
from pathlib import Path

import numpy as np
import psutil
import pyarrow as pa
import pyarrow.compute as pc
from portrait.config import Settings, load_settings
from portrait.identity import map_path, resolve
from portrait.run import Run
from portrait.warehouse import Warehouse, open_warehouse
from portrait.warehouse.partitions import ensure_months, months_of
from portrait.warehouse.server import stop_server

FIRST = date(2025, 1, 1)
DAYS = 90


class Crowd:
    """One million people (times scale): 60 % have a card, 60 % an account, 20 % both; 3M identifiers."""

    def __init__(self, scale: float) -> None:
        self.people = int(1_000_000 * scale)
        rng = np.random.default_rng(1)
        draw = rng.random(self.people)
        self.card, self.account = draw < 0.6, draw >= 0.4
        self.email = rng.random(self.people) < 0.4
        self.second_device = rng.random(self.people) < 0.1
        self.scale = scale

    def hashed(self, kind: int, person: np.ndarray, mask: np.ndarray | None = None) -> pa.Array:
        """Values as long as a keyed hash."""
        number = person.astype(np.uint64) * np.uint64(8) + np.uint64(kind)
        mixed = number * np.uint64(0x9E3779B97F4A7C15)
        digits = [pa.array(_hex(mixed ^ np.uint64(0x1234567 * n))) for n in (1, 2, 3, 4)]
        text = pc.binary_join_element_wise(pa.scalar("v1:"), *digits, "")
        return text if mask is None else pc.if_else(pa.array(mask), text, pa.scalar(None, pa.string()))


def _hex(number: np.ndarray) -> np.ndarray:
    octets = np.ascontiguousarray(number).view(np.uint8).reshape(-1, 8)
    table = np.frombuffer(b"".join(b"%02x" % i for i in range(256)), "S2")
    return np.ascontiguousarray(table[octets]).view("S16").reshape(-1).astype(str)


def names(prefix: str, number: np.ndarray, mask: np.ndarray | None = None) -> pa.Array:
    text = pc.binary_join_element_wise(prefix, pa.array(number).cast(pa.string()), "")
    return text if mask is None else pc.if_else(pa.array(mask), text, pa.scalar(None, pa.string()))


def load(warehouse: Warehouse, entity: str, tables: Iterable[pa.Table], day: date) -> int:
    """One batch of `raw.<entity>`; gives its rows."""
    rows = 0
    batch = warehouse.scalar("select nextval(pg_get_serial_sequence('ops.batch', 'batch_id'))")
    warehouse.execute(
        "insert into ops.batch (batch_id, source, entity, business_date, status, finished_at) "
        "overriding system value values (:b, 'bench', :e, :d, 'loaded', now())",
        b=batch, e=entity, d=day,
    )  # fmt: skip
    days: set[date] = set()
    for table in tables:
        rows += table.num_rows
        days |= set(pc.unique(table["business_date"]).to_pylist())
        table = table.append_column("batch_id", pa.repeat(pa.scalar(batch, pa.int64()), table.num_rows))
        table = table.append_column("source", pa.repeat("bench", table.num_rows))
        warehouse.copy_in("raw", entity, table)
    for one in days:
        warehouse.execute("insert into ops.batch_partition values (:b, :e, :d, 1)", b=batch, e=entity, d=one)
    return rows


def members(crowd: Crowd) -> list[pa.Table]:
    tables = []
    for who, is_card in ((np.flatnonzero(crowd.card), True), (np.flatnonzero(crowd.account), False)):
        first = pa.repeat(pa.scalar(FIRST, pa.date32()), len(who))
        tables.append(
            pa.table(
                {
                    "source_row_id": names("m" if is_card else "u", who),
                    "member_id": names("m" if is_card else "u", who),
                    "card_hash": crowd.hashed(0, who, np.full(len(who), is_card)),
                    "account_id": names("u", who, np.full(len(who), not is_card)),
                    "phone_hash": crowd.hashed(1, who, who % 10 < 8),
                    "email_hash": crowd.hashed(2, who, crowd.email[who]),
                    "business_date": first,
                }
            )
        )
    return tables


def events(crowd: Crowd, rows: int, seed: int, first: date, days: int) -> Iterator[pa.Table]:
    rng = np.random.default_rng(seed)
    online = np.flatnonzero(crowd.account)
    for start in range(0, rows, 1_000_000):
        n = min(1_000_000, rows - start)
        who = rng.choice(online, n)
        second = (rng.random(n) < 0.3) & crowd.second_device[who]
        day = rng.integers(0, days, n)
        dates = (np.datetime64(first) + day.astype("timedelta64[D]")).astype("datetime64[D]")
        ids = names(f"e{seed}-", start + np.arange(n))
        yield pa.table(
            {
                "source_row_id": ids,
                "event_id": ids,
                "event_name": pa.repeat("product_viewed", n),
                "occurred_at": pa.array(dates.astype("datetime64[us]"), pa.timestamp("us")).cast(
                    pa.timestamp("us", "UTC")
                ),
                "account_id": names("u", who, rng.random(n) < 0.75),
                "device_id": names("d", who * 2 + second),
                "business_date": pa.array(dates),
            }
        )


def receipts(crowd: Crowd, rows: int, seed: int, first: date, days: int) -> Iterator[pa.Table]:
    rng = np.random.default_rng(seed)
    shoppers = np.flatnonzero(crowd.card)
    for start in range(0, rows, 1_000_000):
        n = min(1_000_000, rows - start)
        who = rng.choice(shoppers, n)
        day = rng.integers(0, days, n)
        dates = (np.datetime64(first) + day.astype("timedelta64[D]")).astype("datetime64[D]")
        carded = rng.random(n) < 0.9
        till = rng.random(n) < 0.02
        phone = np.where(till, -1 - rng.integers(0, 200, n), who)
        yield pa.table(
            {
                "source_row_id": names(f"r{seed}-", start + np.arange(n)),
                "store_id": pa.repeat("s", n),
                "workstation_id": pa.repeat(str(seed), n),
                "sequence_number": pa.array(start + np.arange(n)),
                "occurred_at": pa.array(dates.astype("datetime64[us]"), pa.timestamp("us")).cast(
                    pa.timestamp("us", "UTC")
                ),
                "card_hash": crowd.hashed(0, who, carded),
                "phone_hash": crowd.hashed(1, phone.astype(np.int64), ~carded | (rng.random(n) < 0.15)),
                "kind": pa.repeat("sale", n),
                "total_amount": pa.array(np.ones(n, np.int64)).cast(pa.decimal128(19, 0)),
                "business_date": pa.array(dates),
            }
        )


def fill(settings: Settings, scale: float, history: bool, rows: "Queue[int]") -> None:
    """Load the history, or the day after it with 1 % as many rows."""
    warehouse, crowd = open_warehouse(settings), Crowd(scale)
    tonight = FIRST + timedelta(days=DAYS)
    if not history:
        found = load(warehouse, "online_event", events(crowd, int(75_000 * scale), 2, tonight, 1), tonight)
        rows.put(
            found
            + load(warehouse, "pos_receipt", receipts(crowd, int(25_000 * scale), 2, tonight, 1), tonight)
        )
        return
    for entity in ("online_event", "pos_receipt"):
        ensure_months(warehouse, entity, months_of(FIRST + timedelta(days=d) for d in range(DAYS + 2)))
    found = load(warehouse, "member", members(crowd), FIRST)
    found += load(warehouse, "online_event", events(crowd, int(6_300_000 * scale), 1, FIRST, DAYS), tonight)
    rows.put(
        found
        + load(warehouse, "pos_receipt", receipts(crowd, int(2_500_000 * scale), 1, FIRST, DAYS), tonight)
    )


def in_child(settings: Settings, scale: float, history: bool) -> int:
    """`fill` in a process of its own, whose memory is not measured."""
    spawn = multiprocessing.get_context("spawn")
    rows: Queue[int] = spawn.Queue()
    child = spawn.Process(target=fill, args=(settings, scale, history, rows))
    child.start()
    found = rows.get(timeout=1800)
    child.join()
    return found


@contextlib.contextmanager
def peak(postmaster: int | None) -> Iterator[dict[str, float]]:
    """Highest memory while the block runs, in MB: `own` (RSS) and `server` (PSS of PostgreSQL's processes)."""
    found = {"own": 0.0, "server": 0.0}
    done = threading.Event()
    me = psutil.Process()

    def look() -> None:
        while not done.wait(0.2):
            found["own"] = max(found["own"], me.memory_info().rss / 1e6)
            if postmaster:
                with contextlib.suppress(psutil.Error):
                    children = psutil.Process(postmaster).children(recursive=True)
                    found["server"] = max(
                        found["server"], sum(c.memory_full_info().pss for c in children) / 1e6
                    )

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield found
    finally:
        done.set()
        thread.join()


def splink(warehouse: Warehouse) -> tuple[float, float, int]:
    """Seconds to read the rows, seconds of Splink's deterministic link and clustering, clusters."""
    import duckdb
    from splink import DuckDBAPI, Linker, SettingsCreator, block_on

    started = time.monotonic()
    engine = duckdb.connect()
    engine.execute("set threads = 2")
    engine.execute("set memory_limit = '3GB'")
    kinds = ("card_hash", "account_id", "phone_hash", "email_hash", "device_id")
    held = {"online_event": ("account_id", "device_id"), "pos_receipt": ("card_hash", "phone_hash"),
            "member": ("card_hash", "account_id", "phone_hash", "email_hash")}  # fmt: skip
    parts = []
    for entity, columns in held.items():
        listed = ", ".join(k if k in columns else f"null::text as {k}" for k in kinds)
        with warehouse.arrow_reader(f"select {listed} from raw.{entity}") as rows:
            engine.register("rows", rows)
            engine.execute(f"create table {entity} as select distinct * from rows")
            engine.unregister("rows")
        parts.append(f"select * from {entity}")
    engine.execute(
        f"create table people as select row_number() over () as unique_id, * from ({' union '.join(parts)})"
    )
    read = time.monotonic() - started
    started = time.monotonic()
    settings = SettingsCreator(
        link_type="dedupe_only",
        blocking_rules_to_generate_predictions=[block_on(k) for k in kinds],
    )
    linker = Linker(DuckDBAPI(connection=engine).register("people"), settings, log_level="WARNING")
    edges = linker.inference.deterministic_link()
    clusters = linker.clustering.cluster_pairwise_predictions_at_threshold(edges)
    count = engine.execute(f"select count(distinct cluster_id) from {clusters.physical_name}").fetchall()[0][
        0
    ]
    return read, time.monotonic() - started, count


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--scale", type=float, default=1.0)
    parser.add_argument("--no-splink", action="store_true")
    parser.add_argument("--log", action="store_true", help="seconds of each step")
    arguments = parser.parse_args()
    if arguments.log:
        logging.basicConfig(level=logging.INFO, format="  %(message)s")
    folder = Path(tempfile.mkdtemp(prefix="portrait-identity-"))
    config = folder / "sources.yaml"
    config.write_text(
        "workspace: bench\ntimezone: Asia/Shanghai\ncurrency: CNY\nphone_region: CN\nsources:\n"
        "  - {name: stores, entity: store, path: stores.csv, format: csv, columns: {store_id: store_id, name: name}}\n"
    )
    settings = load_settings(
        {"PORTRAIT_HOME": str(folder / "home"), "PORTRAIT_SOURCES": str(config), "PORTRAIT_PII_KEY": "bench"}
    )
    try:
        warehouse = open_warehouse(settings, create=True)
        rows = in_child(settings, arguments.scale, True)
        pid = (
            int((settings.server_dir / "postmaster.pid").read_text().split()[0])
            if (settings.server_dir / "postmaster.pid").exists()
            else None
        )
        as_of = FIRST + timedelta(days=DAYS - 1)
        print(f"load average {psutil.getloadavg()}; {rows:,} sightings", flush=True)
        with peak(pid) as memory:
            started = time.monotonic()
            result = resolve(settings, Run(f"{as_of}.1", as_of), rebuild=True)
            full = time.monotonic() - started
        print(
            f"full rebuild: {full:.1f} s, own {memory['own']:,.0f} MB, PostgreSQL {memory['server']:,.0f} MB; {result.as_dict()}",
            flush=True,
        )
        tonight = as_of + timedelta(days=1)
        more = in_child(settings, arguments.scale, False)
        with peak(pid) as memory:
            started = time.monotonic()
            result = resolve(settings, Run(f"{tonight}.1", tonight))
            night = time.monotonic() - started
        print(
            f"a night with {more:,} new sightings: {night:.1f} s = {night / full:.1%} of the rebuild, "
            f"own {memory['own']:,.0f} MB; {result.as_dict()}", flush=True
        )  # fmt: skip
        size = map_path(settings, Run(f"{tonight}.1", tonight)).stat().st_size / 1e6
        print(f"map {size:,.0f} MB; load average {psutil.getloadavg()}", flush=True)
        if not arguments.no_splink:
            with peak(pid) as memory:
                read, seconds, clusters = splink(warehouse)
            print(
                f"Splink deterministic link + clustering: {seconds:.1f} s after {read:.1f} s of reading, own {memory['own']:,.0f} MB, {clusters:,} clusters"
            )
    finally:
        with contextlib.suppress(Exception):
            stop_server(settings.server_dir)
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
