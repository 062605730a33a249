"""The environment of Airflow's services, their secrets and their port. Nothing is started."""

import importlib.util
import json
import os
import socket
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml
from portrait.config import Settings, load_settings
from portrait.errors import PortraitError
from portrait.local.airflow import LOGIN, AirflowServices, _free_port, _write_private
from sqlalchemy import URL, make_url


@pytest.fixture
def services(server: URL, make_settings: Callable[..., Settings], tmp_path: Path) -> AirflowServices:
    """On the session's embedded server, which is running already."""
    host = server.query["host"]
    settings = load_settings(
        {
            "PORTRAIT_HOME": str(tmp_path / "home"),
            "PORTRAIT_SOURCES": str(make_settings().sources_path),
            "PORTRAIT_SERVER_DIR": str(host),
        }
    )
    found = AirflowServices(settings)
    found.home.mkdir(parents=True)
    return found


@pytest.fixture
def own(services: AirflowServices) -> dict[str, str]:
    """What the services add to the environment."""
    return {k: v for k, v in services.environment().items() if os.environ.get(k) != v}


def test_airflow_knows_every_variable(own: dict[str, str]) -> None:
    """A misspelt AIRFLOW__SECTION__OPTION would be ignored without a word."""
    spec = importlib.util.find_spec("airflow")
    assert spec is not None
    assert spec.submodule_search_locations
    path = Path(spec.submodule_search_locations[0]) / "config_templates" / "config.yml"
    sections = yaml.safe_load(path.read_text())
    names = [k for k in own if k.startswith("AIRFLOW__")]
    assert len(names) > 20
    for name in names:
        section, _, option = name.removeprefix("AIRFLOW__").lower().partition("__")
        assert option in sections[section]["options"], name


def test_the_tasks_meet_the_same_settings(services: AirflowServices, own: dict[str, str]) -> None:
    assert load_settings(own) == services.settings


def test_everything_stays_on_this_machine(services: AirflowServices, own: dict[str, str]) -> None:
    assert own["AIRFLOW__API__HOST"] == "127.0.0.1"
    assert services.address == f"http://127.0.0.1:{own['AIRFLOW__API__PORT']}"
    assert own["AIRFLOW__CORE__EXECUTION_API_SERVER_URL"] == f"{services.address}/execution/"
    url = make_url(own["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"])
    assert url.database == "airflow_test"
    assert url.query["host"] == str(services.settings.server_dir)


def test_secrets_are_for_their_owner_alone(services: AirflowServices, own: dict[str, str]) -> None:
    secrets = sorted(services.home.glob("*.secret"))
    assert [s.name for s in secrets] == ["api.secret", "fernet.secret", "jwt.secret"]
    _write_private(services.home / "passwords.json", json.dumps({LOGIN: "x"}))
    for path in (*secrets, services.home / "passwords.json"):
        assert path.stat().st_mode & 0o777 == 0o600
    found = {
        own["AIRFLOW__API__SECRET_KEY"],
        own["AIRFLOW__API_AUTH__JWT_SECRET"],
        own["AIRFLOW__CORE__FERNET_KEY"],
    }
    assert len(found) == 3
    assert services.environment() == services.environment()  # made once
    assert services.password == "x"


def test_two_workspaces_share_no_secret(services: AirflowServices, tmp_path: Path) -> None:
    other = AirflowServices(services.settings.model_copy(update={"home": tmp_path / "other"}))
    other.home.mkdir(parents=True)
    for name in ("AIRFLOW__API_AUTH__JWT_SECRET", "AIRFLOW__CORE__FERNET_KEY", "AIRFLOW_HOME"):
        assert other.environment()[name] != services.environment()[name]


def test_a_database_of_ones_own(settings: Settings) -> None:
    services = AirflowServices(settings)
    services.home.mkdir(parents=True)
    with pytest.raises(PortraitError, match="with PORTRAIT_DATABASE_URL run Airflow yourself"):
        services.environment()


def test_the_port_stays_the_same(services: AirflowServices) -> None:
    assert services.port == services.port
    assert AirflowServices(services.settings).port == services.port


def test_a_taken_port_is_passed_over() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert port < _free_port(port) < port + 200


class Stranger(BaseHTTPRequestHandler):
    """A healthy Airflow of another workspace, or a web server that answers everything with a page."""

    page = False

    def do_GET(self) -> None:
        healthy = {p: {"status": "healthy"} for p in ("metadatabase", "scheduler", "dag_processor")}
        self._send(200, b"<html>" if self.page else json.dumps(healthy).encode())

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self._send(
            200 if self.page else 401, b"<html>" if self.page else b'{"detail": "Invalid credentials"}'
        )

    def _send(self, code: int, content: bytes) -> None:
        self.send_response(code)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: Any) -> None:
        """Quiet."""


@pytest.fixture(params=["another workspace", "a web server"])
def stranger(request: pytest.FixtureRequest) -> Iterator[int]:
    handler = type("Handler", (Stranger,), {"page": request.param == "a web server"})
    server = HTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    yield server.server_port
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_stranger_on_our_port_is_not_ours(services: AirflowServices, stranger: int) -> None:
    """So `running` takes another port rather than say that this workspace's Airflow runs already."""
    (services.home / "port").write_text(str(stranger))
    _write_private(services.home / "passwords.json", json.dumps({LOGIN: "x"}))
    assert services.port_is_ours() is False
