"""Forgetting the models of nights whose tables are gone."""

import logging
import shutil
from collections.abc import Collection

from sqlalchemy import text

from portrait.config import Settings
from portrait.warehouse import open_warehouse

log = logging.getLogger(__name__)


def forget(settings: Settings, run_ids: Collection[str]) -> list[str]:
    """Delete the files of these runs: their intermediate folder, and their models that no champion needs.

    The versions stay in ops.model_version, without a path. Gives the model folders that were deleted.
    """
    if not run_ids:
        return []
    with open_warehouse(settings).begin() as connection:
        gone = (
            connection.execute(
                text(
                    "update ops.model_version old set path = null "
                    "where run_id = any(:runs) and path is not null and not exists "
                    "(select from ops.model_version c where c.status = 'champion' and c.path = old.path) "
                    "returning old.model_version"
                ),
                {"runs": list(run_ids)},
            )
            .scalars()
            .all()
        )
        needed = set(
            connection.execute(text("select path from ops.model_version where path is not null")).scalars()
        )
    deleted = []
    for run_id in run_ids:
        shutil.rmtree(settings.run_dir(run_id), ignore_errors=True)
        for folder in sorted((settings.models_dir / run_id).glob("*")):
            if f"{run_id}/{folder.name}" not in needed:
                shutil.rmtree(folder, ignore_errors=True)
                deleted.append(f"{run_id}/{folder.name}")
    log.info("forgot the files of %s (%d model versions)", ", ".join(run_ids), len(gone))
    return deleted
