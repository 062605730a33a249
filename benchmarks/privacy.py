"""Erasing many customers of a large warehouse: how long it takes, who waits for it meanwhile, and whether it is clean.

    python benchmarks/privacy.py --customers 50000 --events 1000000 --erase 1000

Makes a warehouse of its own in a temporary folder (`TMPDIR` says where): accounts with a device and a card each, events
and receipts over 24 months, the identity record, one published night, and the lake unless `--no-lake`. Beside the erasure
run a reader of the published profile, a writer that loads events and receipts in small batches, and a publisher that moves
the pointer. Each says how long its slowest statement took, alone and beside the erasure; a sampler of `pg_locks` says how
much of that was waiting for a lock. At last the verifier looks for traces, finds none, and then finds those that were planted.
"""

import argparse
import logging
import multiprocessing
import sys
import tempfile
import threading
import time
from datetime import date
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from portrait import stages
from portrait.config import Settings, load_settings
from portrait.privacy.erase import erase
from portrait.privacy.verify import verify
from portrait.profiles.tables import TABLES
from portrait.run import Run
from portrait.warehouse import Warehouse, open_warehouse
from portrait.warehouse.partitions import ensure_months
from portrait.warehouse.server import stop_server
from sqlalchemy import URL, create_engine

MONTHS = [date(2024 + m // 12, m % 12 + 1, 1) for m in range(24)]
DAYS = 730
RUN = "2025-12-31.1"
AT_A_TIME = 5_000_000


def fill(warehouse: Warehouse, customers: int, events: int) -> None:
    """One account, card and device a customer; a tenth of the events are anonymous, a seventh orders, and a tenth as many are receipts."""
    for entity in ("online_event", "pos_receipt", "consent_event"):
        ensure_months(warehouse, entity, MONTHS)
    indexes = [index for table in ("online_event", "pos_receipt") for index in _indexes(warehouse, table)]
    _run(warehouse, *(drop for drop, _ in indexes))
    # A customer's events are spread over all days.
    day = f"date '2024-01-01' + ((g / {customers} * 7 + g) % {DAYS})::int"
    _run(
        warehouse,
        "insert into ops.batch (source, entity, business_date, status) values ('bench', 'online_event', '2025-12-31', 'loaded'),"
        " ('bench', 'pos_receipt', '2025-12-31', 'loaded')",
        *(
            f"insert into ops.batch_partition select {batch}, '{entity}', date '2024-01-01' + n, 1 from generate_series(0, {DAYS - 1}) as n"
            for batch, entity in ((1, "online_event"), (2, "pos_receipt"))
        ),
    )
    for first in range(1, events + 1, AT_A_TIME):
        last = min(first + AT_A_TIME - 1, events)
        _run(
            warehouse,
            f"""insert into raw.online_event (source, source_row_id, event_name, occurred_at, account_id, device_id, sku,
                    business_date, batch_id)
                select 'bench', 'e' || g, case when g % 7 = 0 then 'order_completed' else 'product_viewed' end, {day},
                    case when g / {DAYS} % 10 <> 3 then 'acc-' || g % {customers} end, 'dev-' || g % {customers}, 'p' || g % 1000,
                    {day}, 1
                from generate_series({first}, {last}) as g""",
        )
    _run(
        warehouse,
        f"""insert into raw.pos_receipt (source, source_row_id, store_id, workstation_id, sequence_number, occurred_at,
                card_hash, kind, total_amount, business_date, batch_id)
            select 'bench', 'r' || g, 'S1', '1', g, {day}, {_card(f"g % {customers}")}, 'sale', 10, {day}, 2
            from generate_series(1, {events // 10}) as g""",
        *(create for _, create in indexes),
        f"""insert into raw.member (source, source_row_id, member_id, account_id, card_hash, business_date, batch_id)
            select 'bench', 'member-' || g, 'member-' || g, 'acc-' || g, {_card("g")}, '2025-12-31', 1
            from generate_series(0, {customers - 1}) as g""",
    )
    for n, (kind, value) in enumerate(
        (("account", "'acc-' || g"), ("card", _card("g")), ("device", "'dev-' || g"))
    ):
        _run(
            warehouse,
            f"""insert into identity.identifier (kind, value, first_seen, last_seen, identifier_id)
                select '{kind}', {value}, '2024-01-01', '2025-12-31', g * 3 + {n} from generate_series(0, {customers - 1}) as g""",
            f"""insert into identity.assignment (identifier_id, turn, customer_id, valid_from)
                select g * 3 + {n}, 1, {_customer("g")}, '2024-01-01' from generate_series(0, {customers - 1}) as g""",
        )
    _publish_night(warehouse, customers)
    _run(warehouse, "analyze")
    engine = create_engine(warehouse.url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.exec_driver_sql("checkpoint")
    engine.dispose()


def _card(number: str) -> str:
    """SQL of what stands for a keyed hash, as long as one."""
    return f"'v1:' || md5('card' || ({number})) || md5('dear' || ({number}))"


def _customer(number: str) -> str:
    return f"'C' || lpad(to_hex({number}), 16, '0')"


def _indexes(warehouse: Warehouse, table: str) -> list[tuple[str, str]]:
    """Dropping and making each index of a raw table: made at the end they take a fraction of the time."""
    rows = warehouse.rows(
        "select indexrelid::regclass::text as name, pg_get_indexdef(indexrelid) as made, indisprimary as key "
        "from pg_index where indrelid = cast(:t as regclass)",
        t=f"raw.{table}",
    )
    found = []
    for row in rows:
        if row["key"]:
            columns = row["made"][row["made"].rindex("(") :]
            found.append(
                (
                    f"alter table raw.{table} drop constraint {table}_pkey",
                    f"alter table raw.{table} add primary key {columns}",
                )
            )
        else:
            found.append((f"drop index {row['name']}", row["made"].replace(" ON ONLY ", " ON ")))
    return found


def _publish_night(warehouse: Warehouse, customers: int) -> None:
    _run(
        warehouse,
        f"insert into ops.run (run_id, as_of, run_key, seed, status) values ('{RUN}', '2025-12-31', 'bench', 0, 'published')",
        *(
            f"create table profile_store.{t.name}_20251231_1 partition of profile_store.{t.name} for values in ('{RUN}')"
            for t in TABLES.values()
        ),
    )
    for table in TABLES.values():
        if table.is_of_customers and table.key == ("customer_id",):
            part = f"profile_store.{table.name}_20251231_1"
            _run(
                warehouse,
                f"insert into {part} (run_id, customer_id) select '{RUN}', {_customer('g')} from generate_series(0, {customers - 1}) as g",
                f"alter table {part} add primary key (customer_id)",
            )
    _run(warehouse, f"insert into ops.published_run (run_id) values ('{RUN}')")


def _run(warehouse: Warehouse, *statements: str) -> None:
    for statement in statements:
        with warehouse.engine.begin() as connection:
            connection.exec_driver_sql("set local maintenance_work_mem = '1GB'")
            connection.exec_driver_sql("set local synchronous_commit = off")
            connection.exec_driver_sql(statement.replace("%", "%%"))


class Loop(multiprocessing.Process):
    """Statements again and again, a transaction each turn, in a process of its own: a thread would wait for this interpreter.

    `longest` is the slowest turn, in milliseconds.
    """

    def __init__(self, url: URL, name: str, pause_s: float, *sql: str) -> None:
        super().__init__(name=name, daemon=True)
        self.url = url.render_as_string(hide_password=False)
        self.sql, self.pause_s = sql, pause_s
        self.over = multiprocessing.Event()
        self.longest, self.times = multiprocessing.Value("d", 0.0), multiprocessing.Value("i", 0)

    def run(self) -> None:
        engine = create_engine(self.url, connect_args={"application_name": self.name})
        with engine.connect() as connection:
            while not self.over.is_set():
                started = time.perf_counter()
                for statement in self.sql:
                    connection.exec_driver_sql(statement.replace("{n}", f"{self.pid}{self.times.value}"))
                connection.commit()
                self.longest.value = max(self.longest.value, 1000 * (time.perf_counter() - started))
                self.times.value += 1
                time.sleep(self.pause_s)


class Locks(threading.Thread):
    """Looks at `pg_locks` and `pg_stat_activity` fifty times a second.

    `longest` says how long each loop had been waiting for a lock, `slow` what a statement was waiting for that had been
    running for more than 100 ms, in milliseconds since it began.
    """

    def __init__(self, url: URL) -> None:
        super().__init__(daemon=True)
        self.longest: dict[str, float] = {}
        self.slow: dict[str, float] = {}
        self.over = threading.Event()
        self._engine = create_engine(url, isolation_level="AUTOCOMMIT")

    def run(self) -> None:
        with self._engine.connect() as connection:
            while not self.over.is_set():
                rows = connection.exec_driver_sql(
                    "select a.application_name, 1000 * extract(epoch from clock_timestamp() - l.waitstart), "
                    "l.locktype || ' ' || coalesce(l.relation::regclass::text, '') "
                    "from pg_locks as l join pg_stat_activity as a using (pid) where not l.granted and l.waitstart is not null"
                )
                for name, waited, what in rows:
                    key = f"{name} for {what}"
                    self.longest[key] = max(self.longest.get(key, 0.0), float(waited))
                rows = connection.exec_driver_sql(
                    "select application_name, coalesce(wait_event_type || ' ' || wait_event, 'the processor'), "
                    "1000 * extract(epoch from clock_timestamp() - query_start) from pg_stat_activity where state = 'active' "
                    "and application_name in ('reader', 'writer', 'publisher') "
                    "and clock_timestamp() - query_start > interval '100 ms'"
                )
                for name, what, since in rows:
                    key = f"{name}: {what}"
                    self.slow[key] = max(self.slow.get(key, 0.0), float(since))
                time.sleep(0.02)


def loops_on(url: URL) -> list[Loop]:
    """A reader, a writer as a pull writes, and a publisher."""
    return [
        Loop(
            url,
            "reader",
            0.005,
            "select count(*) from profile.rfm where customer_id < 'C0000000000000100'",
            "select count(*) from raw.online_event where account_id = 'acc-{n}'",
        ),
        Loop(
            url,
            "writer",
            0.005,
            "insert into raw.pos_receipt (source, source_row_id, store_id, workstation_id, sequence_number, occurred_at, kind,"
            " total_amount, business_date, batch_id) select 'loop', '{n}-' || g, 'S2', '1', g, now(), 'sale', 1, '2025-12-31', 2"
            " from generate_series(1, 100) as g",
            "insert into raw.online_event (source, source_row_id, event_name, occurred_at, account_id, business_date, batch_id)"
            " select 'loop', '{n}-' || g, 'product_viewed', now(), 'new-' || g, '2025-12-31', 1 from generate_series(1, 100) as g",
        ),
        Loop(
            url,
            "publisher",
            0.5,
            "lock table ops.published_run in share row exclusive mode",
            "update ops.published_run set published_at = now()",
        ),
    ]


def plant(settings: Settings, warehouse: Warehouse) -> int:
    """Put an erased customer into a table and a file; gives how many traces that are."""
    warehouse.execute("insert into ops.alert (kind, message) values ('late', 'acc-0 called')")
    warehouse.execute(
        "insert into raw.online_event (source, source_row_id, event_name, occurred_at, account_id, business_date, batch_id) "
        "values ('planted', '1', 'product_viewed', now(), 'acc-0', '2025-12-31', 1)"
    )
    settings.lake_dir.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table({"device_id": ["dev-0"]}), settings.lake_dir / "planted.parquet")
    return 2  # `acc-0` is too short to count in a message


def measure(settings: Settings, warehouse: Warehouse, customers: int, number: int, first: int = 0) -> int:
    """Erase `number` customers from `first` on beside the loops; gives the receipt."""
    loops, locks = loops_on(warehouse.url), Locks(warehouse.url)
    for loop in loops:
        loop.start()
    time.sleep(10)
    alone = {loop.name: loop.longest.value for loop in loops}
    for loop in loops:
        loop.longest.value = 0.0
    locks.start()
    step = customers // number
    started = time.monotonic()
    done = erase(settings, [f"account:acc-{n * step + first}" for n in range(number)], "benchmark")
    print(f"{number} customers erased in {time.monotonic() - started:.1f} s: {done.counts}")
    locks.over.set()
    locks.join()
    for loop in loops:
        loop.over.set()
        loop.join()
        print(
            f"{loop.name}: longest turn {loop.longest.value:.0f} ms of {loop.times.value}, {alone[loop.name]:.0f} ms alone"
        )
    for name, waited in sorted(locks.longest.items(), key=lambda item: -item[1]):
        print(f"waited for a lock: {name} {waited:.0f} ms")
    for name, since in sorted(locks.slow.items(), key=lambda item: -item[1]):
        print(f"slow statement of {name}, {since:.0f} ms after its begin")
    if not locks.longest:
        print("nobody was seen waiting for a lock")
    return done.receipt_id


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--customers", type=int, default=50_000)
    parser.add_argument("--events", type=int, default=2_000_000)
    parser.add_argument("--erase", type=int, default=1000)
    parser.add_argument(
        "--no-lake", action="store_true", help="Make no lake: its files are not in the figure."
    )
    parser.add_argument("--no-verify", action="store_true")
    parser.add_argument("--dump", action="store_true", help="Let the verifier read a pg_dump as well.")
    asked = parser.parse_args()
    logging.basicConfig(format="%(asctime)s %(message)s")
    logging.getLogger("portrait.privacy").setLevel(logging.INFO)
    with tempfile.TemporaryDirectory(prefix="portrait-bench-") as folder:
        settings = load_settings({"PORTRAIT_HOME": folder})
        warehouse = open_warehouse(settings, create=True)
        try:
            started = time.monotonic()
            fill(warehouse, asked.customers, asked.events)
            size = warehouse.scalar("select pg_size_pretty(pg_database_size(current_database()))")
            print(f"filled in {time.monotonic() - started:.1f} s, {size}", flush=True)
            if not asked.no_lake:
                started = time.monotonic()
                stages.snapshot(settings, Run(RUN, date(2025, 12, 31)))
                print(f"lake made in {time.monotonic() - started:.1f} s", flush=True)
            receipt = measure(settings, warehouse, asked.customers, asked.erase)
            sys.stdout.flush()
            if not asked.no_verify:
                started = time.monotonic()
                report = verify(settings, receipt, dump=asked.dump)
                print(
                    f"verified in {time.monotonic() - started:.1f} s: {report.traces.total()} traces in {report.tables} tables,"
                    f" {report.rows} rows, {report.files} files",
                    flush=True,
                )
                planted = plant(settings, warehouse)
                found = verify(settings, receipt, dump=False).traces
                print(f"planted {planted}, found {found.total()}: {dict(found)}")
        finally:
            stop_server(Path(settings.server_dir))


if __name__ == "__main__":
    main()
