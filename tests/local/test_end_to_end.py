"""A night through Airflow's own scheduler and LocalExecutor, a killed task included, and a second night."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from portrait import stages
from portrait.config import Settings, load_settings
from portrait.ingest import pull
from portrait.simulate import Retailer, simulate
from portrait.warehouse import Warehouse, open_warehouse
from portrait.warehouse.server import psql_path, stop_server
from sqlalchemy import URL

from ..conftest import copied

pytestmark = [pytest.mark.slow, pytest.mark.airflow]

REPOSITORY = Path(__file__).parents[2]
TABLES = {
    "customer_profile": "customer_id",
    "rfm": "customer_id",
    "affinity": "customer_id, dimension, value",
    "segment": "customer_id",
    "recommendation": "customer_id, kind, rank",
    "customer_value": "customer_id",
    "customer_tag": "customer_id, tag",
    "tag_definition": "tag",
}

NIGHT = date(2025, 1, 20)
RETAILER = Retailer(customers=600, products=200, stores=4, history_days=20)
MODELS = """
candidates:
  - {name: popularity}
  - {name: repeat}
  - {name: ease, params: {regularisation: 100.0}}
  - {name: multvae, params: {hidden: 64, latent: 16, epochs: 6, patience: 2, anneal_epochs: 2, batch_size: 100}}
embedding_model: multvae
holdout_days: 5
threads: 1
seed: 7
"""


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project's own configuration with smaller models, over the deliveries of a smaller retailer."""
    folder = tmp_path_factory.mktemp("config")
    simulate(RETAILER, folder / "deliveries", RETAILER.start, NIGHT + timedelta(days=1))
    for name in ("identity.yaml", "features.yaml", "tags.yaml"):
        (folder / name).write_text((REPOSITORY / "include" / "config" / name).read_text())
    (folder / "model.yaml").write_text(MODELS)
    sources = (REPOSITORY / "include" / "config" / "sources.yaml").read_text()
    sources = re.sub(r"business_date: 2025-\S+", f"business_date: {NIGHT}", sources)
    (folder / "sources.yaml").write_text(sources.replace("{simulated}", str(folder / "deliveries")))
    return folder


