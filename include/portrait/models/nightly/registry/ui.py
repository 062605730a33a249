"""MLflow's own server and UI on the warehouse."""

import os
import signal
import subprocess
import sys
from contextlib import suppress
from importlib.util import find_spec

from portrait.config import Settings
from portrait.errors import PortraitError
from portrait.models.nightly.registry.store import QUIET, artifact_root, open_client, store_uri
from portrait.warehouse import open_warehouse


def uri_of(settings: Settings) -> str:
    """The backend store as `mlflow server`, `mlflow db upgrade` and MLFLOW_TRACKING_URI take it; it may hold a password."""
    return store_uri(open_warehouse(settings))


def serve(settings: Settings, host: str, port: int) -> None:
    """Run MLflow's server in front of the store, until it is stopped.

    Raises
    ------
    PortraitError
        When MLflow's UI is not installed (nights need only its small half), or the server ended by itself.
    """
    if find_spec("flask") is None or find_spec("graphene") is None:
        raise PortraitError(
            "the UI of MLflow is not installed; pip install -r requirements-mlflow.txt -c constraints.txt"
        )
    warehouse = open_warehouse(settings)
    open_client(settings, warehouse)  # makes the tables where no night was yet
    # By the environment: a command line is shown to everybody on the machine, and the URI may hold a password.
    environment = {
        **os.environ,
        **QUIET,
        "MLFLOW_BACKEND_STORE_URI": store_uri(warehouse),
        "MLFLOW_DEFAULT_ARTIFACT_ROOT": artifact_root(settings),
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    }
    command = [
        sys.executable,
        "-m",
        "mlflow",
        "server",
        "--host",
        host,
        "--port",
        str(port),
        "--workers",
        "1",
    ]
    with subprocess.Popen(command, env=environment, start_new_session=True) as running:
        try:
            ended = running.wait()
        finally:
            # It starts processes of its own, and leaves them behind when it is ended alone.
            with suppress(ProcessLookupError):
                os.killpg(running.pid, signal.SIGTERM)
    raise PortraitError(f"MLflow's server ended with exit code {ended}; its messages are above")
