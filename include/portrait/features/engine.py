"""The engine that computes features: DuckDB in process, or Spark where one machine is not enough."""

import itertools
import shutil
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import ibis
import pyarrow as pa
from ibis.expr import types as ir

from portrait.config import Settings
from portrait.errors import PortraitError

THREADS = 2
COMPRESSION = "zstd"


class Engine(ABC):
    """Reads Parquet files as Ibis tables, and writes Ibis tables as one Parquet file each."""

    name: str
    backend: Any

    def arrow(self, table: ir.Table) -> pa.Table:
        """The table in memory."""
        found: pa.Table = self.backend.to_pyarrow(table)
        return found

    @abstractmethod
    def read(self, *files: Path, root: Path | None = None) -> ir.Table:
        """Files of the same columns as one table; below `root`, folders named ``column=value`` give columns."""

    @abstractmethod
    def write(self, table: ir.Table, path: Path) -> None:
        """Write one Parquet file, in the table's order."""

    def kept(self, table: ir.Table, path: Path) -> ir.Table:
        """A table that is computed once and read several times."""
        self.write(table, path)
        return self.read(path)


class DuckDBEngine(Engine):
    """In process, within a memory limit; what does not fit goes to `spill`."""

    name = "duckdb"

    def __init__(self, memory_limit: str, spill: Path) -> None:
        self.backend = ibis.duckdb.connect(
            ":memory:",
            memory_limit=memory_limit,
            temp_directory=str(spill),
            threads=THREADS,
            preserve_insertion_order=False,
        )
        self.backend.raw_sql("set enable_progress_bar = false")

    def read(self, *files: Path, root: Path | None = None) -> ir.Table:
        found: ir.Table = self.backend.read_parquet(
            [str(f) for f in files], hive_partitioning=root is not None, union_by_name=len(files) > 1
        )
        return found

    def write(self, table: ir.Table, path: Path) -> None:
        self.backend.to_parquet(table, path, compression=COMPRESSION)


class SparkEngine(Engine):
    """A Spark session: `local[n]` in this process, or a cluster that sees the same folders."""

    name = "spark"
    _numbers = itertools.count()

    def __init__(self, master: str, memory_limit: str, spill: Path) -> None:
        try:
            from pyspark.sql import SparkSession
        except ImportError:
            raise PortraitError(
                "features.yaml: engine is spark, but PySpark is not installed; pip install -r requirements-spark.txt"
            ) from None
        if master.startswith("local") and not shutil.which("java"):
            raise PortraitError(
                "features.yaml: engine is spark, which needs Java 17; install openjdk-17-jre-headless"
            )
        earlier = SparkSession.getActiveSession()
        if (
            earlier is not None
            and not Path(earlier.sparkContext.getConf().get("spark.local.dir", ".")).is_dir()
        ):
            earlier.stop()  # what it would spill to went with an earlier run of this process
        self.session = (
            SparkSession.builder.master(master)
            .appName("portrait features")
            .config("spark.driver.memory", memory_limit.lower().removesuffix("b"))
            .config("spark.local.dir", str(spill))
            .config("spark.sql.session.timeZone", "UTC")
            .config(
                "spark.sql.shuffle.partitions", str(THREADS if master.startswith("local") else 100 * THREADS)
            )
            .config("spark.ui.enabled", "false")
            .config("spark.sql.ansi.enabled", "false")
            .config("spark.sql.execution.arrow.pyspark.enabled", "true")
            .getOrCreate()
        )
        self.backend = ibis.pyspark.connect(self.session)

    def read(self, *files: Path, root: Path | None = None) -> ir.Table:
        reader = self.session.read.option("mergeSchema", "true")
        if root is not None:
            reader = reader.option("basePath", str(root))
        name = f"portrait_{next(self._numbers)}"
        reader.parquet(*(str(f) for f in files)).createOrReplaceTempView(name)
        found: ir.Table = self.backend.table(name)
        return found

    def write(self, table: ir.Table, path: Path) -> None:
        folder = path.with_name(f"{path.name}.spark")
        shutil.rmtree(folder, ignore_errors=True)
        self.backend._run_pre_execute_hooks(table)
        frame = self.session.sql(self.backend.compile(table))
        frame.coalesce(1).write.option("compression", COMPRESSION).parquet(str(folder))
        next(folder.glob("part-*.parquet")).replace(path)
        shutil.rmtree(folder)


@contextmanager
def open_engine(settings: Settings, folder: Path) -> Iterator[Engine]:
    """The engine of `features.yaml` for one run; what does not fit in memory goes to `folder`/spill.

    Raises
    ------
    PortraitError : when Spark is wanted and not installed.
    """
    config, spill = settings.features, folder / "spill"
    if config.engine == "spark":
        yield SparkEngine(config.spark_master, config.memory_limit, spill)
        return
    with _duckdb(config.memory_limit, spill) as engine:
        yield engine


@contextmanager
def small_engine(settings: Settings, folder: Path) -> Iterator[Engine]:
    """For tables that one machine always holds, such as products and members; what is written to `folder` is gone afterwards."""
    with (
        TemporaryDirectory(dir=folder, prefix="small.") as spill,
        _duckdb(settings.features.memory_limit, Path(spill)) as engine,
    ):
        yield engine


@contextmanager
def _duckdb(memory_limit: str, spill: Path) -> Iterator[Engine]:
    engine = DuckDBEngine(memory_limit, spill)
    try:
        yield engine
    finally:
        engine.backend.disconnect()