def use_free_port(home: Path) -> None:
    """Give the workspace's Airflow a port of its own: tests side by side would both find 8080 free."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    airflow = home / "demo" / "airflow"
    airflow.mkdir(parents=True, exist_ok=True)
    (airflow / "port").write_text(str(port))


class Home:
    """One workspace folder and the `portrait` command on it."""

    def __init__(self, home: Path, config: Path) -> None:
        self.environ = {**os.environ, "PORTRAIT_HOME": str(home), "PORTRAIT_CONFIG_DIR": str(config)}
        # Customer ids come from hashed identifiers: two homes are comparable only under one key.
        self.environ["PORTRAIT_PII_KEY"] = "end-to-end"
        for name in ("PORTRAIT_DATABASE_URL", "PORTRAIT_SOURCES", "AIRFLOW_HOME"):
            self.environ.pop(name, None)
        # test_dag_validity configures an Airflow of its own in the same process.
        self.environ = {k: v for k, v in self.environ.items() if not k.startswith("AIRFLOW__")}
        self.output = home.with_suffix(".log")
        use_free_port(home)

    def start(self, *arguments: str) -> subprocess.Popen[bytes]:
        command = "from portrait.cli import main; main()"
        with self.output.open("wb") as file:
            return subprocess.Popen(
                [sys.executable, "-c", command, *arguments], env=self.environ, stdout=file, stderr=file
            )

    def run(self) -> str:
        process = self.start("run")
        try:
            code = process.wait(timeout=480)
        except subprocess.TimeoutExpired:
            # It stops Airflow's services on its way out.
            process.send_signal(signal.SIGINT)
            process.wait(timeout=60)
            raise
        assert code == 0, self.output.read_text()[-3000:]
        return self.output.read_text()

    @property
    def settings(self) -> Settings:
        return load_settings(self.environ)

    @property
    def warehouse(self) -> Warehouse:
        return open_warehouse(self.settings)

    def tables(self) -> dict[str, list[dict[str, Any]]]:
        found = {
            name: self.warehouse.rows(f"select * from profile.{name} order by {key}")
            for name, key in TABLES.items()
        }
        found["embedding"] = self.warehouse.rows(
            "select customer_id, embedding::text from profile.embedding order by customer_id"
        )
        return found


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory, config: Path) -> Iterator[Home]:
    """A first night in which running tasks were killed with SIGKILL, then `make run` itself, then run again."""
    home = Home(tmp_path_factory.mktemp("killed") / "home", config)
    process = home.start("run")
    kills = _kill_tasks(process, home, wanted=2)
    assert kills == 2, home.output.read_text()[-3000:]
    # Now everything: the command, scheduler and workers, in the middle of the night.
    _wait_for(lambda: "nightly models.train" in home.output.read_text(), process, home)
    _kill_everything(process)
    home.run()
    yield home
    stop_server(home.settings.server_dir)


@pytest.fixture(scope="module")
def undisturbed(
    tmp_path_factory: pytest.TempPathFactory, config: Path, server: URL, template: str
) -> Iterator[Home]:
    """The same night without Airflow: its stages one after the other in this process."""
    home = Home(tmp_path_factory.mktemp("undisturbed") / "home", config)
    with copied(server, template) as warehouse:
        home.environ["PORTRAIT_DATABASE_URL"] = warehouse.url.render_as_string(hide_password=False)
        for source in home.settings.sources.sources:
            pull(home.settings, source.name, NIGHT)
        stages.nightly(home.settings, stages.begin_run(home.settings, NIGHT, "undisturbed"))
        yield home


def test_the_night_is_published_and_shown(killed: Home) -> None:
    output = killed.output.read_text()
    for expected in ("What they buy next", "profile.customer_profile", "make ui", "make psql"):
        assert expected in output
    assert output.count("Customer C") == 3
    run = killed.warehouse.rows("select as_of::text, status from ops.run")
    assert run == [{"as_of": "2025-01-20", "status": "published"}]
    assert all(rows for rows in killed.tables().values())


def test_airflow_ran_it(killed: Home) -> None:
    """Every stage was a task of the nightly Dag, woken by the ingest Dags' assets for one partition."""
    settings = killed.settings
    metadata = Warehouse(killed.warehouse.url.set(database=f"airflow_{settings.workspace}"))
    nights = metadata.rows("select run_type, state, partition_key from dag_run where dag_id = 'nightly'")
    assert nights == [{"run_type": "asset_triggered", "state": "success", "partition_key": "2025-01-20"}]
    tasks = metadata.rows(
        "select count(*) as n, min(state) as lowest, max(state) as highest from task_instance where dag_id = 'nightly'"
    )
    assert tasks == [{"n": 15, "lowest": "success", "highest": "success"}]


def test_killing_tasks_and_the_whole_run_ends_with_the_tables_of_stages_left_in_peace(
    undisturbed: Home, killed: Home
) -> None:
    assert (
        killed.warehouse.scalar("select as_of::text from ops.run where status = 'published'") == "2025-01-20"
    )
    expected, found = undisturbed.tables(), killed.tables()
    for name in expected:
        assert _without_version(found[name]) == _without_version(expected[name]), name


def test_a_second_run_goes_on_to_the_next_day_incrementally(killed: Home) -> None:
    before = killed.tables()["customer_profile"]
    killed.run()
    warehouse = killed.warehouse
    assert (
        warehouse.scalar("select r.as_of::text from ops.published_run join ops.run r using (run_id)")
        == "2025-01-21"
    )
    # The second night read the new day's files only ...
    second = warehouse.rows(
        "select count(*) filter (where path not like '%2025-01-21%') as old, count(*) as files from ops.batch_file f "
        "join ops.batch b using (batch_id) where b.business_date = '2025-01-21'"
    )
    assert second[0]["old"] == 0
    assert second[0]["files"] > 0
    # ... and kept everybody's id.
    known = {r["customer_id"] for r in before}
    now = {r["customer_id"] for r in killed.tables()["customer_profile"]}
    merged = {
        r["other_customer_id"]
        for r in warehouse.rows("select other_customer_id from identity.id_change where change = 'merge'")
    }
    assert known - merged <= now
    roles = {
        r["role"]
        for r in warehouse.rows("select distinct role from ops.evaluation where run_id = '2025-01-21.1'")
    }
    assert roles == {"candidate", "champion"}


