"""Sources in a running Airflow: a deadline that passes, pools, a stored connection, and backfills.

One shop API on loopback serves both sources. `products` runs by a cron that has just fired, for a day that the API
does not have yet; `stores` runs when triggered. The tests go on from each other.
"""

import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import quote
from zoneinfo import ZoneInfo

import pytest
from portrait.config import Settings, load_settings
from portrait.local.airflow import AirflowServices
from portrait.local.client import AirflowClient
from portrait.local.pools import SLOTS, create_pools
from portrait.warehouse import Warehouse, open_warehouse
from sqlalchemy import URL

pytestmark = [pytest.mark.slow, pytest.mark.airflow]

ZONE = "Asia/Shanghai"
TOKEN = "t0ken/of?the shop"
SECONDS_TO_DEADLINE = 30

SOURCES = """
workspace: airflow_test
timezone: {zone}
sources:
  - name: products
    entity: product
    http: {{connection: shop_api, path: "/products/{{business_date}}", items: items, retries: 0}}
    columns: {{sku: sku}}
    schedule: "{cron}"
    deadline: "{deadline}"
    retries: 1000
    retry_minutes: 0.05
    pool: shop
    owner: shop-team
  - name: stores
    entity: store
    http: {{connection: shop_api, path: /stores, items: items}}
    columns: {{store_id: store_id, name: name}}
    pool: tills
"""

# Two events for one date of a Dag: the second comes before the first one's transaction has ended.
SAME_MOMENT = """
import threading, time
from airflow.assets.manager import asset_manager
from airflow.serialization.definitions.assets import SerializedAssetUniqueKey
from airflow.utils.session import create_session

def deliver(entity, source, written, wait):
    with create_session() as session:
        asset = SerializedAssetUniqueKey(f"raw.{entity}/{source}", f"portrait://raw/{entity}/{source}")
        asset_manager.register_asset_change(asset=asset, partition_key="2000-01-01", session=session)
        written.set()
        wait()

first, second = threading.Event(), threading.Event()
one = threading.Thread(target=deliver, args=("product", "products", first, lambda: second.wait(3)))
two = threading.Thread(target=deliver, args=("store", "stores", second, lambda: None))
one.start()
first.wait(30)
two.start()
one.join(60)
two.join(60)
"""


class Shop(ThreadingHTTPServer):
    """Knows one token, and answers 503 for the products of `missing`."""

    def __init__(self, missing: date) -> None:
        super().__init__(("127.0.0.1", 0), ShopHandler)
        self.missing: date | None = missing
        self.tokens: set[str | None] = set()


