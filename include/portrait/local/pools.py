"""The Airflow pools that `sources.yaml` names: Airflow never runs a task whose pool does not exist."""

import json
import logging
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from portrait.config import Settings
from portrait.errors import PortraitError

log = logging.getLogger(__name__)

# Airflow makes this one itself.
DEFAULT_POOL = "default_pool"
SLOTS = 2


def create_pools(settings: Settings, environment: Mapping[str, str] | None = None) -> list[str]:
    """Create the pools that are missing, with `SLOTS` slots each; those that exist keep what they have.

    Gives the names of the new ones. Airflow's database must be migrated.

    Raises
    ------
    PortraitError : with Airflow's words when it cannot.
    """
    wanted = {s.pool for s in settings.sources.sources} - {DEFAULT_POOL}
    if not wanted:
        return []
    missing = sorted(wanted - _existing(environment))
    for name in missing:
        users = ", ".join(s.name for s in settings.sources.sources if s.pool == name)
        _airflow(environment, "pools", "set", name, str(SLOTS), f"Sources: {users}")
        log.info("created pool %s with %d slots", name, SLOTS)
    return missing


def _existing(environment: Mapping[str, str] | None) -> set[str]:
    shown = _airflow(environment, "pools", "list", "--output", "json").splitlines()
    # Warnings may come before it.
    listed = next(line for line in reversed(shown) if line.startswith("["))
    return {pool["pool"] for pool in json.loads(listed)}


def _airflow(environment: Mapping[str, str] | None, *arguments: str) -> str:
    done = subprocess.run(
        [str(Path(sys.executable).parent / "airflow"), *arguments],
        env=environment,
        capture_output=True,
        text=True,
    )
    if done.returncode:
        said = (done.stderr or done.stdout).strip().splitlines() or ["nothing"]
        raise PortraitError(f"`airflow {' '.join(arguments)}` failed: {said[-1]}")
    return done.stdout
