"""What a source of `sources.yaml` says about its Dag arrives in Airflow, also after serialization."""

from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

REPOSITORY = Path(__file__).parents[2]
SOURCES = """
workspace: test
timezone: Asia/Shanghai
sources:
  - name: tills
    entity: store
    http: {url: "https://me:s3cret@api.example/v1", path: /stores}
    columns: {store_id: store_id, name: name}
    schedule: "0 2 * * *"
    deadline: "06:00"
    pool: shop
    retries: 20
    retry_minutes: 15
    owner: tills-team
  - name: stores
    entity: store
    path: stores.csv
    format: csv
    columns: {store_id: store_id, name: name}
"""


@pytest.fixture(scope="module")
def dags(airflow_home: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    from airflow.dag_processing.dagbag import DagBag

    path = tmp_path_factory.mktemp("sources") / "sources.yaml"
    path.write_text(SOURCES)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PORTRAIT_SOURCES", str(path))
        bag = DagBag(dag_folder=str(REPOSITORY / "dags" / "ingest.py"), bundle_name="portrait")
    assert bag.import_errors == {}
    return dict(bag.dags)


@pytest.fixture(scope="module")
def serialized(dags: dict[str, Any]) -> dict[str, Any]:
    """As scheduler and API server see them, which know the classes from the plugin alone."""
    from airflow.serialization.serialized_objects import DagSerialization

    return {k: DagSerialization.from_dict(DagSerialization.to_dict(dag)) for k, dag in dags.items()}


def test_retries_pool_and_owner_are_the_sources(serialized: dict[str, Any]) -> None:
    pull = serialized["ingest_tills"].get_task("pull")
    assert (pull.pool, pull.owner, pull.retries) == ("shop", "tills-team", 20)
    assert pull.retry_delay == timedelta(minutes=15)
    assert pull.max_active_tis_per_dag == 1
    plain = serialized["ingest_stores"].get_task("pull")
    assert (plain.pool, plain.owner, plain.retries) == ("default_pool", "data-engineering", 2)


def test_a_date_that_waits_does_not_hold_up_the_next_one(serialized: dict[str, Any]) -> None:
    assert serialized["ingest_tills"].max_active_runs > 1


def test_schedules(serialized: dict[str, Any]) -> None:
    tills, stores = serialized["ingest_tills"].timetable, serialized["ingest_stores"].timetable
    assert (tills.summary, tills.can_be_scheduled, tills.periodic) == ("0 2 * * *", True, True)
    assert (stores.summary, stores.can_be_scheduled, stores.periodic) == ("When triggered", False, True)
    for dag in serialized.values():
        first = datetime(2026, 3, 1, tzinfo=UTC)
        found = [i.partition_key for i in dag.iter_dagrun_infos_between(first, first + timedelta(days=1))]
        assert found == ["2026-03-01", "2026-03-02"]


def test_the_deadline_is_by_the_retailers_clock(dags: dict[str, Any]) -> None:
    from airflow.serialization.decoders import decode_deadline_alert
    from airflow.serialization.encoders import encode_deadline_alert

    (alert,) = dags["ingest_tills"].deadline
    decoded = decode_deadline_alert(encode_deadline_alert(alert))
    assert decoded.interval == timedelta(0)
    assert decoded.callback.path == "portrait_airflow.note_late"
    run = SimpleNamespace(
        run_type="scheduled",
        run_after=datetime(2026, 3, 1, 18, tzinfo=UTC),
        logical_date=None,
        partition_key=date(2026, 3, 1).isoformat(),
        conf=None,
    )
    assert decoded.reference.inner_ref.of_run(run) == datetime(2026, 3, 1, 22, tzinfo=UTC)
    assert dags["ingest_stores"].deadline is None


def test_the_page_says_where_rows_come_from_and_no_login(serialized: dict[str, Any]) -> None:
    page = serialized["ingest_tills"].doc_md
    assert "| rows from | `/stores` of `https://api.example/v1` |" in page
    assert "| due by | 06:00 (Asia/Shanghai) |" in page
    assert "s3cret" not in page
    assert "| rows from | `stores.csv` |" in serialized["ingest_stores"].doc_md
