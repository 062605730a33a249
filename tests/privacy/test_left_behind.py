"""What an erasure must not leave behind outside the tables: Airflow's own data, nights that were at work, saved models."""

import json
from collections.abc import Iterator
from datetime import date

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from portrait.config import Settings
from portrait.errors import PortraitError
from portrait.features.positions import customer_index
from portrait.models import create
from portrait.privacy.airflow import airflow_database
from portrait.privacy.erase import erase
from portrait.privacy.requests import work_off
from portrait.privacy.verify import verify
from portrait.run import Run
from portrait.warehouse import Warehouse
from scipy.sparse import csr_matrix, load_npz, save_npz
from sqlalchemy import create_engine, text
from sqlalchemy.pool import NullPool

from .conftest import LI_PHONE, warehouse_run
from .test_in_flight import ids


@pytest.fixture
def airflow(loaded: Settings, warehouse: Warehouse) -> Iterator[tuple[Settings, Warehouse]]:
    """The settings with a database of Airflow's, as far as tasks and people write to it."""
    name = f"{warehouse.url.database}_airflow"
    engine = create_engine(warehouse.url, isolation_level="AUTOCOMMIT", poolclass=NullPool)
    with engine.connect() as connection:
        connection.execute(text(f"create database {name}"))
    url = warehouse.url.set(database=name)
    database = Warehouse(url)
    database.execute(
        "create table xcom (dag_run_id integer, task_id text, map_index integer, key text, value jsonb, "
        "primary key (dag_run_id, task_id, map_index, key))"
    )
    database.execute("create table dag_run (id integer primary key, conf json)")
    logs = loaded.home / "logs"
    settings = loaded.model_copy(
        update={"airflow_database_url": url.render_as_string(hide_password=False), "airflow_logs": logs}
    )
    yield settings, database
    with engine.connect() as connection:
        connection.execute(text(f"drop database {name} with (force)"))


def test_airflow_forgets_too(airflow: tuple[Settings, Warehouse]) -> None:
    settings, database = airflow
    handed_on = {"run_id": "2025-03-01.1", "rows": 2}
    database.execute(
        "insert into xcom values (1, 'resolve', -1, 'return_value', :a), (1, 'pull', -1, 'error', :b)",
        a=json.dumps(handed_on),
        b=json.dumps({"error": "row of acc-lilei is bad, call 137-6412-5093"}),
    )
    database.execute("insert into dag_run values (1, :c)", c=json.dumps({"customer": "acc-lilei"}))
    log = settings.airflow_logs / "dag_id=ingest" / "attempt=1.log"  # type: ignore[operator]
    log.parent.mkdir(parents=True)
    log.write_text("pulled 2 rows\nacc-lilei has no card\n", encoding="utf-8")
    done = erase(settings, [f"phone:{LI_PHONE}"], "tests")
    assert done.counts["airflow.xcom anonymous"] == 1
    assert done.counts["airflow.dag_run anonymous"] == 1
    assert done.counts["files airflow logs rewritten"] == 1
    values = [r["value"] for r in database.rows("select value from xcom order by task_id desc")]
    assert values == [handed_on, {"error": "row of [erased] is bad, call [erased]"}]
    assert database.scalar("select conf from dag_run") == {"customer": "[erased]"}
    assert log.read_text(encoding="utf-8") == "pulled 2 rows\n[erased] has no card\n"
    assert verify(settings, dump=False).traces == {}
    database.execute("update dag_run set conf = :c", c=json.dumps({"customer": "acc-lilei"}))
    log.write_text("acc-lilei again\n", encoding="utf-8")
    assert verify(settings, dump=False).traces == {
        ("airflow: public.dag_run.conf", "account"): 1,
        ("airflow: attempt=1.log", "account"): 1,
    }


def test_an_address_that_is_none(settings: Settings) -> None:
    assert airflow_database(settings) is None
    wrong = settings.model_copy(update={"airflow_database_url": "sqlite:///airflow.db"})
    with pytest.raises(PortraitError, match="PORTRAIT_AIRFLOW_DATABASE_URL"):
        airflow_database(wrong)


