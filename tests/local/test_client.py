"""Speaking to Airflow's REST API: a server on loopback that answers as Airflow 3.3.2 did."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from portrait.errors import PortraitError
from portrait.local.client import AirflowClient

HEALTH = {
    "metadatabase": {"status": "healthy"},
    "scheduler": {"status": "healthy", "latest_scheduler_heartbeat": "2026-10-15T08:57:24.120000+00:00"},
    "triggerer": {"status": None, "latest_triggerer_heartbeat": None},
    "dag_processor": {"status": "healthy", "latest_dag_processor_heartbeat": "2026-10-15T08:57:23+00:00"},
}
RUNS = {
    "dag_runs": [
        {"dag_run_id": "later", "partition_key": "2025-01-21", "state": "running"},
        {"dag_run_id": "second", "partition_key": "2025-01-20", "state": "failed"},
        {"dag_run_id": "by hand", "partition_key": None, "state": "success"},
        {"dag_run_id": "first", "partition_key": "2025-01-20", "state": "success"},
    ],
    "total_entries": 4,
}
LOG = {
    "content": [
        {"event": "::group::Log message source details", "sources": ["/logs/attempt=1.log"]},
        {"timestamp": "2026-10-15T09:00:01Z", "event": "train of run 2025-01-20.1 starts", "level": "info"},
        {"event": ""},
        {
            "timestamp": "2026-10-15T09:00:02Z",
            "event": "Task failed with exception",
            "level": "error",
            "error_detail": [{"exc_type": "PortraitError", "exc_value": "nothing to train on", "frames": []}],
        },
    ],
    "continuation_token": None,
}
IMPORT_ERRORS = {
    "import_errors": [
        {
            "filename": "dags/nightly.py",
            "stack_trace": "Traceback (most recent call last):\n  ...\nPortraitError: model.yaml: unknown key\n",
        }
    ],
    "total_entries": 1,
}


class FakeAirflow(ThreadingHTTPServer):
    """Knows admin / secret; tokens t1, t2, ... of which only the last one is good."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.logins = 0
        self.expired: set[str] = set()
        self.health: Any = HEALTH
        self.received: list[tuple[str, str, Any]] = []
        self.answers: dict[str, tuple[int, Any]] = {
            "GET /api/v2/dags?limit=200&exclude_stale=true": (
                200,
                {"dags": [{"dag_id": "nightly"}, {"dag_id": "ingest_stores"}], "total_entries": 2},
            ),
            "GET /api/v2/importErrors": (200, IMPORT_ERRORS),
            "GET /api/v2/dags/nightly/dagRuns?limit=100&order_by=-run_after": (200, RUNS),
            "GET /api/v2/dags/nightly/dagRuns/first/taskInstances?limit=200": (
                200,
                {"task_instances": [{"task_id": "models.train_ease", "state": "failed"}], "total_entries": 1},
            ),
            "GET /api/v2/dags/nightly/dagRuns/first/taskInstances/models.train_ease/logs/1": (200, LOG),
            "POST /api/v2/dags/nightly/dagRuns": (200, {"dag_run_id": "new"}),
            "POST /api/v2/dags/nightly/dagRuns/first/clear": (200, {"task_instances": []}),
            "POST /api/v2/dags/absent/dagRuns": (404, {"detail": "DAG with dag_id: 'absent' not found"}),
        }

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    server: FakeAirflow

    def do_GET(self) -> None:
        self._answer("GET", None)

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self._answer("POST", json.loads(body))

    def _answer(self, method: str, body: Any) -> None:
        server = self.server
        server.received.append((method, self.path, body))
        if self.path == "/auth/token":
            if body != {"username": "admin", "password": "secret"}:
                return self._send(401, {"detail": "Invalid credentials"})
            server.logins += 1
            return self._send(201, {"access_token": f"t{server.logins}"})
        if self.path == "/api/v2/monitor/health":
            return self._send(200, server.health)
        token = self.headers.get("Authorization", "").removeprefix("Bearer ")
        if not token:
            return self._send(401, {"detail": "Not authenticated"})
        if token in server.expired:
            return self._send(401, {"detail": "Token Expired"})
        return self._send(*server.answers[f"{method} {self.path}"])

    def _send(self, code: int, content: Any) -> None:
        sent = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(code)
        self.send_header("Content-Length", str(len(sent)))
        self.end_headers()
        self.wfile.write(sent)

    def log_message(self, *_: Any) -> None:
        """Quiet."""


