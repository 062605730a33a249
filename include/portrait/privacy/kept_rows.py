"""Saved models that keep rows of customers: their weights are sums over everybody, these are somebody's history."""

import logging
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
from scipy.sparse import csr_matrix, load_npz, save_npz
from sqlalchemy import text

from portrait.config import Settings
from portrait.drafts import draft_of
from portrait.models.infinite_autoencoder import LANDMARKS_FILE
from portrait.models.rerank.model import LABELS_FILE
from portrait.models.tifu_knn import REFERENCE_FILE
from portrait.warehouse import Warehouse

log = logging.getLogger(__name__)

_UNNAMED = (REFERENCE_FILE, LANDMARKS_FILE)
"""A sample of histories: which row is whose is not known, so the version goes as a whole."""


def erase_from_models(settings: Settings, warehouse: Warehouse, positions: np.ndarray) -> Counter[str]:
    """Blank what saved models hold at these positions of the matrices, and delete those that hold unnamed histories.

    A deleted champion serves no more: `portrait withdraw` or the next night puts another version into its place.
    """
    counts: Counter[str] = Counter()
    for path in sorted(settings.models_dir.rglob(LABELS_FILE)):
        if _blank_labels(path, positions):
            counts["files labels of models blanked"] += 1
    versions = {
        version
        for name in _UNNAMED
        for path in settings.models_dir.rglob(name)
        if (version := _version_of(settings, path))
    }
    for folder in sorted(versions):
        _forget_version(settings, warehouse, folder)
        counts["model versions deleted"] += 1
    return counts


def _blank_labels(path: Path, positions: np.ndarray) -> bool:
    labels = csr_matrix(load_npz(path))
    theirs = np.zeros(labels.shape[0], bool)
    theirs[positions[positions < labels.shape[0]]] = True
    cells = np.repeat(theirs, np.diff(labels.indptr))
    if not cells.any():
        return False
    labels.data[cells] = 0
    labels.eliminate_zeros()
    with draft_of(path) as draft, draft.open("wb") as file:
        save_npz(file, labels)
    return True


def _version_of(settings: Settings, path: Path) -> Path | None:
    """The version's folder: the one that has `serving` or `evaluated` in it, else the model's own."""
    for folder in path.parents:
        if folder.name in ("serving", "evaluated"):
            return folder.parent
        if folder == settings.models_dir:
            break
    return path.parent


def _forget_version(settings: Settings, warehouse: Warehouse, folder: Path) -> None:
    place = folder.relative_to(settings.models_dir).as_posix()
    with warehouse.begin() as connection:
        rows = (
            connection.execute(
                text(
                    "update ops.model_version set path = null, reason = reason || '; deleted: it held histories, and a customer was "
                    "erased', status = case status when 'champion' then 'withdrawn' else status end "
                    "where path = :p returning model_version"
                ),
                {"p": place},
            )
            .scalars()
            .all()
        )
    shutil.rmtree(folder)
    log.warning("model %s was deleted: it held histories of customers", ", ".join(rows) or place)
