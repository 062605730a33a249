"""Airflow's services end with the command that started them, however it ends."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from portrait.warehouse.server import stop_server

pytestmark = [pytest.mark.slow, pytest.mark.airflow]

COMMAND = [sys.executable, "-c", "from portrait.cli import main; main()", "ui"]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("ui") / "home"
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    (folder / "demo" / "airflow").mkdir(parents=True)
    # Tests side by side would both find 8080 free.
    (folder / "demo" / "airflow" / "port").write_text(str(port))
    yield folder
    stop_server(folder / "postgres")


def _start(home: Path) -> tuple[subprocess.Popen[bytes], list[int]]:
    """`portrait ui`, once it has printed its address, and the pids of its services."""
    environ = {k: v for k, v in os.environ.items() if not k.startswith(("AIRFLOW", "PORTRAIT_"))}
    output = home.with_suffix(".log")
    with output.open("wb") as file:
        process = subprocess.Popen(
            COMMAND,
            env={**environ, "PORTRAIT_HOME": str(home)},
            stdout=file,
            stderr=file,
            # Whoever runs the tests in the background has Ctrl-C ignored, and would pass that on.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )
    _wait_for(lambda: "Ctrl-C stops it" in output.read_text() or process.poll() is not None, 120)
    assert process.poll() is None, output.read_text()[-2000:]
    services = json.loads((home / "demo" / "airflow" / "services.json").read_text())["services"]
    assert len(services) == 4
    return process, services


def _wait_for(condition: Callable[[], bool], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.2)


def test_a_closed_terminal_stops_the_services(home: Path) -> None:
    process, services = _start(home)
    process.send_signal(signal.SIGHUP)
    assert process.wait(timeout=120) == 128 + signal.SIGHUP
    assert not any(psutil.pid_exists(pid) for pid in services)


def test_services_of_a_killed_command_are_ended_by_the_next_start(home: Path) -> None:
    process, orphans = _start(home)
    process.kill()
    process.wait()
    assert any(psutil.pid_exists(pid) for pid in orphans)
    process, services = _start(home)
    assert not any(psutil.pid_exists(pid) for pid in orphans)
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=120) == 0
    assert not any(psutil.pid_exists(pid) for pid in services)
