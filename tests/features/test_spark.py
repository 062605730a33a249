"""The whole build on Spark gives what it gives on DuckDB, row by row."""

import shutil
from pathlib import Path
from typing import Any

import ibis
import pyarrow.parquet as pq
import pytest
from portrait.features import build
from portrait.features.cells import VALUES
from portrait.features.engine import SparkEngine
from portrait.features.matrix import read_csr

from .conftest import Shop
from .test_incremental import day, fill

pytestmark = pytest.mark.slow
TABLES = ("customer", "rfm", "activity", "affinity", "features", "sequence", "search", "catalogue", "cleaned")


@pytest.fixture
def crowd(shop: Shop) -> Shop:
    return fill(shop, 40)


@pytest.fixture
def java(monkeypatch: pytest.MonkeyPatch) -> None:
    """Spark is there, and quick to start."""
    pytest.importorskip("pyspark", reason="PySpark is not installed: pip install -r requirements-spark.txt")
    if not shutil.which("java"):
        pytest.skip("Spark needs Java 17: apt-get install openjdk-17-jre-headless")
    # Compiling for a handful of rows takes longer than all else.
    options = '--driver-java-options "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC" '
    options += (
        "--conf spark.sql.codegen.wholeStage=false --conf spark.sql.adaptive.enabled=false pyspark-shell"
    )
    monkeypatch.setenv("PYSPARK_SUBMIT_ARGS", options)
    monkeypatch.setenv("SPARK_LOCAL_IP", "127.0.0.1")


@pytest.fixture
def spark(java: None, crowd: Shop) -> Shop:
    """The same shop, whose features are computed by Spark."""
    features = crowd.settings.features.model_copy(update={"engine": "spark", "spark_master": "local[1]"})
    return Shop(crowd.settings.model_copy(update={"features": features}), crowd.warehouse, crowd.add_raw)


def rows(shop: Shop, attempt: int, name: str) -> list[dict[str, Any]]:
    """In an order that the numbers take no part in."""
    table = pq.read_table(shop.folder(day(0), attempt) / f"{name}.parquet").to_pylist()
    return sorted(table, key=lambda r: repr([v for v in r.values() if not isinstance(v, float)]))


def like(row: dict[str, Any]) -> dict[str, Any]:
    """The engines round weights to their twelve places in different ways."""
    return {k: pytest.approx(v, rel=1e-5, nan_ok=True) if isinstance(v, float) else v for k, v in row.items()}


def test_both_engines_give_the_same_tables(crowd: Shop, spark: Shop) -> None:
    on_duckdb = crowd.night(day(0))
    resolved = crowd.settings.run_dir(crowd.run(day(0)).run_id) / "identity"
    run = spark.run(day(0), 2)
    shutil.copytree(resolved, spark.settings.run_dir(run.run_id) / "identity")
    assert build(spark.settings, run) == on_duckdb
    for name in TABLES:
        assert rows(spark, 2, name) == [like(r) for r in rows(crowd, 1, name)], name
    for name in VALUES:
        ours, theirs = (read_csr(s.folder(day(0), a) / "matrix" / name) for s, a in ((spark, 2), (crowd, 1)))
        assert abs(ours - theirs).max() < 1e-6


def test_a_second_run_of_a_process_does_not_spill_to_the_first_ones_folder(
    java: None, tmp_path: Path
) -> None:
    """A run's folder is deleted when it is done, and Spark keeps one session a process."""
    rows, counted = ibis.memtable({"a": [1, 1, 2]}), []
    for name in ("first", "second"):
        spill = tmp_path / name
        spill.mkdir()
        engine = SparkEngine("local[1]", "1g", spill)
        found = engine.arrow(rows.group_by("a").agg(n=rows.count()).order_by("a"))
        counted.append(found["n"].to_pylist())
        shutil.rmtree(spill)
    assert counted == [[2, 1], [2, 1]]
