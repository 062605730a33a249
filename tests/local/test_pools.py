"""The pools of `sources.yaml`. With Airflow's own database they are tested in test_sources_in_airflow.py."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from portrait.config import Settings
from portrait.errors import PortraitError
from portrait.local.pools import create_pools

SOURCES = """
workspace: test
sources:
  - name: stores
    entity: store
    path: stores.csv
    format: csv
    columns: {store_id: store_id, name: name}
    pool: tills
"""


def test_airflow_has_its_own_default_pool(settings: Settings) -> None:
    assert {s.pool for s in settings.sources.sources} == {"default_pool"}
    assert create_pools(settings, {"PATH": "/nowhere"}) == []  # Airflow is not asked


def test_a_database_that_nobody_migrated(make_settings: Callable[..., Settings], tmp_path: Path) -> None:
    environment = {
        **{k: v for k, v in os.environ.items() if not k.startswith("AIRFLOW")},
        "AIRFLOW_HOME": str(tmp_path),
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{tmp_path}/empty.db",
    }
    with pytest.raises(PortraitError, match="`airflow pools list --output json` failed: .+"):
        create_pools(make_settings(SOURCES), environment)