@pytest.fixture
def airflow() -> Iterator[FakeAirflow]:
    server = FakeAirflow()
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def client(airflow: FakeAirflow) -> AirflowClient:
    return AirflowClient(airflow.address, "admin", "secret")


def test_health_needs_no_login(airflow: FakeAirflow, client: AirflowClient) -> None:
    assert client.healthy()
    assert airflow.logins == 0


@pytest.mark.parametrize(
    "change",
    [{"dag_processor": None}, {"scheduler": {"status": "unhealthy", "latest_scheduler_heartbeat": None}}],
)
def test_a_part_that_is_not_healthy(
    airflow: FakeAirflow, client: AirflowClient, change: dict[str, Any]
) -> None:
    airflow.health = {**HEALTH, **change}
    assert not client.healthy()


def test_it_logs_in_once(airflow: FakeAirflow, client: AirflowClient) -> None:
    assert client.dag_ids() == {"nightly", "ingest_stores"}
    assert client.dag_ids() == {"nightly", "ingest_stores"}
    assert airflow.logins == 1


def test_it_logs_in_again_when_the_token_expired(airflow: FakeAirflow, client: AirflowClient) -> None:
    client.dag_ids()
    airflow.expired = {"t1"}
    assert client.dag_ids() == {"nightly", "ingest_stores"}
    assert airflow.logins == 2


def test_it_does_not_log_in_for_ever(airflow: FakeAirflow, client: AirflowClient) -> None:
    airflow.expired = {"t1", "t2"}
    with pytest.raises(PortraitError, match="refused GET /api/v2/dags.*: 401 .*Token Expired"):
        client.dag_ids()


def test_a_login_that_airflow_does_not_know(airflow: FakeAirflow) -> None:
    with pytest.raises(PortraitError, match=f"{airflow.address} does not know our login: 401"):
        AirflowClient(airflow.address, "admin", "wrong").dag_ids()


def test_refusals_come_with_airflows_words(client: AirflowClient) -> None:
    with pytest.raises(
        PortraitError, match="refused POST /api/v2/dags/absent/dagRuns: 404 .*'absent' not found"
    ):
        client.trigger("absent", "r", "2025-01-20")


def test_runs_of_one_partition(client: AirflowClient) -> None:
    assert [r["dag_run_id"] for r in client.runs("nightly", "2025-01-20")] == ["second", "first"]


def test_trigger_and_clear(airflow: FakeAirflow, client: AirflowClient) -> None:
    client.trigger("nightly", "make_run__2025-01-20", "2025-01-20")
    assert airflow.received[-1][2] == {
        "dag_run_id": "make_run__2025-01-20",
        "logical_date": None,
        "partition_key": "2025-01-20",
    }
    client.clear_failed("nightly", "first")
    assert airflow.received[-1][2] == {"dry_run": False, "only_failed": True}


def test_the_end_of_a_log(client: AirflowClient) -> None:
    lines = client.log_tail("nightly", "first", "models.train_ease", 1, lines=2)
    assert lines == [
        "train of run 2025-01-20.1 starts",
        "Task failed with exception PortraitError: nothing to train on",
    ]
    assert client.tasks("nightly", "first") == [{"task_id": "models.train_ease", "state": "failed"}]


def test_import_errors_in_one_line(client: AirflowClient) -> None:
    assert client.import_errors() == ["dags/nightly.py: PortraitError: model.yaml: unknown key"]


def test_nobody_listens() -> None:
    server = FakeAirflow()
    server.server_close()
    client = AirflowClient(server.address, "admin", "secret")
    with pytest.raises(OSError, match=server.address):
        client.healthy()
    with pytest.raises(OSError, match=server.address):
        client.dag_ids()


def test_some_other_program_listens(airflow: FakeAirflow, client: AirflowClient) -> None:
    airflow.health = b"<!doctype html><title>My other project</title>"
    with pytest.raises(PortraitError, match="is not Airflow: it answers '<!doctype html>"):
        client.healthy()
    airflow.health = [1]
    with pytest.raises(PortraitError, match="is not Airflow"):
        client.healthy()
