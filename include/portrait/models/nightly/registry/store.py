"""The MLflow client on the warehouse's own database, schema `mlflow`. MLflow is imported here only, when it is needed."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

from portrait.config import Settings
from portrait.warehouse import Warehouse
from portrait.warehouse.grants import MODEL

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

SCHEMA = "mlflow"
EXPERIMENT = "nightly"

QUIET = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_SQLALCHEMYSTORE_POOLCLASS": "NullPool",
    "GIT_PYTHON_REFRESH": "quiet",
}
"""MLflow is told by environment variables only. It would otherwise report its use to its makers, and keep connections
that a forked Airflow task must not share."""


def store_uri(warehouse: Warehouse) -> str:
    """What MLflow calls the backend store; connections take the role of the nightly stages, who owns the tables there."""
    options = f"-crole={MODEL} -csearch_path={SCHEMA}"
    return warehouse.url.update_query_dict({"options": options}).render_as_string(hide_password=False)


def artifact_root(settings: Settings) -> str:
    """Where MLflow keeps manifests: `mlflow_artifacts` of model.yaml, or a folder of the workspace."""
    return settings.models.mlflow_artifacts or folder_uri(settings.workspace_dir / "mlflow")


def folder_uri(folder: Path) -> str:
    return folder.absolute().as_uri()


def open_client(settings: Settings, warehouse: Warehouse) -> "MlflowClient":
    """A client on the store; the first one ever makes MLflow's tables."""
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore
    from mlflow.tracking import MlflowClient

    uri = store_uri(warehouse)
    if not in_use(warehouse):
        # The client would put artefacts of MLflow's own default experiment in the folder that it is called in.
        SqlAlchemyStore(uri, artifact_root(settings))
    return MlflowClient(tracking_uri=uri, registry_uri=uri)


def in_use(warehouse: Warehouse) -> bool:
    """Whether MLflow's tables are there: a night was written, or its UI was opened."""
    return warehouse.scalar("select to_regclass('mlflow.registered_models')") is not None


def experiment_of(client: "MlflowClient", settings: Settings) -> str:
    """Id of the experiment that nights are logged in."""
    found = client.get_experiment_by_name(EXPERIMENT)
    if found is not None:
        return str(found.experiment_id)
    return str(client.create_experiment(EXPERIMENT, artifact_location=artifact_root(settings)))
