"""The engine that computes features: DuckDB in process, within a memory limit and with room to spill."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import ibis
from ibis.backends.duckdb import Backend

from portrait.config import Settings

THREADS = 2


@contextmanager
def open_engine(settings: Settings, folder: Path) -> Iterator[Backend]:
    """An Ibis connection for one run; what does not fit in memory goes to `folder`/spill."""
    engine = ibis.duckdb.connect(
        ":memory:",
        memory_limit=settings.features.memory_limit,
        temp_directory=str(folder / "spill"),
        threads=THREADS,
    )
    try:
        yield engine
    finally:
        engine.disconnect()
