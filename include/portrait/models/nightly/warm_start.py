"""Which of an earlier night's models a night's training goes on from."""

import json
import logging
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any

from portrait.config import Candidate, Settings
from portrait.models import model_class
from portrait.models.nightly.inputs import Inputs
from portrait.models.nightly.registry.manifest import MANIFEST_FILE, source_digest
from portrait.run import Run
from portrait.warehouse import Warehouse, open_warehouse

log = logging.getLogger(__name__)

_LATEST = """
select v.model_version, v.path, v.warm_nights, r.started_at
from ops.model_version v join ops.run r using (run_id)
where v.model = :model and v.status in ('champion', 'retired') and v.path is not null and v.trained_through < :as_of
order by v.trained_through desc, v.created_at desc limit 1
"""
_ERASED_SINCE = "select exists(select from privacy.suppression where suppressed_at >= :since)"


@dataclass(frozen=True)
class Start:
    """A version to go on from.

    Attributes
    ----------
    path : its folder, below that of all models.
    nights : nights in a row, this one the last of them, that went on from the one before.
    """

    path: str
    nights: int

    def folder(self, settings: Settings, kind: str) -> Path:
        """The saved model: `evaluated`, which knows nothing of the held-out days, or `serving`."""
        return settings.models_dir / self.path / kind


def start_of(settings: Settings, run: Run, inputs: Inputs, entry: Candidate) -> Start | None:
    """The latest version of a candidate before this run, where training may go on from it.

    It may not, and training starts from nothing, every `full_training_every` nights; when code, parameters, seed or
    holdout changed; and when somebody was erased since that version's night began, whose traces would stay otherwise.
    """
    if not model_class(entry.name).can_go_on:
        return None
    warehouse = open_warehouse(settings)
    rows = warehouse.rows(_LATEST, model=entry.name, as_of=run.as_of)
    if not rows:
        return None
    path, nights = rows[0]["path"], 1 + rows[0]["warm_nights"]
    file = settings.models_dir / path / MANIFEST_FILE
    manifest: dict[str, Any] = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    reason = _unlike(settings, run, inputs, entry, manifest) or _not_now(
        settings, warehouse, nights, rows[0]["started_at"]
    )
    if reason is not None:
        log.info("%s: trained from nothing: %s", entry.name, reason)
        return None
    log.info("%s: going on from %s, %d nights after a training from nothing", entry.name, path, nights)
    return Start(path, nights)


def _not_now(settings: Settings, warehouse: Warehouse, nights: int, since: Any) -> str | None:
    if nights >= settings.models.full_training_every:
        return f"{nights - 1} nights in a row went on from the one before"
    if warehouse.scalar(_ERASED_SINCE, since=since):
        return "somebody was erased since the last version"
    return None


def _unlike(
    settings: Settings, run: Run, inputs: Inputs, entry: Candidate, manifest: dict[str, Any]
) -> str | None:
    """What keeps tonight's model from being the earlier one's continuation."""
    if not manifest:
        return "the last version has no manifest"
    wanted = {"parameters": entry.params, "seed": run.seed}
    for name, value in wanted.items():
        if manifest[name] != json.loads(json.dumps(value)):
            return f"{name} changed"
    if manifest["code"]["source"] != source_digest():
        return "the code changed"
    if manifest["index"]["items"]["positions"] > inputs.width:
        return "the last version knows items that are gone"
    known_until = date.fromisoformat(manifest["as_of"]) - timedelta(days=manifest["holdout_days"])
    if known_until > run.as_of - timedelta(days=settings.models.holdout_days):
        return "the last version has seen days that are held out tonight"
    return None
