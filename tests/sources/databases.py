"""Connectors of databases for tests."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
from portrait.config import load_settings
from portrait.sources.database import DatabaseConnector
from portrait.sources.delivery import Delivery


def database_connector(
    folder: Path, connection: dict[str, Any] | None, timezone: str = "Asia/Shanghai", **database: Any
) -> DatabaseConnector:
    """The source `pos` of a `sources.yaml` that reads from the Airflow connection `pos_db`."""
    entry = database if "url" in database else {"connection": "pos_db", **database}
    source = {"name": "pos", "entity": "product", "columns": {"sku": "a", "name": "b"}, "database": entry}
    file = folder / "sources.yaml"
    # JSON is YAML.
    file.write_text(json.dumps({"workspace": "test", "timezone": timezone, "sources": [source]}))
    environ = {} if connection is None else {"AIRFLOW_CONN_POS_DB": json.dumps(connection)}
    settings = load_settings(environ, file)
    return DatabaseConnector(settings, settings.sources.source("pos"))


def no_bad_line(row: int, text: str, expected: int, found: int) -> None:
    raise AssertionError("a database has no bad lines")


def rows(connector: DatabaseConnector, delivery: Delivery | None = None) -> list[dict[str, Any]]:
    """The rows of a delivery (unless given, of everything), which must have the schema that was announced."""
    delivery = delivery or connector.pending(None)[0]
    schema = connector.schema(delivery)
    batches = list(connector.batches(delivery, no_bad_line))
    assert all(batch.schema.equals(schema, check_metadata=True) and batch.num_rows for batch in batches)
    return pa.Table.from_batches(batches, schema=schema).to_pylist()
