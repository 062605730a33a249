"""kill -9 at any step of a pull, then the pull again: the tables of an undisturbed one."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from portrait.config import Settings
from portrait.ingest import pull
from portrait.warehouse import Warehouse

from .conftest import source, sources_yaml, write_csv

# A child is forked for every source: it pulls the first day, then dies in the middle of the second.
SCRIPT = """
import os, signal, sys, time
from datetime import date
import adbc_driver_postgresql.dbapi, duckdb, psycopg2
from portrait.config import load_settings
from portrait.ingest import pull
from portrait.ingest import load, validate
from portrait.sources import readers

module = sys.modules["portrait.ingest.pull"]
settings = load_settings()
validate.BATCH_ROWS = 200  # several batches a file
readers.BLOCK_BYTES = 4096

def die(*_, **__):
    os.kill(os.getpid(), signal.SIGKILL)

def after(call):
    def wrapped(*a, **k):
        call(*a, **k)
        die()
    return wrapped

def third(call, calls=[]):
    def wrapped(*a, **k):
        calls.append(1)
        if len(calls) == 3:
            die()
        yield from call(*a, **k)
    return wrapped

def patch(point):
    if point == "reading":
        validate.Validator._map = third(validate.Validator._map)
    elif point == "committed":
        module.PullResult = die
    elif point.startswith("loader_"):
        name = point.removeprefix("loader_")
        setattr(load.Loader, name, after(getattr(load.Loader, name)))
    elif point.startswith("after_"):
        name = point.removeprefix("after_")
        setattr(module, name, after(getattr(module, name)))

def child(point):
    if point.startswith("delay"):
        pull(settings, point, date(2025, 3, 2))
        die()
    pull(settings, point, date(2025, 3, 1))
    patch(point)
    pull(settings, point, date(2025, 3, 2))
    os._exit(3)

for point in sys.argv[1:]:
    pid = os.fork()
    if pid == 0:
        try:
            child(point)
        finally:
            os._exit(4)
    if point.startswith("delay"):
        time.sleep(int(point.removeprefix("delay_")) / 1000)
        os.kill(pid, signal.SIGKILL)
    _, status = os.waitpid(pid, 0)
    print(point, os.WTERMSIG(status) if os.WIFSIGNALED(status) else -os.WEXITSTATUS(status), flush=True)
"""

POINTS = [
    "after__open_batch",
    "reading",
    "loader__copy",
    "loader__settle_moved",
    "loader__compare",
    "loader__note_dates",
    "after_note_files",
    "after_quarantine",
    "after_note_columns",
    "after_note_mark",
    "committed",
    "delay_50",
    "delay_150",
]
COMMITTED = {"committed"}
COLUMNS = {"event_id": "id", "event_name": "what", "occurred_at": "at", "sku": "sku", "quantity": "qty"}


def row(number: int, quantity: Any, day: int) -> dict[str, Any]:
    return {
        "id": f"e{number}",
        "what": "order_completed",
        "at": f"2025-03-0{day}",
        "sku": "p",
        "qty": quantity,
    }


def content(warehouse: Warehouse, name: str) -> dict[str, list[dict[str, Any]]]:
    """Raw and quarantined rows of a source, without what says when they were loaded."""
    raw = "select * from raw.online_event where source = :s order by source_row_id, business_date"
    refused = "select * from quarantine.rejected_row where source = :s order by path, row_number"
    files = "select * from ops.batch_file where source = :s order by path"
    without = {"source", "batch_id", "loaded_at", "first_seen_at", "spec_md5"}
    return {
        table: [{k: v for k, v in r.items() if k not in without} for r in warehouse.rows(sql, s=name)]
        for table, sql in (("raw", raw), ("refused", refused), ("files", files))
    }


@pytest.fixture
def retailer(make_settings: Callable[..., Settings], tmp_path: Path) -> Settings:
    """Two deliveries: the second inserts, corrects, moves, repeats and has bad rows."""
    first = [row(n, 1, 1) for n in range(1_000)]
    second = [
        *(row(n, 2, 1) for n in range(100)),
        *(row(n, 1, 2) for n in range(100, 200)),
        *(row(n, 1, 1) for n in range(200, 300)),
        *(row(n, "two", 2) for n in range(900, 950)),
        *(row(n, 1, 2) for n in range(1_000, 1_900)),
    ]
    write_csv(tmp_path / "d=2025-03-01" / "x.csv", first)
    write_csv(tmp_path / "d=2025-03-02" / "x.csv", second)
    specs = [
        source("online_event", name, columns=COLUMNS, path="d={business_date}/x.csv")
        for name in ["undisturbed", *POINTS]
    ]
    return make_settings(sources_yaml(*specs))


def test_killed_and_pulled_again(retailer: Settings, warehouse: Warehouse, tmp_path: Path) -> None:
    first, second = date(2025, 3, 1), date(2025, 3, 2)
    pull(retailer, "undisturbed", first)
    before = content(warehouse, "undisturbed")
    result = pull(retailer, "undisturbed", second)
    after = content(warehouse, "undisturbed")
    assert (result.rows_inserted, result.rows_updated, result.rows_unchanged, result.rows_rejected) == (
        900, 200, 100, 50,
    )  # fmt: skip

    script = tmp_path / "crash.py"
    script.write_text(SCRIPT)
    environ = {
        **os.environ,
        "PORTRAIT_HOME": str(retailer.home),
        "PORTRAIT_DATABASE_URL": str(retailer.database_url),
        "PORTRAIT_SOURCES": str(retailer.sources_path),
        "PORTRAIT_PII_KEY": "test-key",
    }
    ended = subprocess.run(
        [sys.executable, str(script), *POINTS], env=environ, capture_output=True, text=True,
        timeout=120, check=True,
    )  # fmt: skip
    killed = dict(line.split() for line in ended.stdout.splitlines())
    assert killed == {p: str(signal.SIGKILL.value) for p in POINTS}, ended.stderr

    for point in POINTS:
        left = content(warehouse, point)
        if not point.startswith("delay"):
            assert left == (after if point in COMMITTED else before), point
        pull(retailer, point, first)
        again = pull(retailer, point, second)
        if not point.startswith("delay"):
            assert again.files == (0 if point in COMMITTED else 1), point
        assert content(warehouse, point) == after, point
        statuses = [
            r["status"] for r in warehouse.rows("select status from ops.batch where source = :s", s=point)
        ]
        assert "loading" not in statuses
    staged = warehouse.rows("select table_name from information_schema.tables where table_schema = 'staging'")
    assert staged == []
