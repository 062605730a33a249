"""Airflow's services on this machine: their environment, start, health and stop.

Airflow runs as child processes and is spoken to over its REST API: this package never imports it.
"""

import json
import logging
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

import psutil
from sqlalchemy import URL

from portrait.config import Settings
from portrait.config.settings import ROOT
from portrait.errors import PortraitError
from portrait.local.client import AirflowClient
from portrait.local.pools import create_pools
from portrait.warehouse.database import create_database
from portrait.warehouse.server import start_server

log = logging.getLogger(__name__)

SERVICES = ("scheduler", "dag-processor", "triggerer", "api-server")
START_SECONDS = 120
LOGIN = "admin"


def run_airflow(settings: Settings, arguments: list[str]) -> NoReturn:
    """Become Airflow's own command line on this workspace, for example ``["connections", "list"]``.

    It works beside running services; without them, what it starts waits for the next `make ui` or `make run`.
    """
    services = AirflowServices(settings)
    if not services.prepared:
        services.prepare()
    command = services.command(*arguments)
    os.execve(command[0], command, services.environment())


class AirflowServices:
    """The Airflow of one workspace: its own home, metadata database, login and port."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.home = settings.workspace_dir / "airflow"
        self.processes: dict[str, subprocess.Popen[bytes]] = {}

    @property
    def password(self) -> str:
        return str(json.loads((self.home / "passwords.json").read_text())[LOGIN])

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def port(self) -> int:
        """The same port every time if it is free, so that a bookmark stays good."""
        wanted = self.home / "port"
        if not wanted.exists():
            wanted.write_text(str(_free_port(8080)))
        return int(wanted.read_text())

    @property
    def prepared(self) -> bool:
        """Whether `prepare` has come to its end before."""
        return (self.home / "prepared").exists()

    def client(self) -> AirflowClient:
        return AirflowClient(self.address, LOGIN, self.password)

    def environment(self) -> dict[str, str]:
        """Environment of every Airflow process, and of its tasks."""
        settings = self.settings
        own = {
            "AIRFLOW_HOME": str(self.home),
            "AIRFLOW__CORE__DAGS_FOLDER": str(ROOT / "dags"),
            "AIRFLOW__CORE__PLUGINS_FOLDER": str(ROOT / "plugins"),
            "AIRFLOW__CORE__EXECUTOR": "LocalExecutor",
            "AIRFLOW__CORE__PARALLELISM": "2",
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            # Else two sources that finish at the same time may leave their night waiting for ever.
            "AIRFLOW__CORE__ASSET_MANAGER_CLASS": "portrait_assets.PortraitAssetManager",
            "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
            "AIRFLOW__CORE__FERNET_KEY": self._secret("fernet"),
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": f"{LOGIN}:admin",
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(self.home / "passwords.json"),
            "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{self.address}/execution/",
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": self._metadata_url().render_as_string(hide_password=False),
            "AIRFLOW__API__HOST": "127.0.0.1",
            "AIRFLOW__API__PORT": str(self.port),
            "AIRFLOW__API__BASE_URL": self.address,
            "AIRFLOW__API__WORKERS": "1",
            "AIRFLOW__API__SECRET_KEY": self._secret("api"),
            "AIRFLOW__API_AUTH__JWT_SECRET": self._secret("jwt"),
            "AIRFLOW__DAG_PROCESSOR__PARSING_PROCESSES": "1",
            "AIRFLOW__DAG_PROCESSOR__REFRESH_INTERVAL": "30",
            "AIRFLOW__SCHEDULER__SCHEDULER_HEARTBEAT_SEC": "2",
            # After a kill -9 of everything, the next start takes over what was running within seconds.
            "AIRFLOW__SCHEDULER__SCHEDULER_HEALTH_CHECK_THRESHOLD": "10",
            "AIRFLOW__SCHEDULER__ORPHANED_TASKS_CHECK_INTERVAL": "10",
            "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "60",
            "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "10",
            "AIRFLOW__TRIGGERER__CAPACITY": "10",
            "AIRFLOW__LOGGING__WORKER_LOG_SERVER_PORT": str(self.port + 1000),
            "AIRFLOW__LOGGING__TRIGGER_LOG_SERVER_PORT": str(self.port + 2000),
            "PORTRAIT_HOME": str(settings.home),
            "PORTRAIT_SERVER_DIR": str(settings.server_dir),
            "PORTRAIT_SOURCES": str(settings.sources_path),
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}",
        }
        return {**os.environ, **own}

    def prepare(self) -> None:
        """Create the metadata database, the login and the pools, and bring the database up to date."""
        self.home.mkdir(parents=True, exist_ok=True)
        passwords = self.home / "passwords.json"
        if not passwords.exists():
            _write_private(passwords, json.dumps({LOGIN: secrets.token_urlsafe(12)}))
        if not self.settings.database_url:
            create_database(start_server(self.settings.server_dir), self._metadata_name)
        with (self.home / "migrate.log").open("wb") as log_file:
            done = subprocess.run(
                self.command("db", "migrate"), env=self.environment(), stdout=log_file, stderr=log_file
            )
        if done.returncode:
            raise PortraitError(f"Airflow's database could not be migrated; see {self.home / 'migrate.log'}")
        create_pools(self.settings, self.environment())
        (self.home / "prepared").touch()

    @contextmanager
    def running(self) -> Iterator[AirflowClient]:
        """Start the services, wait until they are healthy, stop them on leaving the block.

        Raises
        ------
        PortraitError : when a service ends or is not healthy in time, with the place of its log.
        """
        self._end_orphans()
        if _taken(self.port):
            if self.port_is_ours():
                raise PortraitError(
                    f"Airflow of this workspace already runs at {self.address}; close `make ui` first"
                )
            (self.home / "port").unlink()
        environment = self.environment()
        try:
            for service in SERVICES:
                with (self.home / f"{service}.log").open("ab") as log_file:
                    self.processes[service] = subprocess.Popen(
                        self.command(service),
                        env=environment,
                        stdin=subprocess.DEVNULL,
                        stdout=log_file,
                        stderr=log_file,
                        start_new_session=True,
                    )
            pids = [p.pid for p in self.processes.values()]
            self._record.write_text(json.dumps({"owner": os.getpid(), "services": pids}))
            yield self._healthy()
        finally:
            self.stop()

    def check(self) -> None:
        """Raise PortraitError when a service has ended."""
        for service, process in self.processes.items():
            if process.poll() is not None:
                raise PortraitError(
                    f"Airflow's {service} ended with code {process.returncode}; see {self.home / service}.log"
                )

    def port_is_ours(self) -> bool:
        """Whether what listens on our port answers to our login."""
        try:
            # Another workspace's Airflow is healthy too, but does not know our login.
            self.client().dag_ids()
            return True
        except (OSError, PortraitError):
            return False

    def stop(self) -> None:
        """End the services that this object started, and their children."""
        for process in self.processes.values():
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGTERM)
        deadline = time.monotonic() + 20
        for process in self.processes.values():
            try:
                process.wait(max(0.1, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        self.processes.clear()
        self._record.unlink(missing_ok=True)

    def _end_orphans(self) -> None:
        """End services whose `make run` or `make ui` was killed before it could end them."""
        if not self._record.exists():
            return
        record = json.loads(self._record.read_text())
        if psutil.pid_exists(record["owner"]) and _is(record["owner"], "portrait"):
            return
        for pid in record["services"]:
            if psutil.pid_exists(pid) and _is(pid, "airflow"):
                log.warning("ending an Airflow service that was left running (pid %d)", pid)
                os.killpg(pid, signal.SIGTERM)
        services = [psutil.Process(pid) for pid in record["services"] if psutil.pid_exists(pid)]
        for service in psutil.wait_procs(services, timeout=20)[1]:
            if _is(service.pid, "airflow"):
                os.killpg(service.pid, signal.SIGKILL)
        self._record.unlink()

    def _healthy(self) -> AirflowClient:
        deadline = time.monotonic() + START_SECONDS
        client = self.client()
        while time.monotonic() < deadline:
            self.check()
            try:
                if client.healthy() and client.dag_ids() is not None:
                    return client
            except (OSError, PortraitError):
                log.debug("Airflow is not up yet")
            time.sleep(0.5)
        raise PortraitError(
            f"Airflow was not healthy within {START_SECONDS} s; see {self.home}/*.log, or free port {self.port}"
        )

    @property
    def _record(self) -> Path:
        """Who started the services, and their process ids."""
        return self.home / "services.json"

    @property
    def _metadata_name(self) -> str:
        return f"airflow_{self.settings.workspace}"

    def _metadata_url(self) -> URL:
        if self.settings.database_url:
            raise PortraitError(
                "`make run` and `make ui` use the embedded PostgreSQL; with PORTRAIT_DATABASE_URL run Airflow "
                "yourself (docker-compose.yaml shows how)"
            )
        return start_server(self.settings.server_dir).set(database=self._metadata_name)

    def command(self, *arguments: str) -> list[str]:
        """A command line of Airflow, to run in `environment`."""
        return [str(Path(sys.executable).parent / "airflow"), *arguments]

    def _secret(self, name: str) -> str:
        path = self.home / f"{name}.secret"
        if not path.exists():
            import base64

            _write_private(
                path, base64.urlsafe_b64encode(secrets.token_bytes(32 if name == "fernet" else 64)).decode()
            )
        return path.read_text()


def _write_private(path: Path, content: str) -> None:
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(content)


def _is(pid: int, word: str) -> bool:
    """Whether a process is what we think it is: a pid may have been given to another one."""
    try:
        return any(word in part for part in psutil.Process(pid).cmdline())
    except psutil.Error:
        return False


def _taken(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _free_port(first: int) -> int:
    """The first free port from `first` on."""
    for port in range(first, first + 200):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
                return port
            except OSError:
                continue
    raise PortraitError(f"no free port from {first} to {first + 199}")
