"""A real PostgreSQL for every test: one embedded server a session, one migrated database a test."""

import gc
import os
import shutil
import tempfile
import textwrap
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from portrait.config import Settings, load_settings
from portrait.contracts import CONTRACTS
from portrait.warehouse import Warehouse
from portrait.warehouse.database import create_database
from portrait.warehouse.migrate import migrate
from portrait.warehouse.partitions import ensure_months, months_of
from portrait.warehouse.server import start_server, stop_server
from sqlalchemy import URL, create_engine, text
from sqlalchemy.pool import NullPool

# Queries are trees of many small objects: looked through every 700 of them, these cost a tenth of a build of features.
gc.set_threshold(10_000)

REPOSITORY = Path(__file__).parents[1]
SHARED_DATA = Path(os.environ.get("PORTRAIT_BENCHMARK_DATA") or REPOSITORY.parent / "shared" / "data")

SOURCES = """
workspace: test
timezone: Asia/Shanghai
currency: CNY
phone_region: CN
sources:
  - name: stores
    entity: store
    path: stores.csv
    format: csv
    columns: {store_id: store_id, name: name}
"""


LONGEST = (
    "local/test_end_to_end.py",
    "features/test_incremental.py",
    "test_stages.py",
    "local/test_sources_in_airflow.py",
    "identity/test_properties.py",
    "features/test_build.py",
    "local/test_airflow_services.py",
    "privacy/test_rotation.py",
    "identity/test_suggest.py",
    "test_compose.py",
    "features/test_spark.py",
)
"""Files that take a minute or more, in the order in which they are begun, before all others: a long one that is begun last is
waited for by all workers. Those with an Airflow of their own stand apart, so that they do not start at the same moment."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    place = {str(REPOSITORY / "tests" / name): number for number, name in enumerate(LONGEST)}
    items.sort(key=lambda item: place.get(str(item.path), len(place)))


@pytest.fixture(autouse=True)
def settled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files that a test has just written count as complete at once; tests of waiting set settle_seconds."""
    monkeypatch.setattr("portrait.config.sources.SETTLE_SECONDS", 0.0)


@pytest.fixture(scope="session")
def server() -> Iterator[URL]:
    """URL of the session's embedded server.

    Its files are in a folder of their own: pytest's clean-up of old temporary folders has deleted those of a session
    that was still running.
    """
    root = Path(tempfile.mkdtemp(prefix="portrait-test-"))
    folder = root / "postgres"
    url = start_server(folder, "fsync = off\nfull_page_writes = off\n")
    yield url
    stop_server(folder)
    shutil.rmtree(root, ignore_errors=True)


@pytest.fixture(scope="session")
def template(server: URL) -> str:
    """Name of a migrated, empty database to copy."""
    create_database(server, "template_portrait")
    migrate(Warehouse(server.set(database="template_portrait")))
    return "template_portrait"


@contextmanager
def copied(server: URL, template: str) -> Iterator[Warehouse]:
    """A database of its own with what is in another."""
    name = f"portrait_{uuid.uuid4().hex[:12]}"
    engine = create_engine(server, isolation_level="AUTOCOMMIT", poolclass=NullPool)
    with engine.connect() as connection:
        # A database to which somebody is connected cannot be copied.
        connection.execute(
            text("select pg_terminate_backend(pid) from pg_stat_activity where datname = :d"), {"d": template}
        )
        connection.execute(text(f"create database {name} template {template} strategy file_copy"))
    yield Warehouse(server.set(database=name))
    with engine.connect() as connection:
        connection.execute(text(f"drop database {name} with (force)"))


@pytest.fixture
def warehouse(server: URL, template: str) -> Iterator[Warehouse]:
    """A migrated, empty warehouse of this test's own."""
    with copied(server, template) as warehouse:
        yield warehouse


def settings_in(folder: Path, warehouse: Warehouse, sources: str = SOURCES, **environ: str) -> Settings:
    """Settings on a warehouse from the text of a `sources.yaml`, with everything else in `folder`."""
    path = folder / "sources.yaml"
    path.write_text(textwrap.dedent(sources), encoding="utf-8")
    return load_settings(
        {
            "PORTRAIT_HOME": str(folder / "home"),
            "PORTRAIT_DATABASE_URL": warehouse.url.render_as_string(hide_password=False),
            "PORTRAIT_SOURCES": str(path),
            "PORTRAIT_PII_KEY": "test-key",
            **environ,
        }
    )


@pytest.fixture
def make_settings(warehouse: Warehouse, tmp_path: Path) -> Callable[..., Settings]:
    """Build settings on this test's warehouse from the text of a `sources.yaml`."""
    return partial(settings_in, tmp_path, warehouse)


@pytest.fixture
def settings(make_settings: Callable[..., Settings]) -> Settings:
    return make_settings()


@pytest.fixture
def add_raw(warehouse: Warehouse) -> Callable[..., int]:
    return raw_writer(warehouse)


def raw_writer(warehouse: Warehouse) -> Callable[..., int]:
    """Puts rows straight into `raw.<entity>` as one batch; returns its batch_id.

    A row is a dict of stored column names (`card_hash`, not `card`). `business_date` is required;
    `source_row_id` defaults to the natural key, else to a running number.
    """
    counter = iter(range(1, 10**9))

    def add(entity: str, rows: list[dict[str, Any]], source: str = "test") -> int:
        contract = CONTRACTS[entity]
        dates = {r["business_date"] for r in rows}
        if contract.partitioned:
            ensure_months(warehouse, entity, months_of(dates))
        with warehouse.begin() as connection:
            batch_id = connection.execute(
                text(
                    "insert into ops.batch (source, entity, business_date, status, rows_inserted, finished_at)"
                    " values (:s, :e, :d, 'loaded', :n, now()) returning batch_id"
                ),
                {"s": source, "e": entity, "d": max(dates), "n": len(rows)},
            ).scalar_one()
            for row in rows:
                key = [str(row[k]) for k in contract.key if row.get(k) is not None]
                values = {
                    "source": source,
                    "source_row_id": "|".join(key) if len(key) == len(contract.key) else str(next(counter)),
                    **row,
                    "batch_id": batch_id,
                }
                columns = ", ".join(values)
                places = ", ".join(f":{c}" for c in values)
                connection.execute(text(f"insert into raw.{entity} ({columns}) values ({places})"), values)
            for day in dates:
                connection.execute(
                    text("insert into ops.batch_partition values (:b, :e, :d, 1)"),
                    {"b": batch_id, "e": entity, "d": day},
                )
        return int(batch_id)

    return add


def at(day: date, hour: int = 12) -> datetime:
    """A UTC timestamp on a day, for rows of tests."""
    return datetime(day.year, day.month, day.day, hour, tzinfo=UTC)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real data sets; the test skips where it is absent."""
    if not SHARED_DATA.is_dir():
        pytest.skip(f"real data not found at {SHARED_DATA}; set PORTRAIT_BENCHMARK_DATA")
    return SHARED_DATA
