"""docker-compose.yaml without Docker: its references hold, and every service runs and gets healthy.

The last test plays the containers: the paths of the Dockerfile and of the mounts become a folder, the compose
network becomes loopback and the embedded server's socket; command lines, environment and health checks are
the file's own.
"""

import base64
import importlib.util
import json
import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml
from portrait.config import settings as settings_module
from portrait.config.settings import ROOT
from portrait.local.client import AirflowClient
from portrait.warehouse import Warehouse
from portrait.warehouse.server import psql_path
from sqlalchemy import URL, create_engine, make_url, text
from sqlalchemy.pool import NullPool

COMPOSE = yaml.safe_load((ROOT / "docker-compose.yaml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
AIRFLOW_SERVICES = {n: s for n, s in SERVICES.items() if n.startswith("airflow-") and n != "airflow-init"}
DOCKERFILE = re.sub(r"\\\n\s*", "", (ROOT / "Dockerfile").read_text())
EXAMPLE = dict(re.findall(r"^(\w+)=(.*)$", (ROOT / ".env.example").read_text(), re.MULTILINE))
# Not imported: that would make an AIRFLOW_HOME.
AIRFLOW = Path(str(importlib.util.find_spec("airflow").origin)).parent
REFERENCE = re.compile(r"\$\$|\$\{(?P<name>\w+)(?::(?P<kind>[-?])(?P<rest>[^}]*))?\}")
# What is generated with openssl is a secret.
SECRETS = {
    "POSTGRES_PASSWORD": "p4ss",
    "PORTRAIT_PII_KEY": "k3y",
    "AIRFLOW_ADMIN_PASSWORD": 'adm"in',
    "AIRFLOW_FERNET_KEY": base64.urlsafe_b64encode(secrets.token_bytes(32)).decode(),
    "AIRFLOW_JWT_SECRET": secrets.token_hex(32),
    "AIRFLOW_API_SECRET_KEY": secrets.token_hex(32),
}


def strings(node: Any) -> Iterator[str]:
    """Every text in a YAML tree."""
    if isinstance(node, dict):
        for value in node.values():
            yield from strings(value)
    elif isinstance(node, list):
        for value in node:
            yield from strings(value)
    elif isinstance(node, str):
        yield node


def interpolate(node: Any, environment: dict[str, str]) -> Any:
    """A YAML tree with ``$$``, ``${NAME}``, ``${NAME:-default}`` and ``${NAME:?message}`` filled in."""
    if isinstance(node, dict):
        return {k: interpolate(v, environment) for k, v in node.items()}
    if isinstance(node, list):
        return [interpolate(v, environment) for v in node]
    if not isinstance(node, str):
        return node

    def fill(match: re.Match[str]) -> str:
        if match[0] == "$$":
            return "$"
        value = environment.get(match["name"], "")
        if not value and match["kind"] == "?":
            raise KeyError(f"{match['name']}: {match['rest']}")
        return value or match["rest"] or ""

    return REFERENCE.sub(fill, node)


def instructions(name: str) -> list[str]:
    """The arguments of each instruction of this name in the Dockerfile."""
    return re.findall(rf"^{name} (.+)$", DOCKERFILE, re.MULTILINE)


def mounts(service: dict[str, Any]) -> list[tuple[str, str]]:
    """(source, target) of a service's volumes; the source may hold a reference with a colon."""
    return [re.fullmatch(r"(.+?):(/[\w/]+)(?::ro)?", v).groups() for v in service.get("volumes", [])]


def test_the_example_names_every_variable_and_sets_none() -> None:
    named = {m["name"] for s in strings(COMPOSE) for m in REFERENCE.finditer(s) if m["name"]}
    assert named == set(EXAMPLE)
    assert {n for n, value in EXAMPLE.items() if value} == set()
    stray = [s for s in strings(COMPOSE) if "$" in REFERENCE.sub("", s)]
    assert stray == [], "write ${NAME}, or $$ for a dollar"


def test_nothing_starts_without_each_secret() -> None:
    complete = {**SECRETS, "PORTRAIT_DATA_DIR": "/srv/data"}
    interpolate(COMPOSE, complete)
    for name in complete:
        with pytest.raises(KeyError, match=re.escape(name)):
            interpolate(COMPOSE, {**complete, name: ""})


def test_no_secret_is_written_down() -> None:
    for service in SERVICES.values():
        for name, value in service["environment"].items():
            if name == "PORTRAIT_PII_KEY_FORMER":
                assert value == "${PORTRAIT_PII_KEY_FORMER:-}"  # there is none but while keys are rotated
            elif re.search("PASSWORD|SECRET|KEY|TOKEN", name) and not value.startswith("/"):
                assert re.fullmatch(r"\$\{\w+:\?[^}]+\}", value), name
            if "://" in value and "@" in value:
                assert re.search(r"://\w+:\$\{\w+:\?[^}]+\}@", value), name


def test_the_documented_snippet_makes_every_secret(tmp_path: Path) -> None:
    if not (shutil.which("openssl") and shutil.which("bash")):
        pytest.skip("needs bash and openssl")
    snippet = re.search(r"```bash\n(.*?)```", (ROOT / "docs/operations.md").read_text(), re.DOTALL)[1]
    shutil.copy(ROOT / ".env.example", tmp_path)
    made = []
    for _ in range(2):
        subprocess.run(["bash", "-euc", snippet], cwd=tmp_path, check=True)
        made.append((tmp_path / ".env").read_text())
    assert made[0] == made[1], "a second time keeps the secrets"
    values = dict(re.findall(r"^(\w+)=(.+)$", made[0], re.MULTILINE))
    assert set(values) == set(SECRETS)
    assert len(base64.urlsafe_b64decode(values.pop("AIRFLOW_FERNET_KEY"))) == 32
    assert all(re.fullmatch("[0-9a-f]{32,}", v) for v in values.values())
    assert (tmp_path / ".env").stat().st_mode & 0o077 == 0


def test_mounted_and_copied_paths_exist() -> None:
    declared = set(COMPOSE["volumes"])
    for name, service in SERVICES.items():
        for source, target in mounts(service):
            if source.startswith("."):
                assert (ROOT / source).is_dir(), f"{name}: {source}"
            elif not source.startswith("${"):
                assert source in declared, f"{name}: {source}"
            assert target.startswith("/")
    build = SERVICES["airflow-init"]["build"]
    assert build["context"] == "."
    assert set(build["args"]) == {a.removesuffix("=") for a in instructions("ARG")}
    assert [n for n, s in SERVICES.items() if "build" in s] == ["airflow-init"]


def test_the_image_is_built_from_the_pinned_requirements() -> None:
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    let_in = {line.removeprefix("!") for line in lines if line.startswith("!")}
    assert "*" in lines
    copied = {source for line in instructions("COPY") for source in line.split()[:-1]}
    assert copied == let_in
    for source in copied:
        assert (ROOT / source).exists(), source
    pip = [line for line in instructions("RUN") if line.startswith("pip install")]
    assert "-r requirements.txt -c constraints.txt" in pip[0]
    assert pip[1].endswith("--no-deps -e .")
    assert instructions("FROM") == ["python:3.11-slim"]
    assert instructions("USER") == ["50000:0"]
    # Owned by that user before a volume is mounted over it.
    owned = next(line for line in instructions("RUN") if "install --directory" in line)
    for source, target in mounts(SERVICES["airflow-scheduler"]):
        if source in COMPOSE["volumes"]:
            assert f" {target}" in owned


def test_every_setting_is_one_that_airflow_and_portrait_know() -> None:
    description = yaml.safe_load((AIRFLOW / "config_templates/config.yml").read_text())
    portrait = Path(settings_module.__file__).read_text()
    seen = {name for s in SERVICES.values() for name in s["environment"]}
    assert len(seen) > 20
    for name in seen:
        if name.startswith("AIRFLOW__"):
            _, section, option = name.lower().split("__")
            assert option in description.get(section, {"options": {}})["options"], name
        elif name.startswith("PORTRAIT_"):
            assert f'"{name}"' in portrait, name


def test_services_wait_for_what_they_need() -> None:
    one_shot = {n for n, s in SERVICES.items() if s["restart"] == "no"}
    assert one_shot == {"airflow-init"}
    for name, service in SERVICES.items():
        assert ("healthcheck" in service) == (name not in one_shot), name
        assert service["restart"] == ("no" if name in one_shot else "unless-stopped")
        for needed, how in service.get("depends_on", {}).items():
            expected = "service_completed_successfully" if needed in one_shot else "service_healthy"
            assert how == {"condition": expected}, f"{name} on {needed}"
            assert needed in SERVICES
    runners = " ".join(p.read_text() for p in (AIRFLOW / "jobs").glob("*_job_runner.py"))
    known = set(re.findall(r'^    job_type = "(\w+)"', runners, re.MULTILINE))
    checks = [s["healthcheck"]["test"] for s in AIRFLOW_SERVICES.values()]
    checked = [test[test.index("--job-type") + 1] for test in checks if "--job-type" in test]
    assert len(checked) == 3
    assert set(checked) <= known


def test_only_the_ui_and_the_api_are_published_and_only_to_this_machine() -> None:
    published = {n: s["ports"] for n, s in SERVICES.items() if "ports" in s}
    assert published == {
        "airflow-api-server": ["127.0.0.1:8080:8080"],
        "portrait-api": ["127.0.0.1:8090:8090"],
    }


def test_postgres_accepts_its_command_line(server: URL) -> None:
    program, *arguments = SERVICES["postgres"]["command"]
    folder = Warehouse(server).scalar("show data_directory")
    shown = subprocess.run(
        [psql_path().with_name(program), "-C", "shared_buffers", "-D", folder, *arguments],
        capture_output=True,
        text=True,
    )
    assert shown.returncode == 0, shown.stderr
    assert int(shown.stdout) * 8192 == 256 * 1024**2
    ready = SERVICES["postgres"]["healthcheck"]["test"]
    here = [psql_path().with_name(ready[1]), *ready[2:]]
    here[here.index("--host=127.0.0.1")] = f"--host={server.query['host']}"
    subprocess.run(here, check=True)


class Machine:
    """This machine in the role of the containers."""

    def __init__(self, folder: Path, server: URL) -> None:
        self.root, self.server, self.port = folder / "container", server, free_port()
        self.logs = folder / "logs"
        self.logs.mkdir(parents=True)
        data = folder / "data"
        data.mkdir()
        self.variables = {**dict.fromkeys(EXAMPLE, ""), **SECRETS, "PORTRAIT_DATA_DIR": str(data)}
        self.services = interpolate(SERVICES, self.variables)
        self.databases = {n: f"compose_{n}_{uuid.uuid4().hex[:8]}" for n in ("airflow", "portrait")}
        self._lay_out()

    def _lay_out(self) -> None:
        """The image's and the mounts' folders under `root`."""
        (workdir,) = instructions("WORKDIR")
        for line in instructions("COPY"):
            *sources, target = line.split()
            for source in sources:
                self._link(ROOT / source, f"{workdir}/{source if target == './' else target}")
        for service in self.services.values():
            for source, target in mounts(service):
                if source in COMPOSE["volumes"]:
                    (self.root / target[1:]).mkdir(parents=True, exist_ok=True)
                else:
                    self._link(ROOT / source, target)

    def _link(self, source: Path, target: str) -> None:
        place = self.root / target[1:]
        if place.exists():
            assert place.samefile(source)
        else:
            place.parent.mkdir(parents=True, exist_ok=True)
            place.symlink_to(source)

    def here(self, value: str) -> str:
        """A value of the compose file as it is on this machine."""
        if value.startswith("postgresql"):
            url = make_url(value)
            assert (url.host, url.username) == (
                "postgres",
                SERVICES["postgres"]["environment"]["POSTGRES_USER"],
            )
            assert url.password == SECRETS["POSTGRES_PASSWORD"]
            mine = self.server.set(drivername=url.drivername, database=self.databases[str(url.database)])
            return mine.render_as_string(hide_password=False)
        value = re.sub(r"(?:airflow-api-server|127\.0\.0\.1):8080\b", f"127.0.0.1:{self.port}", value)
        return re.sub(r"(?<![\w.:/])/(?=opt/|var/lib/|data\b)", f"{self.root}/", value)

    def environment(self, service: str) -> dict[str, str]:
        image = dict(pair.split("=", 1) for line in instructions("ENV") for pair in line.split())
        declared = {**image, **self.variables, **self.services[service]["environment"]}
        return {
            **{name: self.here(value) for name, value in declared.items()},
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "HOME": str(self.root / "opt/airflow"),
            "AIRFLOW__API__PORT": str(self.port),
            # Containers have their own; here another Airflow may be running.
            "AIRFLOW__LOGGING__WORKER_LOG_SERVER_PORT": str(free_port()),
            "AIRFLOW__LOGGING__TRIGGER_LOG_SERVER_PORT": str(free_port()),
        }

    def start(
        self, service: str, command: list[str], log: str, **environment: str
    ) -> "subprocess.Popen[bytes]":
        with (self.logs / log).open("ab") as output:
            return subprocess.Popen(
                [self.here(part) for part in command],
                env={**self.environment(service), **environment},
                cwd=self.root / "opt/portrait",
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )

    def log(self, name: str) -> str:
        return (self.logs / name).read_text(errors="replace")[-3000:]

    def initialise(self, **environment: str) -> None:
        command = self.services["airflow-init"]["command"]
        process = self.start("airflow-init", command, "airflow-init", **environment)
        assert process.wait(120) == 0, self.log("airflow-init")

    @contextmanager
    def up(self) -> Iterator[None]:
        """The long-running services; their process groups end with the block."""
        running: dict[str, subprocess.Popen[bytes]] = {}
        try:
            for service in AIRFLOW_SERVICES:
                running[service] = self.start(service, self.services[service]["command"], service)
            for service in AIRFLOW_SERVICES:
                self.wait_healthy(service, running[service])
            yield
        finally:
            for process in running.values():
                end(process, signal.SIGTERM)
            for process in running.values():
                try:
                    process.wait(15)
                except subprocess.TimeoutExpired:
                    end(process, signal.SIGKILL)
                    process.wait()

    def wait_healthy(self, service: str, process: "subprocess.Popen[bytes]") -> None:
        """Run the service's health check until it passes."""
        kind, *check = self.services[service]["healthcheck"]["test"]
        assert kind == "CMD"
        deadline = time.monotonic() + 90
        while self.start(service, check, f"{service}-health").wait(60):
            assert process.poll() is None, f"{service} ended: {self.log(service)}"
            assert time.monotonic() < deadline, self.log(f"{service}-health") + self.log(service)
            time.sleep(0.5)

    def drop(self) -> None:
        engine = create_engine(self.server, isolation_level="AUTOCOMMIT", poolclass=NullPool)
        with engine.connect() as connection:
            for name in self.databases.values():
                connection.execute(text(f"drop database if exists {name} with (force)"))


def end(process: "subprocess.Popen[bytes]", how: signal.Signals) -> None:
    """Send a signal to a process group of ours that has not ended."""
    if process.poll() is None:
        os.killpg(process.pid, how)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def until(done: Callable[[], Any], what: str, seconds: float = 60) -> Any:
    """The first truthy answer."""
    deadline = time.monotonic() + seconds
    while not (answer := done()):
        assert time.monotonic() < deadline, what
        time.sleep(0.5)
    return answer


@pytest.fixture
def machine(tmp_path: Path, server: URL) -> Iterator[Machine]:
    machine = Machine(tmp_path, server)
    yield machine
    machine.drop()


@pytest.mark.slow
@pytest.mark.airflow
def test_initialising_again_makes_the_pools_of_a_new_source(machine: Machine, tmp_path: Path) -> None:
    sources = tmp_path / "sources.yaml"
    text = (ROOT / "include/config/sources.yaml").read_text()
    machine.initialise()
    metadata = Warehouse(machine.server.set(database=machine.databases["airflow"]))
    pools = "select pool, slots from slot_pool order by pool"
    assert [p["pool"] for p in metadata.rows(pools)] == ["default_pool"]
    sources.write_text(text.replace("- name: stores\n", "- name: stores\n    pool: tills\n"))
    machine.initialise(PORTRAIT_SOURCES=str(sources))
    assert metadata.rows(pools)[1:] == [{"pool": "tills", "slots": 2}]


@pytest.mark.slow
@pytest.mark.airflow
def test_every_service_gets_healthy_and_a_task_runs(machine: Machine) -> None:
    machine.initialise()
    warehouse = Warehouse(machine.server.set(database=machine.databases["portrait"]))
    assert warehouse.scalar("select count(*) from raw.store") == 0
    folder = machine.root / "var/lib/portrait/demo/sources"
    folder.mkdir(parents=True)
    (folder / "stores.csv").write_text(
        "store_id,name,region,city,city_tier,opened_on\nS1,One,East,Shanghai,1,2020-01-01\n"
    )
    with machine.up():
        assert json.loads((machine.root / "opt/airflow/passwords.json").read_text()) == {
            "admin": SECRETS["AIRFLOW_ADMIN_PASSWORD"]
        }
        client = AirflowClient(f"http://127.0.0.1:{machine.port}", "admin", SECRETS["AIRFLOW_ADMIN_PASSWORD"])
        until(lambda: {"nightly", "ingest_stores"} <= client.dag_ids(), "Dags not parsed")
        assert client.import_errors() == []
        client.trigger("ingest_stores", "compose", "2025-06-29")

        def ended() -> str | None:
            state = client.runs("ingest_stores", "2025-06-29")[0]["state"]
            return state if state in ("success", "failed") else None

        assert until(ended, "the task did not run") == "success", machine.log("airflow-scheduler")
        assert warehouse.scalar("select name from raw.store") == "One"
        assert client.log_tail("ingest_stores", "compose", "pull", 1)
        assert list((machine.root / "opt/airflow/logs").rglob("attempt=1.log"))
