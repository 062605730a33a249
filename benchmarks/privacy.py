"""Erasing many customers of a large warehouse: how long it takes, and how long readers and writers wait meanwhile.

    python benchmarks/privacy.py --customers 50000 --events 2000000 --erase 1000

Makes a warehouse of its own in a temporary folder: accounts with a device each, events and receipts over 24 months, the
identity record, one published night. The erasure, with its files, runs beside a reader of the published profile and a
writer of receipts. Lake and matrices are not made: their rewriting depends on the disk and is not in the figure.
"""

import argparse
import tempfile
import threading
import time
from datetime import date
from pathlib import Path

from portrait.config import load_settings
from portrait.privacy.erase import erase
from portrait.profiles.tables import TABLES
from portrait.warehouse import Warehouse, open_warehouse
from portrait.warehouse.partitions import ensure_months
from portrait.warehouse.server import stop_server

MONTHS = [date(2024 + m // 12, m % 12 + 1, 1) for m in range(24)]
RUN = "2025-12-31.1"


def fill(warehouse: Warehouse, customers: int, events: int) -> None:
    """One account, card and device a customer; a seventh of the events are order lines, a tenth more are receipts."""
    for entity in ("online_event", "pos_receipt", "consent_event"):
        ensure_months(warehouse, entity, MONTHS)
    day = "date '2024-01-01' + (g % 730)::int"
    statements = [
        "insert into ops.batch (source, entity, business_date, status) values ('bench', 'online_event', '2025-12-31', 'loaded')",
        f"""insert into raw.online_event (source, source_row_id, event_name, occurred_at, account_id, device_id, sku,
                business_date, batch_id)
            select 'bench', 'e' || g, case when g % 7 = 0 then 'order_completed' else 'product_viewed' end, {day},
                'acc-' || g % {customers}, 'dev-' || g % {customers}, 'p' || g % 1000, {day}, 1
            from generate_series(1, {events}) as g""",
        f"""insert into raw.pos_receipt (source, source_row_id, store_id, workstation_id, sequence_number, occurred_at,
                card_hash, kind, total_amount, business_date, batch_id)
            select 'bench', 'r' || g, 'S1', '1', g, {day}, 'v1:card-' || g % {customers}, 'sale', 10, {day}, 1
            from generate_series(1, {events // 10}) as g""",
        f"""insert into raw.member (source, source_row_id, member_id, account_id, card_hash, business_date, batch_id)
            select 'bench', 'm' || g, 'm' || g, 'acc-' || g, 'v1:card-' || g, '2025-12-31', 1
            from generate_series(0, {customers - 1}) as g""",
    ]
    for n, (kind, prefix) in enumerate((("account", "acc-"), ("card", "v1:card-"), ("device", "dev-"))):
        statements += [
            f"""insert into identity.identifier (kind, value, first_seen, last_seen, identifier_id)
                select '{kind}', '{prefix}' || g, '2024-01-01', '2025-12-31', g * 3 + {n} from generate_series(0, {customers - 1}) as g""",
            f"""insert into identity.assignment (identifier_id, turn, customer_id, valid_from)
                select g * 3 + {n}, 1, 'C' || lpad(to_hex(g), 16, '0'), '2024-01-01' from generate_series(0, {customers - 1}) as g""",
        ]
    statements.append(
        f"insert into ops.run (run_id, as_of, run_key, seed, status) values ('{RUN}', '2025-12-31', 'bench', 0, 'published')"
    )
    for table in TABLES.values():
        statements.append(
            f"create table profile_store.{table.name}_20251231_1 partition of profile_store.{table.name} for values in ('{RUN}')"
        )
    for name in ("customer_profile", "rfm", "segment"):
        part = f"profile_store.{name}_20251231_1"
        statements += [
            f"insert into {part} (run_id, customer_id) select '{RUN}', 'C' || lpad(to_hex(g), 16, '0') from generate_series(0, {customers - 1}) as g",
            f"alter table {part} add primary key (customer_id)",
        ]
    statements += [f"insert into ops.published_run (run_id) values ('{RUN}')", "analyze"]
    for statement in statements:
        with warehouse.engine.begin() as connection:
            connection.exec_driver_sql(statement.replace("%", "%%"))


class Loop(threading.Thread):
    """A statement again and again; `longest` is the slowest one, in milliseconds."""

    def __init__(self, warehouse: Warehouse, sql: str) -> None:
        super().__init__(daemon=True)
        self.warehouse, self.sql, self.longest, self.times, self.over = (
            warehouse,
            sql,
            0.0,
            0,
            threading.Event(),
        )

    def run(self) -> None:
        with self.warehouse.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            while not self.over.is_set():
                started = time.perf_counter()
                connection.exec_driver_sql(self.sql.format(n=self.times))
                self.longest = max(self.longest, 1000 * (time.perf_counter() - started))
                self.times += 1
                time.sleep(0.005)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--customers", type=int, default=50_000)
    parser.add_argument("--events", type=int, default=2_000_000)
    parser.add_argument("--erase", type=int, default=1000)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="portrait-bench-") as folder:
        settings = load_settings({"PORTRAIT_HOME": folder})
        warehouse = open_warehouse(settings, create=True)
        try:
            started = time.monotonic()
            fill(warehouse, asked.customers, asked.events)
            print(f"filled in {time.monotonic() - started:.1f} s")
            loops = {
                "reader": Loop(
                    warehouse, "select count(*) from profile.rfm where customer_id < 'C0000000000000100'"
                ),
                "writer": Loop(
                    warehouse,
                    "insert into raw.pos_receipt (source, source_row_id, store_id, workstation_id, sequence_number, occurred_at,"
                    " kind, total_amount, business_date, batch_id) values ('loop', '{n}', 'S2', '1', {n}, now(), 'sale', 1,"
                    " '2025-12-31', 1)",
                ),
            }
            for loop in loops.values():
                loop.start()
            time.sleep(3)
            alone = {name: loop.longest for name, loop in loops.items()}
            for loop in loops.values():
                loop.longest = 0.0
            step = asked.customers // asked.erase
            started = time.monotonic()
            done = erase(settings, [f"account:acc-{n * step}" for n in range(asked.erase)], "benchmark")
            print(f"{asked.erase} customers erased in {time.monotonic() - started:.1f} s: {done.counts}")
            for name, loop in loops.items():
                loop.over.set()
                loop.join()
                print(f"{name}: longest {loop.longest:.0f} ms of {loop.times}, {alone[name]:.0f} ms alone")
        finally:
            stop_server(Path(settings.server_dir))


if __name__ == "__main__":
    main()
