"""A night's rows written by plain COPY and in other ways, with what each takes of the processor."""

import statistics
import time
from collections.abc import Callable
from functools import partial

import numpy as np
import psutil
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from portrait.config import Settings
from portrait.profiles.load import record_batches
from portrait.profiles.partitions import partition
from portrait.profiles.tables import AFFINITY, EMBEDDING, RECOMMENDATION, ProfileTable
from portrait.run import Run
from portrait.warehouse import Warehouse
from portrait.warehouse.server import data_dir

CHANGED = (0.05, 0.2, 0.5)
"""Shares of customers that a night touched."""
FEW = 200_000
"""Customers up to which what is written more than once is the median of three."""
Taken = tuple[float, float]
"""Seconds, and processor seconds of this process and the server."""


def postmaster(settings: Settings) -> int:
    return int((data_dir(settings.server_dir) / "postmaster.pid").read_text().split()[0])


def server_seconds(settings: Settings) -> float:
    """Processor seconds of PostgreSQL so far, those of ended connections included."""
    total = 0.0
    server = psutil.Process(postmaster(settings))
    for process in [server, *server.children()]:
        try:
            times = process.cpu_times()
        except psutil.Error:
            continue
        total += times.user + times.system + times.children_user + times.children_system
    return total


def plain_copy(
    settings: Settings, warehouse: Warehouse, table: ProfileTable, run: Run, unlogged: bool = False
) -> Taken:
    """Seconds, and those of the processor, of one COPY of the table's rows into a table without a key.

    Parameters
    ----------
    unlogged : the table is made logged afterwards, within the time.
    """
    name = f"profile_store.plain_{table.name}"
    warehouse.execute(f"drop table if exists {name}")
    warehouse.execute(
        f"create {'unlogged ' if unlogged else ''}table {name} (like profile_store.{table.name})"
    )
    warehouse.execute(f"alter table {name} alter column run_id set default '{run.run_id}'")
    if table is EMBEDDING:
        warehouse.execute(f"alter table {name} alter column embedding type real[]")
    before, worked, started = server_seconds(settings), time.process_time(), time.perf_counter()
    batches = record_batches(table.file(settings, run), list(table.columns))
    warehouse.copy_in("profile_store", f"plain_{table.name}", batches)
    if unlogged:
        warehouse.execute(f"alter table {name} set logged")
    taken = time.perf_counter() - started
    worked = time.process_time() - worked + server_seconds(settings) - before
    warehouse.execute(f"drop table {name}")
    return taken, worked


def ways_to_write(settings: Settings, warehouse: Warehouse, run: Run, ids: list[str]) -> None:
    """Other ways to write a night's rows, beside one COPY of all of them into a logged table."""
    print(
        "a night's rows written in other ways, without keys; seconds (processor seconds), and times one COPY of all"
    )
    random, repeat = np.random.default_rng(7), 3 if len(ids) <= FEW else 1
    for table in (AFFINITY, RECOMMENDATION):
        path, columns = table.file(settings, run), list(table.columns)
        copied = median_of(repeat, partial(plain_copy, settings, warehouse, table, run))
        late = median_of(repeat, partial(plain_copy, settings, warehouse, table, run, unlogged=True))
        said = [f"COPY {shown(copied)}", f"COPY unlogged, then SET LOGGED {shown(late, copied)}"]
        for share in CHANGED:
            changed = pa.array(random.choice(ids, int(share * len(ids)), replace=False))
            rows = pq.read_table(path, columns=columns)
            rows = rows.filter(pc.is_in(rows["customer_id"], value_set=changed))
            named = pa.table({"customer_id": changed})
            mixed = median_of(repeat, partial(write_changed, settings, warehouse, table, run, named, rows))
            said.append(f"INSERT SELECT of the unchanged, COPY of {share:.0%} {shown(mixed, copied)}")
        print(f"    {table.name}: " + "; ".join(said), flush=True)


def median_of(repeat: int, measured: Callable[[], Taken]) -> Taken:
    """Median seconds and median processor seconds."""
    runs = [measured() for _ in range(repeat)]
    return statistics.median(r[0] for r in runs), statistics.median(r[1] for r in runs)


def shown(taken: Taken, beside: Taken | None = None) -> str:
    seconds = f"{taken[0]:.1f} s ({taken[1]:.1f} s)"
    if beside is None:
        return seconds
    return f"{seconds}, {beside[0] / taken[0]:.2f}x ({beside[1] / taken[1]:.2f}x)"


def write_changed(
    settings: Settings, warehouse: Warehouse, table: ProfileTable, run: Run, changed: pa.Table, rows: pa.Table
) -> Taken:
    """Seconds, and those of the processor, of taking the others' rows from the night before and copying `rows`."""
    columns = ", ".join(table.columns)
    before = partition(table.name, run.run_id)
    used, worked = server_seconds(settings), time.process_time()
    with warehouse.transaction() as transaction:
        transaction.execute(f"create table profile_store.changed_rows (like profile_store.{table.name})")
        transaction.execute(
            "alter table profile_store.changed_rows alter column run_id set default 'another'"
        )
        started = time.perf_counter()
        transaction.execute("create temp table changed (customer_id text) on commit drop")
        transaction.copy_in("changed", changed)
        transaction.execute("analyze changed")
        transaction.execute(
            f"insert into profile_store.changed_rows ({columns}) select {columns} from profile_store.{before} b"
            " where not exists (select from changed c where c.customer_id = b.customer_id)"
        )
        transaction.copy_in("changed_rows", rows, "profile_store")
    taken = time.perf_counter() - started
    worked = time.process_time() - worked + server_seconds(settings) - used
    warehouse.execute("drop table profile_store.changed_rows")
    return taken, worked