def test_what_tasks_hand_on_names_nobody(shop: Settings, warehouse: Warehouse) -> None:
    """The results of the stages are what tasks return, and so what XCom has: only names of columns and numbers."""
    results = warehouse.rows("select result from ops.stage_result")
    assert len(results) >= 3
    for row in results:
        for name, value in row["result"].items():
            assert value is None or isinstance(value, int | float | bool) or name in ("run_id", "as_of"), name


def test_files_that_a_night_wrote_after_the_erasure(shop: Settings, warehouse: Warehouse) -> None:
    """The night read before and writes after: its files are gone through again when it has ended."""
    known = ids(warehouse)
    run = Run("2025-03-02.1", date(2025, 3, 2))
    warehouse_run(shop, run)
    late = shop.run_dir(run.run_id) / "scores" / "next.parquet"
    lake = sorted(shop.lake_dir.rglob("part.parquet"))
    before = {path: path.read_bytes() for path in lake}
    positions = customer_index(shop).read_bytes()
    erase(shop, ["account:acc-lilei"], "tests")
    # What it had in memory.
    late.parent.mkdir(parents=True)
    pq.write_table(pa.table({"customer_id": sorted(known.values()), "score": [1.0, 2.0]}), late)
    for path, content in before.items():
        path.write_bytes(content)
    customer_index(shop).write_bytes(positions)
    assert verify(shop, dump=False).traces != {}
    assert work_off(shop).as_dict() == {"done": 0, "refused": 0}
    assert verify(shop, dump=False).traces != {}  # it is still at work
    warehouse.execute("update ops.run set status = 'published', finished_at = now()")
    work_off(shop)
    assert verify(shop, dump=False).traces == {}
    assert pq.read_table(late)["customer_id"].to_pylist() == [known["acc-hanmei"]]
    swept = {r["run_id"]: r["files"] for r in warehouse.rows("select run_id, files from privacy.file_sweep")}
    assert set(swept) == {"2025-03-01.1", "2025-03-02.1"}
    assert swept["2025-03-02.1"] > 1
    work_off(shop)
    assert warehouse.scalar("select count(*) from privacy.file_sweep") == 2


def test_models_that_keep_rows_of_customers(shop: Settings, warehouse: Warehouse) -> None:
    index = pq.read_table(customer_index(shop)).to_pylist()
    known = ids(warehouse)
    mine = next(row["row"] for row in index if row["customer_id"] == known["acc-lilei"])
    labels = shop.models_dir / "2025-03-01.1" / "new" / "ranker" / "serving" / "labels.npz"
    labels.parent.mkdir(parents=True)
    save_npz(labels, csr_matrix(np.ones((2, 3), dtype=np.float32)))
    place = "2025-03-01.1/next/tifu_knn"
    model = create("tifu_knn", neighbours=1).fit(csr_matrix(np.eye(3, dtype=np.float32)))
    model.save(shop.models_dir / place / "serving")
    warehouse.execute(
        "insert into ops.model_version (model_version, slot, model, parameters, run_id, trained_through, path, status, reason) "
        "values (:p, 'next', 'tifu_knn', '{}', '2025-03-01.1', '2025-03-01', :p, 'champion', 'first')",
        p=place,
    )
    done = erase(shop, ["account:acc-lilei"], "tests")
    assert load_npz(labels).toarray()[mine].tolist() == [0, 0, 0]
    assert load_npz(labels).toarray().sum() == 3
    assert not (shop.models_dir / place).exists()
    assert done.counts["model versions deleted"] == 1
    (row,) = warehouse.rows("select status, path, reason from ops.model_version")
    assert (row["status"], row["path"]) == ("withdrawn", None)
    assert "held histories" in row["reason"]


def test_the_api_is_told(shop: Settings) -> None:
    from portrait.serving.service import _time_of

    marker = shop.workspace_dir / "serving" / "erased"
    marker.parent.mkdir(parents=True)
    assert _time_of(marker) == 0
    erase(shop, ["account:acc-lilei"], "tests")
    assert _time_of(marker) > 0
