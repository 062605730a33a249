"""A real MariaDB (Debian's package mariadb-server) of a test session's own."""

import os
import shutil
import socket
import subprocess
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pymysql
import pytest
from pymysql.constants import CLIENT

LOGIN, PASSWORD = "pos", "p@ss:word/?#%+' 1"
PATH = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/usr/bin"])


@dataclass(frozen=True)
class MariaDB:
    """A server on 127.0.0.1 whose user `pos` may read and write every database but `mysql`."""

    port: int
    socket: Path

    def execute(self, sql: str, database: str | None = None) -> tuple[tuple[Any, ...], ...]:
        """Run statements as the administrator, committed one by one; the rows of the first."""
        with pymysql.connect(
            unix_socket=str(self.socket), user="root", database=database, autocommit=True,
            client_flag=CLIENT.MULTI_STATEMENTS,
        ) as connection, connection.cursor() as cursor:  # fmt: skip
            cursor.execute(sql)
            return tuple(cursor.fetchall())

    def create_database(self) -> str:
        name = f"shop_{uuid.uuid4().hex[:12]}"
        self.execute(f"create database {name} character set utf8mb4")
        return name

    def connection(self, database: str, **changed: Any) -> dict[str, Any]:
        """Airflow's JSON of a connection to it."""
        return {
            "conn_type": "mysql", "host": "127.0.0.1", "port": self.port, "login": LOGIN, "password": PASSWORD,
            "schema": database, **changed,
        }  # fmt: skip


@contextmanager
def mariadb_server() -> Iterator[MariaDB]:
    """Install and start a server in a folder of its own; skip the test where the package is absent."""
    install, daemon = (shutil.which(n, path=PATH) for n in ("mariadb-install-db", "mariadbd"))
    if install is None or daemon is None:
        pytest.skip("MariaDB is not installed; apt-get install mariadb-server")
    root = Path(tempfile.mkdtemp(prefix="portrait-mariadb-"))
    user = ["--user=root"] if os.geteuid() == 0 else []
    try:
        subprocess.run(
            [install, "--no-defaults", *user, f"--datadir={root / 'data'}", "--skip-test-db",
             "--auth-root-authentication-method=normal"],
            check=True, capture_output=True,
        )  # fmt: skip
        server = MariaDB(_free_port(), root / "socket")
        with (root / "log").open("w") as log:
            process = subprocess.Popen(
                [daemon, "--no-defaults", *user, f"--datadir={root / 'data'}", f"--port={server.port}",
                 "--bind-address=127.0.0.1", "--skip-name-resolve", f"--socket={server.socket}", f"--pid-file={root / 'pid'}",
                 "--innodb-buffer-pool-size=64M", "--innodb-flush-log-at-trx-commit=0"],
                stdout=log, stderr=subprocess.STDOUT,
            )  # fmt: skip
        try:
            _wait(server, process, root / "log")
            quoted = PASSWORD.replace("'", "''")
            server.execute(
                f"create user {LOGIN}@'127.0.0.1' identified by '{quoted}';"
                f"grant select, insert, update on `shop\\_%`.* to {LOGIN}@'127.0.0.1'"
            )
            yield server
        finally:
            process.terminate()
            process.wait(60)
    finally:
        shutil.rmtree(root, ignore_errors=True)


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def _wait(server: MariaDB, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 60
    while True:
        try:
            server.execute("select 1")
            return
        except pymysql.err.OperationalError:
            if process.poll() is not None or time.monotonic() > deadline:
                pytest.fail(f"MariaDB did not start: {log.read_text()[-2000:]}")
            time.sleep(0.05)
