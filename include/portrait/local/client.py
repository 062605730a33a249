"""The few calls of Airflow's REST API that `make run` needs."""

from typing import Any

import httpx

from portrait.errors import PortraitError


class AirflowClient:
    """A logged-in client of one Airflow API server.

    Raises
    ------
    PortraitError : from every call that Airflow refuses, with its words. httpx errors (subclasses of neither) are
        turned into OSError, so that a caller can wait for a server that is not up yet.
    """

    def __init__(self, address: str, user: str, password: str) -> None:
        self.address, self.user, self.password = address, user, password
        self.http = httpx.Client(base_url=address, timeout=30, trust_env=False)
        self.token = ""

    def healthy(self) -> bool:
        """Whether scheduler, dag processor and database answer."""
        health = self._send("GET", "/api/v2/monitor/health", login=False)
        # A part that never started is null.
        parts = [health.get(part) or {} for part in ("metadatabase", "scheduler", "dag_processor")]
        return all(part.get("status") == "healthy" for part in parts)

    def dag_ids(self) -> set[str]:
        """Dags that Airflow has parsed."""
        return {d["dag_id"] for d in self._send("GET", "/api/v2/dags?limit=200&exclude_stale=true")["dags"]}

    def import_errors(self) -> list[str]:
        errors = self._send("GET", "/api/v2/importErrors")["import_errors"]
        return [f"{e['filename']}: {e['stack_trace'].strip().splitlines()[-1]}" for e in errors]

    def runs(self, dag_id: str, partition_key: str) -> list[dict[str, Any]]:
        """Runs of a Dag for a partition, newest first."""
        found = self._send("GET", f"/api/v2/dags/{dag_id}/dagRuns?limit=100&order_by=-run_after")["dag_runs"]
        return [r for r in found if r.get("partition_key") == partition_key]

    def trigger(self, dag_id: str, run_id: str, partition_key: str) -> None:
        body = {"dag_run_id": run_id, "logical_date": None, "partition_key": partition_key}
        self._send("POST", f"/api/v2/dags/{dag_id}/dagRuns", json=body)

    def clear_failed(self, dag_id: str, run_id: str) -> None:
        """Let a failed run go on from its failed tasks."""
        self._send(
            "POST",
            f"/api/v2/dags/{dag_id}/dagRuns/{run_id}/clear",
            json={"dry_run": False, "only_failed": True},
        )

    def tasks(self, dag_id: str, run_id: str) -> list[dict[str, Any]]:
        """Task instances of a run."""
        path = f"/api/v2/dags/{dag_id}/dagRuns/{run_id}/taskInstances?limit=200"
        return list(self._send("GET", path)["task_instances"])

    def log_tail(self, dag_id: str, run_id: str, task_id: str, attempt: int, lines: int = 15) -> list[str]:
        """The last lines of a task's log."""
        path = f"/api/v2/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}/logs/{attempt}"
        content = self._send("GET", path).get("content", [])
        texts = [e if isinstance(e, str) else _event(e) for e in content]
        return [t for t in texts if t][-lines:]

    def _send(self, method: str, path: str, login: bool = True, **arguments: Any) -> Any:
        try:
            if login and not self.token:
                self._login()
            answer = self._request(method, path, **arguments)
            if answer.status_code == httpx.codes.UNAUTHORIZED and login:
                self._login()
                answer = self._request(method, path, **arguments)
        except httpx.HTTPError as error:
            raise OSError(f"{self.address}: {error}") from error
        if answer.is_error:
            raise PortraitError(f"Airflow refused {method} {path}: {answer.status_code} {answer.text[:300]}")
        return self._content(answer) if answer.content else {}

    def _request(self, method: str, path: str, **arguments: Any) -> httpx.Response:
        headers = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        return self.http.request(method, path, headers=headers, **arguments)

    def _login(self) -> None:
        answer = self.http.post("/auth/token", json={"username": self.user, "password": self.password})
        if answer.is_error:
            raise PortraitError(f"Airflow at {self.address} does not know our login: {answer.status_code}")
        self.token = str(self._content(answer).get("access_token", ""))

    def _content(self, answer: httpx.Response) -> dict[str, Any]:
        """The JSON object of an answer; some other program may listen at the address."""
        try:
            content = answer.json()
        except ValueError:
            content = None
        if not isinstance(content, dict):
            raise PortraitError(
                f"what listens at {self.address} is not Airflow: it answers {answer.text[:60]!r}"
            )
        return content


def _event(entry: dict[str, Any]) -> str:
    text = str(entry.get("event", ""))
    for detail in entry.get("error_detail") or []:
        text += f" {detail.get('exc_type', '')}: {detail.get('exc_value', '')}"
    return text
