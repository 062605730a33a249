"""Rows in a short notation, as a Parquet file that either engine reads."""

import importlib.util
import shutil
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from ibis.expr import types as ir
from portrait.config import FeatureConfig
from portrait.features.engine import DuckDBEngine, Engine, SparkEngine
from portrait.features.families import FAMILIES

AS_OF = date(2026, 3, 31)  # a Tuesday
WEIGHTS = {"pos_sale": 1.0, "order_completed": 1.0, "product_added": 0.3, "product_viewed": 0.1}
ROWS = pa.schema(
    {
        "customer": pa.int32(),
        "event_name": pa.string(),
        "channel": pa.string(),
        "item": pa.int32(),
        "basket": pa.int64(),
        "quantity": pa.float64(),
        "amount": pa.decimal128(18, 4),
        "discount": pa.decimal128(18, 4),
        "rating": pa.float64(),
        "occurred_at": pa.timestamp("us", tz="UTC"),
        "local_hour": pa.int8(),
        "business_date": pa.date32(),
        "store_id": pa.string(),
        "search_query": pa.string(),
    }
)
CATALOGUE = pa.schema(
    {
        "item": pa.int32(),
        "category": pa.string(),
        "category_1": pa.string(),
        "brand": pa.string(),
        "list_price": pa.float64(),
        "price_tier": pa.int32(),
    }
)
Row = dict[str, Any]
Compute = Callable[..., dict[int, Row]]


@pytest.fixture(scope="session")
def duckdb_engine(tmp_path_factory: pytest.TempPathFactory) -> Engine:
    return DuckDBEngine("500MB", tmp_path_factory.mktemp("spill"))


@pytest.fixture(scope="session")
def spark_engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    if importlib.util.find_spec("pyspark") is None:
        pytest.skip("PySpark is not installed: pip install -r requirements-spark.txt")
    if shutil.which("java") is None:
        pytest.skip("Java is not installed: apt-get install openjdk-17-jre-headless")
    # Optimising what runs for seconds takes longer than it saves.
    options = '--driver-java-options "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC" pyspark-shell'
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("PYSPARK_SUBMIT_ARGS", options)
        environment.setenv("SPARK_LOCAL_IP", "127.0.0.1")
        engine = SparkEngine("local[1]", "1g", tmp_path_factory.mktemp("spark"))
    # Compiling Java for a handful of rows takes longer than all else.
    for name, value in (
        ("shuffle.partitions", "1"),
        ("codegen.wholeStage", "false"),
        ("adaptive.enabled", "false"),
    ):
        engine.session.conf.set(f"spark.sql.{name}", value)
    engine.session.sparkContext.setLogLevel("ERROR")
    yield engine
    engine.session.stop()


@pytest.fixture(params=["duckdb", "spark"])
def engine(request: pytest.FixtureRequest) -> Engine:
    found: Engine = request.getfixturevalue(f"{request.param}_engine")
    return found


@pytest.fixture
def read(tmp_path: Path) -> Callable[[Engine, pa.Table], ir.Table]:
    """Write a table to a new Parquet file and read it with an engine."""
    number = iter(range(1000))

    def through_file(engine: Engine, table: pa.Table) -> ir.Table:
        path = tmp_path / f"{next(number)}.parquet"
        pq.write_table(table, path)
        return engine.read(path)

    return through_file


def full_row(row: Row) -> Row:
    """Complete {"customer": 1, "event_name": "pos_sale", "days_ago": 3, ...}: noon of the day, channel by event."""
    row = dict(row)
    day = AS_OF - timedelta(days=row.pop("days_ago", 0))
    row["business_date"] = day
    row["occurred_at"] = datetime.combine(day, time(row.pop("hour", 12)), UTC)
    row.setdefault("local_hour", row["occurred_at"].hour)
    row.setdefault("channel", "store" if row["event_name"].startswith("pos_") else "online")
    return row


def rows_of(rows: list[Row]) -> pa.Table:
    """A table of rows in the short notation; amounts as numbers of at most four places."""
    full = [full_row(r) for r in rows]
    columns = {}
    for field in ROWS:
        values = [r.get(field.name) for r in full]
        money = pa.types.is_decimal(field.type)
        found = pa.array(values, pa.float64() if money else field.type)
        columns[field.name] = found.cast(field.type) if money else found
    return pa.table(columns, schema=ROWS)


@pytest.fixture
def compute(engine: Engine, read: Callable[[Engine, pa.Table], ir.Table]) -> Compute:
    """compute(family, rows, catalogue=[...], as_of=..., **config) -> customer -> its row."""

    def computed(
        family: str, rows: list[Row], catalogue: tuple[Row, ...] = (), as_of: date = AS_OF, **more: Any
    ) -> dict[int, Row]:
        config = FeatureConfig(**{"behaviour_weights": WEIGHTS, **more})
        known = pa.Table.from_pylist(list(catalogue), schema=CATALOGUE)
        table = FAMILIES[family](read(engine, rows_of(rows)), read(engine, known), config, as_of)
        found = engine.arrow(table).to_pylist()
        assert len({r["customer"] for r in found}) == len(found)
        return {r.pop("customer"): r for r in found}

    return computed
