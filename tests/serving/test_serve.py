"""`portrait serve` as its owner runs it: two workers, one set of figures, an end when told."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import httpx
import pytest

if TYPE_CHECKING:
    from tests.serving.conftest import Shop

pytestmark = pytest.mark.slow

CLI = [sys.executable, "-c", "from portrait.cli import main; main()"]


def environment(shop: Shop) -> dict[str, str]:
    return {
        **os.environ,
        "PORTRAIT_HOME": str(shop.settings.home),
        "PORTRAIT_CONFIG_DIR": str(shop.settings.sources_path.parent),
        "PORTRAIT_DATABASE_URL": str(shop.settings.database_url),
        "PORTRAIT_PII_KEY": "test-key",
    }


@pytest.fixture(scope="module")
def served(shop: Shop, wait: Callable[..., Any]) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [*CLI, "serve", "--port", str(port), "--workers", "2"]
    process = subprocess.Popen(
        command, env=environment(shop), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    address = f"http://127.0.0.1:{port}"

    def ready() -> bool:
        assert process.poll() is None, process.stdout and process.stdout.read()
        with suppress(httpx.TransportError):
            return httpx.get(f"{address}/readyz").status_code == 200
        return False

    try:
        wait(ready, 180)
        yield address, process
    finally:
        if process.poll() is None:
            process.terminate()
            process.wait(30)


def test_it_answers_with_a_key_of_the_command_line(
    served: tuple[str, Any], shop: Shop, wait: Callable[..., Any]
) -> None:
    address, _ = served
    made = subprocess.run(
        [*CLI, "api-key", "create", "crm", "--role", "analyst"],
        env=environment(shop),
        capture_output=True,
        text=True,
    )
    key = made.stdout.strip()
    assert re.fullmatch(r"portrait_[a-z2-7]{8}_[a-z2-7]{32}", key), made.stderr
    headers = {"X-API-Key": key}
    wait(lambda: httpx.get(f"{address}/segments", headers=headers).status_code == 200, 20)
    for _ in range(20):  # a connection each: both workers have their share
        httpx.get(f"{address}/healthz")
    text = wait(lambda: _counted(address, headers, 20), 20)
    assert "portrait_champion_ready 1.0" in text
    listed = subprocess.run([*CLI, "api-key", "list"], env=environment(shop), capture_output=True, text=True)
    assert key.split("_")[1] in listed.stdout
    assert key.split("_")[2] not in listed.stdout


def _counted(address: str, headers: dict[str, str], at_least: int) -> str | None:
    """The figures, once they hold so many answers of /healthz: whichever worker is asked knows those of both."""
    text = httpx.get(f"{address}/metrics", headers=headers).text
    found = re.search(r'portrait_requests_total\{method="GET",route="/healthz",status="200"\} ([\d.]+)', text)
    return text if found and float(found[1]) >= at_least else None


def test_it_ends_when_told(served: tuple[str, subprocess.Popen[str]]) -> None:
    _, process = served
    process.send_signal(signal.SIGTERM)
    output, _ = process.communicate(timeout=30)
    assert process.returncode == 0 or process.returncode == 128 + signal.SIGTERM
    assert "Traceback" not in output


def test_a_database_that_is_not_there_is_one_line(shop: Shop) -> None:
    nowhere = {**environment(shop), "PORTRAIT_DATABASE_URL": "postgresql://x@127.0.0.1:1/x"}
    ended = subprocess.run([*CLI, "serve"], env=nowhere, capture_output=True, text=True, timeout=60)
    assert ended.returncode == 2
    assert ended.stderr.strip().splitlines()[-1].startswith("portrait: cannot reach the database")