class ShopHandler(BaseHTTPRequestHandler):
    server: Shop

    def do_GET(self) -> None:
        token = self.headers.get("Authorization")
        self.server.tokens.add(token)
        day = self.path.rpartition("/")[2]
        code = 503 if day == str(self.server.missing) else 200
        item = {"sku": f"P{day}"} if "products" in self.path else {"store_id": "S1", "name": "One"}
        if token != f"Bearer {TOKEN}":
            code = 401
        body = json.dumps({"items": [item]} if code == 200 else {}).encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Quiet."""


class Running:
    """A prepared Airflow with its sources, connection and databases."""

    def __init__(self, folder: Path, server: URL) -> None:
        self.fired = datetime.now(ZoneInfo(ZONE)) - timedelta(minutes=1)
        self.day = self.fired.date() - timedelta(days=1)
        self.shop = Shop(self.day)
        self.sources = folder / "sources.yaml"
        self.write_sources()
        self.environ = {
            "PORTRAIT_HOME": str(folder / "home"),
            "PORTRAIT_SOURCES": str(self.sources),
            "PORTRAIT_SERVER_DIR": str(server.query["host"]),
        }
        self.settings: Settings = load_settings(self.environ)
        self.warehouse = open_warehouse(self.settings, create=True)
        self.services = AirflowServices(self.settings)
        self.services.home.mkdir(parents=True)
        with socket.socket() as probe:
            # Tests side by side would both find 8080 free.
            probe.bind(("127.0.0.1", 0))
            (self.services.home / "port").write_text(str(probe.getsockname()[1]))
        self.services.prepare()
        self.metadata = Warehouse(server.set(database="airflow_airflow_test"))
        address = f"http://:{quote(TOKEN, safe='')}@127.0.0.1:{self.shop.server_port}"
        self.airflow("connections", "add", "shop_api", "--conn-uri", address)
        self.client: AirflowClient
        self.write_sources()  # the deadline is to pass while the services run, however slow the machine

    def write_sources(self) -> None:
        now = datetime.now(ZoneInfo(ZONE))
        self.deadline = (now + timedelta(seconds=SECONDS_TO_DEADLINE)).replace(microsecond=0)
        cron = f"{self.fired.minute} {self.fired.hour} * * *"
        self.sources.write_text(SOURCES.format(zone=ZONE, cron=cron, deadline=self.deadline.time()))

    def airflow(self, *arguments: str) -> str:
        """Airflow's command line."""
        done = subprocess.run(
            self.services.command(*arguments),
            env=self.services.environment(),
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def call(self, method: str, path: str, **arguments: Any) -> Any:
        """A call of Airflow's REST API, as its UI makes them."""
        headers = {"Authorization": f"Bearer {self.client.token}"}
        answer = self.client.http.request(method, f"/api/v2{path}", headers=headers, **arguments)
        assert answer.is_success, answer.text
        return answer.json()

    def runs(self, dag_id: str) -> dict[str, tuple[str, str]]:
        """(type, state) of a Dag's runs, by business date."""
        found = self.metadata.rows(
            "select partition_key, run_type, state from dag_run where dag_id = :d", d=dag_id
        )
        return {r["partition_key"]: (r["run_type"], r["state"]) for r in found}

    def before(self, days: int) -> str:
        return (self.day - timedelta(days=days)).isoformat()


@pytest.fixture(scope="module")
def running(server: URL, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    running = Running(tmp_path_factory.mktemp("sources_in_airflow"), server)
    thread = threading.Thread(target=running.shop.serve_forever, args=(0.05,))
    thread.start()
    try:
        with running.services.running() as client:
            running.client = client
            yield running
    finally:
        running.shop.shutdown()
        thread.join()
        running.shop.server_close()


def until(done: Callable[[], Any], what: str, seconds: float = 90) -> Any:
    """The first truthy answer."""
    limit = time.monotonic() + seconds
    while not (answer := done()):
        assert time.monotonic() < limit, what
        time.sleep(0.5)
    return answer


def alerts(running: Running) -> list[dict[str, Any]]:
    return running.warehouse.rows("select * from ops.alert where kind = 'late'")


def test_the_deadline_passes_while_the_run_is_tried_again_and_again(running: Running) -> None:
    until(lambda: str(running.day) in running.runs("ingest_products"), "the cron's run was not made")
    (alert,) = until(lambda: alerts(running), "nobody was told")
    assert alert["raised_at"] >= running.deadline
    assert datetime.now(UTC) - alert["raised_at"] < timedelta(seconds=30)
    assert (alert["source"], alert["business_date"]) == ("products", running.day)
    assert alert["message"].startswith(
        f"products has not delivered {running.day} by {running.deadline:%H:%M} ({ZONE}), and the night of "
        f"{running.day} waits for it. Airflow keeps trying"
    )
    assert "ask shop-team for the delivery" in alert["message"]
    assert running.runs("ingest_products") == {str(running.day): ("scheduled", "running")}
    task = "select {} from task_instance where dag_id = 'ingest_products'"
    assert running.metadata.scalar(task.format("pool")) == "shop"
    until(lambda: running.metadata.scalar(task.format("try_number")) > 1, "the task was not tried again")
    assert "products has not delivered" in (running.services.home / "triggerer.log").read_text()


def test_the_pools_were_made_and_keep_what_one_gives_them(running: Running) -> None:
    query = "select slots from slot_pool where pool = :p"
    assert [running.metadata.scalar(query, p=p) for p in ("shop", "tills")] == [SLOTS, SLOTS]
    running.metadata.execute("update slot_pool set slots = 7 where pool = 'tills'")
    running.metadata.execute("delete from slot_pool where pool = 'shop'")
    assert create_pools(running.settings, running.services.environment()) == ["shop"]
    assert [running.metadata.scalar(query, p=p) for p in ("shop", "tills")] == [SLOTS, 7]


def test_airflows_own_command_line(running: Running) -> None:
    code = "import sys; from portrait.config import load_settings; from portrait.local.airflow import run_airflow; "
    code += "run_airflow(load_settings(), sys.argv[1:])"
    shown = subprocess.run(
        [sys.executable, "-c", code, "connections", "get", "shop_api", "--output", "plain"],
        env={**os.environ, **running.environ},
        capture_output=True,
        text=True,
        check=True,
    )
    assert "127.0.0.1" in shown.stdout


def test_a_backfill_of_a_source_with_a_cron(running: Running) -> None:
    """By the command line, and not held up by the day that is still missing."""
    running.airflow(
        *("backfill", "create", "--dag-id", "ingest_products", "--max-active-runs", "1"),
        *("--from-date", running.before(3), "--to-date", running.before(1)),
    )
    expected = {
        **{running.before(days): ("backfill", "success") for days in (3, 2, 1)},
        str(running.day): ("scheduled", "running"),
    }
    until(lambda: running.runs("ingest_products") == expected, "the backfill did not end")
    loaded = running.warehouse.rows(
        "select business_date::text, status from ops.batch where source = 'products' order by batch_id"
    )
    assert [r["business_date"] for r in loaded if r["status"] == "loaded"] == [
        running.before(days) for days in (3, 2, 1)
    ]
    assert running.runs("nightly") == {}  # the stores have not delivered these dates
    assert len(alerts(running)) == 1  # a backfill is never late


def test_a_backfill_of_a_source_without_one(running: Running) -> None:
    """As the UI does it. It wakes the nightly Dag for the dates that all sources have."""
    assert running.runs("ingest_stores") == {}  # it never ran by itself
    assert running.call("GET", "/dags/ingest_stores/details")["is_backfillable"]
    body = {
        "dag_id": "ingest_stores",
        "from_date": f"{running.before(2)}T00:00:00Z",
        "to_date": f"{running.day}T23:59:59.999Z",
        "max_active_runs": 1,
    }
    planned = running.call("POST", "/backfills/dry_run", json=body)
    dates = [running.before(days) for days in (2, 1, 0)]
    assert [b["partition_key"] for b in planned["backfills"]] == dates
    running.call("POST", "/backfills", json=body)
    expected = dict.fromkeys(dates, ("backfill", "success"))
    until(lambda: running.runs("ingest_stores") == expected, "the backfill did not end")
    nights = until(
        lambda: (found := running.runs("nightly")) and len(found) == 2 and found, "the nightly Dag slept on"
    )
    assert {day: how for day, (how, _) in nights.items()} == dict.fromkeys(dates[:2], "asset_triggered")


def test_the_late_delivery_ends_the_waiting(running: Running) -> None:
    running.shop.missing = None
    done = ("scheduled", "success")
    until(lambda: running.runs("ingest_products")[str(running.day)] == done, "the run did not go on")
    until(lambda: str(running.day) in running.runs("nightly"), "the nightly Dag slept on")
    assert len(alerts(running)) == 1
    assert running.warehouse.scalar("select count(*) from raw.product where sku = :s", s=f"P{running.day}")


def test_one_source_again_makes_no_night(running: Running) -> None:
    """A date that has a run is not backfilled unless asked for, and a night waits for all sources again."""
    day = running.before(1)
    body = {"dag_id": "ingest_stores", "from_date": f"{day}T00:00:00Z", "to_date": f"{day}T00:00:00Z"}
    assert running.call("POST", "/backfills/dry_run", json=body)["backfills"] == []
    running.client.trigger("ingest_stores", "again", day)
    count = "select count(*) from dag_run where dag_id = :d and partition_key = :k and state = 'success'"
    until(lambda: running.metadata.scalar(count, d="ingest_stores", k=day) == 2, "the run did not end")
    time.sleep(5)  # the scheduler looks every second
    nights = "select count(*) from dag_run where dag_id = 'nightly' and partition_key = :k"
    assert running.metadata.scalar(nights, k=day) == 1


def test_sources_that_finish_in_the_same_moment_make_one_night(running: Running) -> None:
    subprocess.run(
        [sys.executable, "-c", SAME_MOMENT],
        env=running.services.environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    count = "select count(*) from {} where partition_key = '2000-01-01'"
    assert running.metadata.scalar(count.format("asset_event")) == 2
    assert running.metadata.scalar(count.format("asset_partition_dag_run")) == 1
    until(lambda: "2000-01-01" in running.runs("nightly"), "the nightly Dag slept on")


def test_the_stored_connection_was_used_and_its_password_is_nowhere(running: Running) -> None:
    assert running.shop.tokens == {f"Bearer {TOKEN}"}
    for form in (TOKEN, quote(TOKEN, safe="")):
        files = [p for p in running.settings.workspace_dir.rglob("*") if p.is_file()]
        assert [p for p in files if form.encode() in p.read_bytes()] == []
        for database in (running.metadata, running.warehouse):
            tables = database.rows(
                "select format('%I.%I', table_schema, table_name) as name from information_schema.tables "
                "where table_type = 'BASE TABLE' and table_schema not in ('pg_catalog', 'information_schema')"
            )
            for table in tables:
                query = f"select count(*) from {table['name']} t where position(:f in t::text) > 0"
                assert database.scalar(query, f=form) == 0, table["name"]
    xcom = running.metadata.rows(
        "select value::text from xcom where dag_id = 'ingest_products' and key = 'return_value'"
    )
    assert len(xcom) == 4
