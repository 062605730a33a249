"""Which part of a database a pull reads, and what is refused before a server is asked."""

from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest
from portrait.errors import PortraitError, SourceUnavailable
from portrait.sources import Delivery, Window, connector
from portrait.sources.database import DatabaseConnector

from .databases import database_connector, no_bad_line

POSTGRES = {
    "conn_type": "postgres",
    "host": "db.example",
    "schema": "shop",
    "login": "pos",
    "password": "s3cret",
}
NOON = int(datetime(2026, 3, 1, 12, tzinfo=UTC).timestamp()) * 1_000_000
SHANGHAI_MIDNIGHT = datetime(2026, 3, 1, 16, tzinfo=UTC)
TIMED = {"column": "updated_at", "overlap": 90}
COUNTED = {"column": "id", "type": "integer", "overlap": 10}


@pytest.mark.parametrize(
    ("watermark", "as_of", "mark", "delivered_for", "window"),
    [
        pytest.param(None, date(2026, 3, 1), NOON, None, Window(), id="without watermark"),
        pytest.param(
            TIMED, date(2026, 3, 1), None, date(2026, 3, 1), Window(None, SHANGHAI_MIDNIGHT), id="first"
        ),
        pytest.param(
            TIMED,
            date(2026, 3, 1),
            NOON,
            date(2026, 3, 1),
            Window(NOON - 5_400_000_000, SHANGHAI_MIDNIGHT),
            id="later",
        ),
        pytest.param(TIMED, None, NOON, None, Window(NOON - 5_400_000_000, None), id="without end"),
        pytest.param(COUNTED, date(2026, 3, 1), None, None, Window(), id="first by number"),
        pytest.param(COUNTED, date(2026, 3, 1), 25, None, Window(15, None), id="later by number"),
    ],
)
def test_pending_is_the_window_from_the_mark_to_the_end_of_the_day(
    tmp_path: Path,
    watermark: dict[str, Any] | None,
    as_of: date | None,
    mark: int | None,
    delivered_for: date | None,
    window: Window,
) -> None:
    source = database_connector(tmp_path, POSTGRES, table="public.receipts", watermark=watermark)
    assert source.pending(as_of, mark) == [
        Delivery("pos_db:public.receipts", delivered_for=delivered_for, window=window)
    ]


@pytest.mark.parametrize(
    ("entry", "name"),
    [
        ({"query": "select 1 as a"}, "pos_db:query"),
        ({"table": "receipts", "url": "postgres://pos:s3cret@10.0.0.5/shop"}, "10.0.0.5/shop:receipts"),
        (
            {"table": "receipts", "url": "mysql://pos:s3cret@10.0.0.5:3307/shop"},
            "10.0.0.5:3307/shop:receipts",
        ),
    ],
)
def test_names_tell_the_database_and_no_login(tmp_path: Path, entry: dict[str, Any], name: str) -> None:
    assert [d.name for d in database_connector(tmp_path, POSTGRES, **entry).pending(None)] == [name]


def test_connector_of_a_database(tmp_path: Path) -> None:
    source = database_connector(tmp_path, POSTGRES, table="receipts")
    assert isinstance(connector(source.settings, source.source), DatabaseConnector)


def test_unknown_connection_is_refused_before_anything_is_read(tmp_path: Path) -> None:
    with pytest.raises(PortraitError) as refused:
        database_connector(tmp_path, None, table="receipts").pending(date(2026, 3, 1))
    assert str(refused.value) == (
        "sources[pos].database.connection: no connection 'pos_db'; "
        "add it in Airflow (Admin, Connections) or set AIRFLOW_CONN_POS_DB"
    )


@pytest.mark.parametrize(
    ("conn_type", "why"),
    [
        ("nosuch", "Can't load plugin: sqlalchemy.dialects:nosuch"),
        ("mssql", "No module named 'pyodbc'"),
    ],
)
def test_unknown_driver(tmp_path: Path, conn_type: str, why: str) -> None:
    source = database_connector(tmp_path, {**POSTGRES, "conn_type": conn_type}, table="receipts")
    with pytest.raises(PortraitError) as refused:
        source.schema(source.pending(None)[0])
    assert str(refused.value) == (
        f"sources[pos].database: no driver for '{conn_type}' ({why}); use postgres, mysql or mariadb, "
        "or add the package of its SQLAlchemy dialect to requirements.txt"
    )
    assert not isinstance(refused.value, SourceUnavailable)


@pytest.mark.parametrize(
    ("conn_type", "said"),
    [
        (
            "postgres",
            'connection to server at "127.0.0.1", port 1 failed: Connection refused',
        ),
        ("mysql", "Can't connect to MySQL server on '127.0.0.1' ([Errno 111] Connection refused)"),
    ],
)
def test_server_that_does_not_answer_is_tried_again(tmp_path: Path, conn_type: str, said: str) -> None:
    address = {"conn_type": conn_type, "host": "127.0.0.1", "port": 1}
    source = database_connector(tmp_path, {**POSTGRES, **address}, table="receipts")
    delivery = source.pending(None)[0]
    for read in (lambda: source.schema(delivery), lambda: list(source.batches(delivery, no_bad_line))):
        with pytest.raises(SourceUnavailable) as unavailable:
            read()
        assert str(unavailable.value) == (
            f"sources[pos].database: pos_db (127.0.0.1:1/shop) does not answer ({said}); "
            "check host, port and that the server runs and has a connection to spare"
        )


@pytest.mark.parametrize("conn_type", ["postgres", "mysql"])
def test_an_extra_that_the_driver_does_not_know(tmp_path: Path, conn_type: str) -> None:
    """A misspelt sslmode must not be ignored."""
    source = database_connector(
        tmp_path, {**POSTGRES, "conn_type": conn_type, "extra": {"sslmod": "require"}}, table="receipts"
    )
    with pytest.raises(PortraitError, match="refuses the connection .*sslmod") as refused:
        source.schema(source.pending(None)[0])
    assert not isinstance(refused.value, SourceUnavailable)
    assert "s3cret" not in str(refused.value)
