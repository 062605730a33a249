"""What a trained model was made of: code, data, configuration and seed, in figures and checksums, never in rows."""

import hashlib
import json
import subprocess
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import portrait
from portrait.config import Settings
from portrait.features.lake import Manifest
from portrait.features.positions import customer_index, item_index
from portrait.models.nightly.inputs import Inputs, inputs_of, models_folder, write_json
from portrait.run import Run
from portrait.warehouse import open_warehouse

MANIFEST_FILE, MANIFESTS_FILE = "manifest.json", "manifests.json"
"""Of one model, in its folder; of all of a night's candidates, in the run's."""
RECORDED_FILE = "mlflow.json"
"""Beside the latter once the night is in MLflow."""
_PACKAGES = ("torch", "numpy", "scipy", "scikit-learn", "lightgbm")


def manifest_of(settings: Settings, run: Run, model: str) -> dict[str, Any]:
    """The manifest of one of a run's candidates.

    Returns
    -------
    dict with `run_id`, `as_of`, `model`, `parameters`, `seed`, `holdout_days`, `code` (`commit`, None outside a checkout,
    and `source`, the digest of the package's files), `packages`, `configuration` (digest of all settings that a
    night depends on), `data` (by table of the lake: business dates, rows and a digest of its files' digests up to as_of)
    `index` (customers and items: how many positions, where the index is, and a digest of it) and `metrics` (as
    `ops.evaluation` has them, ``next/ndcg_at_10``).
    """
    models = settings.models
    parameters = next((c.params for c in models.candidates if c.name == model), {})
    return {
        "run_id": run.run_id,
        "as_of": str(run.as_of),
        "model": model,
        "parameters": parameters,
        "seed": run.seed,
        "holdout_days": models.holdout_days,
        "code": {"commit": _commit(), "source": source_digest()},
        "packages": {name: version(name) for name in _PACKAGES},
        "configuration": _digest_of(
            {
                "models": models.model_dump(mode="json"),
                "features": settings.features.model_dump(mode="json"),
                "identity": settings.identity.model_dump(mode="json"),
            }
        ),
        "data": _snapshot(settings, run),
        "index": _index(settings, inputs_of(settings, run)),
        "metrics": _metrics(settings, run, model),
    }


def write_manifests(settings: Settings, run: Run, models: list[str]) -> None:
    """Note what tonight's candidates were made of, while it is so; a night that is decided again is to be written again."""
    folder = models_folder(settings, run)
    (folder / RECORDED_FILE).unlink(missing_ok=True)
    write_json(folder / MANIFESTS_FILE, {m: manifest_of(settings, run, m) for m in models})


def _digest_of(content: Any) -> str:
    text = json.dumps(content, sort_keys=True, default=str)
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


@lru_cache
def source_digest() -> str:
    """One digest for all of the package's Python and SQL files."""
    root = Path(portrait.__file__).parent
    digest = hashlib.blake2b(digest_size=16)
    for path in sorted(p for p in root.rglob("*") if p.suffix in (".py", ".sql")):
        digest.update(str(path.relative_to(root)).encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()


@lru_cache
def _commit() -> str | None:
    """The checkout's commit; None in an image or where there is no git."""
    root = Path(portrait.__file__).parent
    try:
        found = subprocess.run(
            ["git", "-C", str(root), "rev-parse", "HEAD"], capture_output=True, text=True, timeout=10
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return found.stdout.strip() or None if found.returncode == 0 else None


def _metrics(settings: Settings, run: Run, model: str) -> dict[str, float]:
    rows = open_warehouse(settings).rows(
        "select slot, metric, k, value from ops.evaluation "
        "where run_id = :r and model = :m and role = 'candidate' and value is not null order by 1, 2, 3",
        r=run.run_id,
        m=model,
    )
    return {
        f"{r['slot']}/{r['metric']}" + (f"_at_{r['k']}" if r["k"] else ""): float(r["value"]) for r in rows
    }


def _snapshot(settings: Settings, run: Run) -> dict[str, dict[str, Any]]:
    """Of each table of the lake, what a run of this date may see. Erasure rewrites files, and so their digests."""
    found = {}
    for table, files in Manifest.read(settings.lake_dir).files.items():
        seen = {day: file for day, file in files.items() if day == "all" or day <= str(run.as_of)}
        days = sorted(day for day in seen if day != "all")
        found[table] = {
            "rows": sum(f.rows for f in seen.values()),
            "first": days[0] if days else None,
            "last": days[-1] if days else None,
            "digest": _digest_of({day: file.digest for day, file in seen.items()}),
        }
    return found


def _index(settings: Settings, inputs: Inputs) -> dict[str, dict[str, Any]]:
    """Positions never move and are only appended, so that a count says which part of an index a model knows."""
    counts = {"customers": inputs.height, "items": inputs.width}
    files = {"customers": customer_index(settings), "items": item_index(settings)}
    return {
        name: {
            "positions": counts[name],
            "file": str(path.relative_to(settings.workspace_dir)),
            "digest": hashlib.blake2b(path.read_bytes(), digest_size=16).hexdigest()
            if path.is_file()
            else None,
        }
        for name, path in files.items()
    }
