"""Writing nights into MLflow after the gate has decided; a night that could not be written is written by a later one."""

import json
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

from portrait.config import Settings
from portrait.models.nightly.inputs import write_json
from portrait.models.nightly.registry.aliases import point_aliases
from portrait.models.nightly.registry.manifest import MANIFEST_FILE, MANIFESTS_FILE, RECORDED_FILE
from portrait.models.nightly.registry.store import experiment_of, folder_uri, open_client
from portrait.models.nightly.train import curve_path
from portrait.warehouse import Warehouse, open_warehouse
from portrait.warehouse.alerts import raise_alert

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

log = logging.getLogger(__name__)

RUN_TAG, VERSION_TAG = "portrait.run_id", "portrait.model_version"


def record_nights(settings: Settings) -> list[str]:
    """Write every kept night that is not in MLflow yet, and point the aliases; gives their run ids.

    Never fails: `ops` has decided and a night goes on without MLflow. What went wrong is in the log and in `ops.alert`.
    """
    if not settings.models.mlflow:
        return []
    warehouse = open_warehouse(settings)
    try:
        return _record(settings, warehouse)
    except Exception as error:
        message = f"MLflow was not written, the next night tries again: {error}"
        log.warning(message, exc_info=True)
        with warehouse.begin() as connection:
            raise_alert(connection, "mlflow", message)
        return []


def _record(settings: Settings, warehouse: Warehouse) -> list[str]:
    client = open_client(settings, warehouse)
    experiment = experiment_of(client, settings)
    recorded = []
    for folder in _unrecorded(settings):
        run_id = folder.parent.name
        _record_night(settings, warehouse, client, experiment, run_id)
        write_json(folder / RECORDED_FILE, {"experiment": experiment})
        recorded.append(run_id)
    point_aliases(client, warehouse)
    log.info("written to MLflow: %s", ", ".join(recorded) or "nothing new")
    return recorded


def _unrecorded(settings: Settings) -> list[Path]:
    """Folders of the models of decided nights that are not in MLflow, oldest first."""
    found = sorted(settings.workspace_dir.glob(f"runs/*/models/{MANIFESTS_FILE}"))
    return [p.parent for p in found if not (p.parent / RECORDED_FILE).exists()]


def _record_night(
    settings: Settings, warehouse: Warehouse, client: "MlflowClient", experiment: str, run_id: str
) -> None:
    """One MLflow run a candidate, one model version a slot; what an earlier attempt left is taken out first."""
    for earlier in client.search_runs([experiment], f"tags.`{RUN_TAG}` = '{run_id}'", max_results=1000):
        client.delete_run(earlier.info.run_id)
    manifests = json.loads((settings.run_dir(run_id) / "models" / MANIFESTS_FILE).read_text(encoding="utf-8"))
    runs = {
        name: _record_candidate(settings, client, experiment, manifest)
        for name, manifest in manifests.items()
    }
    for version in warehouse.rows(
        "select model_version, slot, model, run_id, path, status, reason from ops.model_version where run_id = :r",
        r=run_id,
    ):
        _record_version(settings, client, version, runs.get(version["model"]))


def _record_candidate(
    settings: Settings,
    client: "MlflowClient",
    experiment: str,
    manifest: dict[str, Any],
) -> str:
    from mlflow.entities import Metric, Param

    run_id, name = manifest["run_id"], manifest["model"]
    params = {
        **manifest["parameters"],
        **{key: manifest[key] for key in ("model", "as_of", "seed", "holdout_days")},
    }
    tags = {RUN_TAG: run_id, "portrait.source": manifest["code"]["source"]}
    if manifest["code"]["commit"]:
        tags["mlflow.source.git.commit"] = manifest["code"]["commit"]
    made = client.create_run(experiment, run_name=f"{run_id}/{name}", tags=tags).info
    client.log_batch(
        made.run_id,
        metrics=[
            *(Metric(key, value, made.start_time, 0) for key, value in manifest["metrics"].items()),
            *_curve(settings, run_id, name, made.start_time),
        ],
        params=[Param(key, str(value)) for key, value in params.items()],
    )
    client.log_dict(made.run_id, manifest, MANIFEST_FILE)
    client.set_terminated(made.run_id)
    return str(made.run_id)


def _curve(settings: Settings, run_id: str, name: str, at: int) -> list[Any]:
    """Loss and validation score of each epoch, of models that have any."""
    from mlflow.entities import Metric

    path = curve_path(settings.run_dir(run_id) / "models", name)
    entries = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else []
    return [
        Metric(f"training/{key}", float(entry[key]), at, int(entry["epoch"]) + 1)
        for entry in entries
        for key in ("loss", "score")
        if key in entry
    ]


def _record_version(
    settings: Settings, client: "MlflowClient", version: dict[str, Any], run_id: str | None
) -> None:
    """The version points at the model's folder: no file is copied, so that erasure has nothing to look for here."""
    name = version["slot"]
    if not client.search_registered_models(f"name = '{name}'"):
        client.create_registered_model(name)
    for earlier in client.search_model_versions(
        f"name = '{name}' and tags.`{VERSION_TAG}` = '{version['model_version']}'"
    ):
        client.delete_model_version(name, earlier.version)
    if version["path"]:
        folder = settings.models_dir / version["path"] / "serving"
    else:  # it lost, and was not trained on everything
        folder = settings.run_dir(version["run_id"]) / "models" / "evaluated" / version["model"]
    client.create_model_version(
        name,
        folder_uri(folder),
        run_id=run_id,
        tags={VERSION_TAG: version["model_version"], "portrait.status": version["status"]},
        description=version["reason"],
        await_creation_for=0,
    )
