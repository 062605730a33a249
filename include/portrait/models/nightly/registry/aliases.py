"""The aliases `champion` and `challenger` of each slot, pointed where `ops.model_version` says."""

import logging
from typing import TYPE_CHECKING

from portrait.config import Settings
from portrait.models.nightly.registry.store import in_use, open_client
from portrait.warehouse import Warehouse, open_warehouse
from portrait.warehouse.grants import MODEL

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

log = logging.getLogger(__name__)


def point_aliases(client: "MlflowClient", warehouse: Warehouse) -> None:
    """`champion` is the version that serves; `challenger` the newest one if it lost to it, else nobody."""
    for model in client.search_registered_models():
        versions = {
            v.tags.get("portrait.model_version"): v
            for v in client.search_model_versions(f"name = '{model.name}'", max_results=10_000)
        }
        for alias, wanted in _wanted(warehouse, model.name).items():
            found = versions.get(wanted)
            now = model.aliases.get(alias)
            if found is None and now is not None:
                client.delete_registered_model_alias(model.name, alias)
            elif found is not None and str(now) != str(found.version):
                client.set_registered_model_alias(model.name, alias, found.version)


def _wanted(warehouse: Warehouse, slot: str) -> dict[str, str | None]:
    rows = warehouse.rows(
        "select model_version, status from ops.model_version where slot = :s "
        "order by trained_through desc, created_at desc",
        s=slot,
    )
    champion = next((r["model_version"] for r in rows if r["status"] == "champion"), None)
    newest = rows[0] if rows else None
    lost = newest["model_version"] if newest and newest["status"] == "candidate" else None
    return {"champion": champion, "challenger": lost}


def repoint(settings: Settings) -> None:
    """After a champion was withdrawn by hand; without MLflow the next night does it."""
    if not settings.models.mlflow:
        return
    warehouse = open_warehouse(settings.acting_as(MODEL))
    if not in_use(warehouse):
        return
    try:
        point_aliases(open_client(settings, warehouse), warehouse)
    except Exception as error:
        log.warning("the aliases of MLflow were not moved, the next night tries again: %s", error)