def test_no_phone_and_no_address_is_left_in_clear(killed: Home, config: Path) -> None:
    """Not in the warehouse, nor in Airflow's database (XCom, logs), log files, lake, runs or models."""
    settings = killed.settings
    planted = set()
    for path in (config / "deliveries").glob("accounts/*/accounts.jsonl"):
        for line in path.read_text().splitlines():
            account = json.loads(line)
            planted |= {(account.get("phone") or "")[-11:], (account.get("email") or "").strip().lower()}
    planted -= {""}
    assert len(planted) > 300

    pg_dump = psql_path().with_name("pg_dump")
    url = killed.warehouse.url
    for database in (settings.database_name, f"airflow_{settings.workspace}"):
        uri = Warehouse(url.set(database=database)).libpq_uri
        dump = subprocess.run([pg_dump, uri], capture_output=True, check=True).stdout.decode()
        assert "COPY" in dump
        assert _contacts(dump) & planted == set(), database
    looked_at = 0
    for path in settings.workspace_dir.rglob("*"):
        if not path.is_file():
            continue
        looked_at += 1
        if path.suffix == ".parquet":
            table = pq.read_table(path, partitioning=None)
            texts = [c for c in table.itercolumns() if pa.types.is_string(c.type)]
            content = "\n".join(str(v) for column in texts for v in column.unique().to_pylist())
        else:
            content = path.read_bytes().decode("latin-1")
        assert _contacts(content) & planted == set(), path
    assert looked_at > 20


def _contacts(text: str) -> set[str]:
    phones = re.findall(r"(?<!\d)1[3-9]\d{9}(?!\d)", text)
    return {*phones, *(e.lower() for e in re.findall(r"[\w.+-]+@[\w.-]+\.\w+", text))}


def _without_version(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """A killed first attempt may have left its own run id in the model's name."""
    return [{k: v for k, v in r.items() if k != "model_version"} for r in rows]


def _kill_tasks(process: subprocess.Popen[bytes], home: Home, wanted: int) -> int:
    """SIGKILL some task processes of Airflow's workers as they appear."""
    killed, deadline = 0, time.monotonic() + 180
    while killed < wanted and time.monotonic() < deadline and process.poll() is None:
        for task in _task_processes(process):
            if killed < wanted:
                try:
                    task.kill()
                except psutil.NoSuchProcess:  # it ended by itself in the meantime
                    continue
                killed += 1
                time.sleep(1)
        time.sleep(0.2)
    return killed


def _task_processes(process: subprocess.Popen[bytes]) -> list[psutil.Process]:
    """Children of LocalExecutor workers that are running a task."""
    found = []
    try:
        for child in psutil.Process(process.pid).children(recursive=True):
            name = " ".join(child.cmdline())
            if name.startswith("airflow worker -- ") and "LocalExecutor" not in name:
                found.append(child)
    except psutil.Error:
        return []
    return found


def _wait_for(condition: Any, process: subprocess.Popen[bytes], home: Home) -> None:
    deadline = time.monotonic() + 180
    while not condition():
        assert time.monotonic() < deadline, home.output.read_text()[-3000:]
        assert process.poll() is None, home.output.read_text()[-3000:]
        time.sleep(0.2)


def _kill_everything(process: subprocess.Popen[bytes]) -> None:
    victims = [p for p in psutil.Process(process.pid).children(recursive=True) if p.name() != "postgres"]
    for victim in [*victims, psutil.Process(process.pid)]:
        try:
            os.kill(victim.pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
    process.wait()
    psutil.wait_procs(victims, timeout=20)
