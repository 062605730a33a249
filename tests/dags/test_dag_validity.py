"""The Dags are tidy, quick to parse, light, and connected by assets."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

REPOSITORY = Path(__file__).parents[2]
HEAVY = ("pandas", "torch", "pyarrow", "numpy", "duckdb", "ibis", "sklearn")

# Airflow is imported before the clock starts: the issue is the Dag file's own weight.
PARSE = """
import importlib.util, json, sys, time
import airflow.sdk, airflow.plugins_manager, airflow.timetables.trigger
sys.path.insert(0, "plugins")
before = set(sys.modules)
started = time.perf_counter()
spec = importlib.util.spec_from_file_location("parsed", sys.argv[1])
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
seconds = time.perf_counter() - started
print(json.dumps({"seconds": seconds, "heavy": [m for m in json.loads(sys.argv[2]) if m in set(sys.modules) - before]}))
"""


@pytest.fixture(scope="module")
def dags(airflow_home: Path) -> dict[str, Any]:
    """Every Dag of the folder, by id."""
    from airflow.dag_processing.dagbag import DagBag

    bag = DagBag(dag_folder=str(REPOSITORY / "dags"), bundle_name="portrait")
    assert bag.import_errors == {}
    return dict(bag.dags)


def test_one_ingest_dag_a_source_the_nightly_the_audiences_and_the_privacy_dags(dags: dict[str, Any]) -> None:
    from portrait.config import load_settings

    sources = {f"ingest_{s.name}" for s in load_settings().sources.sources}
    assert set(dags) == sources | {"nightly", "audiences", "privacy_requests", "maintenance"}


def test_audiences_wait_for_the_profiles_and_are_mapped_one_by_one(dags: dict[str, Any]) -> None:
    audiences = dags["audiences"]
    assert audiences.timetable.asset_condition.name == "profile.customer_profile"
    assert audiences.get_task("audience.export").upstream_task_ids == {"audience.refresh"}
    assert audiences.get_task("overlaps").trigger_rule == "all_done"


def test_every_dag_says_what_and_whose_it_is(dags: dict[str, Any]) -> None:
    for dag in dags.values():
        assert "portrait" in dag.tags, dag.dag_id
        assert dag.description, dag.dag_id
        assert dag.doc_md.startswith("###"), dag.dag_id
        assert not dag.catchup, dag.dag_id
        for task in dag.tasks:
            assert task.owner not in ("", "airflow"), task.task_id
            assert task.retries >= 1, task.task_id
            assert task.execution_timeout is not None, task.task_id
            assert task.doc_md, task.task_id


def test_nightly_waits_for_every_source_and_publishes_an_asset(dags: dict[str, Any]) -> None:
    produced = {
        asset.name
        for dag_id, dag in dags.items()
        if dag_id != "nightly"
        for task in dag.tasks
        for asset in task.outlets
    }
    nightly = dags["nightly"]
    awaited = {asset.name for asset in nightly.timetable.asset_condition.objects}
    assert awaited == produced
    assert {a.name for a in nightly.get_task("profiles.publish").outlets} == {"profile.customer_profile"}


def test_nightly_groups_and_order(dags: dict[str, Any]) -> None:
    nightly = dags["nightly"]
    assert set(nightly.task_group.get_task_group_dict()) - {None} == {
        "identity",
        "features",
        "models",
        "profiles",
    }
    assert nightly.get_task("features.features").upstream_task_ids == {
        "identity.resolve",
        "features.snapshot",
    }
    trained = nightly.get_task("models.evaluate").upstream_task_ids
    assert trained == {
        f"models.train_{m}" for m in ("popularity", "repeat", "ease", "article", "multvae", "nightly")
    }
    assert nightly.get_task("profiles.profile").upstream_task_ids == {"models.score", "models.profile_model"}
    assert nightly.get_task("profiles.publish").upstream_task_ids == {"profiles.audit"}
    # One failed model must not stop the night.
    assert nightly.get_task("models.evaluate").trigger_rule == "all_done_min_one_success"


@pytest.mark.parametrize(
    "name", ["audiences.py", "ingest.py", "maintenance.py", "nightly.py", "privacy_requests.py"]
)
def test_a_dag_file_is_short_and_light(name: str) -> None:
    file = REPOSITORY / "dags" / name
    assert len(file.read_text().splitlines()) <= 90
    done = subprocess.run(
        [sys.executable, "-c", PARSE, str(file), json.dumps(HEAVY)],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=True,
    )
    found = json.loads(done.stdout.strip().splitlines()[-1])
    assert found["heavy"] == []
