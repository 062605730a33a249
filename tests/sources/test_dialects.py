"""MariaDB, and any database with a SQLAlchemy dialect, as a source."""

import sqlite3
import time
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pyarrow as pa
import pymysql
import pytest
from portrait.errors import PortraitError, SourceUnavailable
from portrait.sources.database import DatabaseConnector
from portrait.sources.dialects import _text

from .databases import database_connector, no_bad_line, rows
from .mariadb import PASSWORD, MariaDB, mariadb_server

Pos = Callable[..., DatabaseConnector]


@pytest.fixture(scope="module")
def mariadb() -> Iterator[MariaDB]:
    with mariadb_server() as server:
        yield server


@pytest.fixture
def database(mariadb: MariaDB) -> Iterator[str]:
    name = mariadb.create_database()
    yield name
    mariadb.execute(f"drop database {name}")


@pytest.fixture
def pos(mariadb: MariaDB, database: str, tmp_path: Path) -> Pos:
    def make(timezone: str = "Asia/Shanghai", **keys: Any) -> DatabaseConnector:
        return database_connector(tmp_path, mariadb.connection(database), timezone, **keys)

    return make


def test_types(mariadb: MariaDB, database: str, pos: Pos) -> None:
    """Everything is text as the server writes it; a TIMESTAMP has its offset, a DATETIME has none."""
    mariadb.execute(
        """
        create table things (
            i bigint unsigned, n decimal(30, 4), f double, yes boolean, s varchar(20), e enum('calm', 'glad'),
            d date, t time, at datetime(6), stamp timestamp(3) null, zero datetime, y year, j json,
            b varbinary(10), flag bit(1), flags bit(16)
        );
        set sql_mode = '';
        set time_zone = '+00:00';
        insert into things values (
            18446744073709551615, -12.50, 0.1, true, '中文😀', 'glad', '2026-03-01', '36:00:00',
            '2026-03-01 10:00:00.123456', '2026-03-01 02:00:00.500', '0000-00-00', 2026, '{"k": "中"}',
            x'00ff', 1, 258
        );
        insert into things () values ();
        """,
        database,
    )
    expected = {
        "i": "18446744073709551615", "n": "-12.5000", "f": "0.1", "yes": "1", "s": "中文😀", "e": "glad",
        "d": "2026-03-01", "t": "36:00:00", "at": "2026-03-01 10:00:00.123456",
        "stamp": "2026-03-01 10:00:00.500+08:00", "zero": "0000-00-00 00:00:00", "y": "2026",
        "j": '{"k": "中"}', "b": "00ff", "flag": "1", "flags": "258",
    }  # fmt: skip
    assert rows(pos(table="things")) == [expected, dict.fromkeys(expected)]


def test_a_timestamp_is_the_same_instant_in_summer(mariadb: MariaDB, database: str, pos: Pos) -> None:
    mariadb.execute(
        "create table things (at timestamp); set time_zone = '+00:00'; insert into things values ('2026-07-01 10:00')",
        database,
    )
    for timezone in ("Europe/Berlin", "America/New_York", "Asia/Kolkata", "Australia/Sydney"):
        (row,) = rows(pos(timezone, table="things"))
        assert datetime.fromisoformat(row["at"]) == datetime(2026, 7, 1, 10, tzinfo=UTC)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, None),
        ("中", "中"),
        (True, "true"),
        (False, "false"),
        (3, "3"),
        (Decimal("1E+3"), "1000"),
        (Decimal("0.00000001"), "0.00000001"),
        (datetime.fromisoformat("2026-03-01T10:00:00.000005"), "2026-03-01 10:00:00.000005"),
        (datetime(2026, 3, 1, 10, tzinfo=UTC), "2026-03-01 10:00:00+00:00"),
        (date(2026, 3, 1), "2026-03-01"),
        (timedelta(hours=25, minutes=3), "25:03:00"),
        (timedelta(hours=-1), "-01:00:00"),
        (b"\x00\xff", "00ff"),
        (memoryview(b"\x01"), "01"),
        ({"k": ["中", Decimal("1.5")]}, '{"k": ["中", "1.5"]}'),
    ],
)
def test_text_of_what_drivers_give(value: Any, text: str | None) -> None:
    assert _text(value) == text


def test_empty_table_has_columns_and_no_batches(mariadb: MariaDB, database: str, pos: Pos) -> None:
    mariadb.execute("create table empty (id int, amount decimal(9, 2))", database)
    source = pos(table="empty")
    delivery = source.pending(None)[0]
    assert source.schema(delivery) == pa.schema([("id", pa.string()), ("amount", pa.string())])
    assert list(source.batches(delivery, no_bad_line)) == []


def test_query_and_names(mariadb: MariaDB, database: str, pos: Pos) -> None:
    mariadb.execute(
        "create table `order` (`select` datetime); insert into `order` values ('2026-03-01 10:00')", database
    )
    source = pos(table=f"{database}.order", watermark="select")
    assert rows(source, source.pending(date(2026, 3, 1))[0]) == [{"select": "2026-03-01 10:00:00"}]
    source = pos(
        query="select '100%' as share, ':x' as colon, date(now()) is null as n from `order` -- all of it;"
    )
    assert rows(source) == [{"share": "100%", "colon": ":x", "n": "0"}]


@pytest.mark.parametrize("kind", ["datetime(6)", "timestamp(6)"])
def test_window_includes_since_and_excludes_until(
    mariadb: MariaDB, database: str, pos: Pos, kind: str
) -> None:
    mariadb.execute(
        f"create table receipts (id int, at {kind} null); set time_zone = '+08:00'; insert into receipts values "
        "(1, '2026-02-28 23:59:59.999999'), (2, '2026-03-01'), (3, '2026-03-01'), (4, '2026-03-01 00:00:00.000001'), "
        "(5, '2026-03-01 23:59:59.999999'), (6, '2026-03-02'), (7, null)",
        database,
    )
    source = pos(table="receipts", watermark={"column": "at", "overlap": 0})
    midnight = int(datetime(2026, 2, 28, 16, tzinfo=UTC).timestamp()) * 1_000_000

    def ids(as_of: date | None, mark: int | None) -> str:
        return "".join(sorted(r["id"] for r in rows(source, source.pending(as_of, mark)[0])))

    assert ids(date(2026, 3, 1), midnight) == "2345"
    assert ids(date(2026, 3, 1), midnight + 1) == "45"
    assert ids(date(2026, 3, 1), None) == "123457"
    assert ids(None, midnight) == "23456"
    assert ids(None, None) == "1234567"
    assert ids(date(2026, 3, 1), midnight + 10**12) == ""


@pytest.mark.parametrize("kind", ["datetime", "timestamp"])
def test_window_where_summer_time_ends(mariadb: MariaDB, database: str, pos: Pos, kind: str) -> None:
    """On 2026-10-25 Berlin's clocks show 02:00 to 03:00 twice: a mark in the first pass must not hide the second."""
    instants = [
        "2026-10-24 23:40",
        "2026-10-25 01:10",
        "2026-10-25 00:55",
        "2026-10-25 22:59",
        "2026-10-25 23:00",
    ]
    walls = [
        "2026-10-25 01:40",
        "2026-10-25 02:10",
        "2026-10-25 02:55",
        "2026-10-25 23:59",
        "2026-10-26 00:00",
    ]
    values = ", ".join(
        f"({i}, '{v}')" for i, v in enumerate(instants if kind == "timestamp" else walls, start=1)
    )
    mariadb.execute(
        f"create table receipts (id int, at {kind}); set time_zone = '+00:00'; insert into receipts values {values}",
        database,
    )
    source = pos("Europe/Berlin", table="receipts", watermark={"column": "at", "overlap": 0})
    first_pass = int(datetime(2026, 10, 25, 0, 50, tzinfo=UTC).timestamp()) * 1_000_000
    until = date(2026, 10, 25)
    assert sorted(r["id"] for r in rows(source, source.pending(until, first_pass)[0])) == ["2", "3", "4"]
    second_pass = source.pending(until, first_pass + 3_600_000_000)[0]
    expected = {"datetime": ["3", "4"], "timestamp": ["4"]}[kind]
    assert sorted(r["id"] for r in rows(source, second_pass)) == expected


def test_window_by_number(mariadb: MariaDB, database: str, pos: Pos) -> None:
    mariadb.execute("create table receipts as select seq as id from seq_0_to_4", database)
    source = pos(table="receipts", watermark={"column": "id", "type": "integer", "overlap": 1})
    assert [r["id"] for r in rows(source, source.pending(date(2026, 3, 1), 3)[0])] == ["2", "3", "4"]


def test_rows_are_streamed_and_lock_nobody_out(mariadb: MariaDB, database: str, pos: Pos) -> None:
    """The server waits with its rows until they are taken; others write meanwhile."""
    mariadb.execute(
        "create table receipts (id int primary key, n int, fill char(100));"
        "insert into receipts select seq, 1, repeat('x', 100) from seq_1_to_150000",
        database,
    )
    source = pos(table="receipts", batch_rows=7_000)
    batches = source.batches(source.pending(None)[0], no_bad_line)
    read = next(batches)["n"].to_pylist()
    assert [state for (state,) in _sessions(mariadb, database)] == ["Writing to net"]
    mariadb.execute(
        "set lock_wait_timeout = 2, innodb_lock_wait_timeout = 2; update receipts set n = 2", database
    )
    mariadb.execute("insert into receipts values (0, 2, '')", database)
    for batch in batches:
        assert 0 < batch.num_rows <= 7_000
        read += batch["n"].to_pylist()
    assert (len(read), set(read)) == (150_000, {"1"}), "the snapshot of the start"
    mariadb.execute("set lock_wait_timeout = 2; alter table receipts add column more int", database)


@pytest.mark.filterwarnings("error::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("end", ["closed", "dropped", "failed", "read"])
def test_no_session_stays_open(mariadb: MariaDB, database: str, pos: Pos, end: str) -> None:
    failing = "if(seq = 9000, exp(seq), 1)" if end == "failed" else "1"
    source = pos(
        query=f"select {failing} as n, repeat('x', 100) as fill from seq_1_to_100000", batch_rows=1_000
    )
    batches = source.batches(source.pending(None)[0], no_bad_line)
    next(batches)
    assert len(_sessions(mariadb, database)) == 1
    started = time.monotonic()
    if end == "closed":
        batches.close()  # type: ignore[attr-defined]
    elif end == "dropped":
        del batches
    elif end == "failed":
        with pytest.raises(PortraitError, match="DOUBLE value is out of range"):
            list(batches)
    else:
        list(batches)
    if end != "read":
        assert time.monotonic() - started < 0.2, "the rows left are not read"
    deadline = time.monotonic() + 2
    while sessions := _sessions(mariadb, database):
        assert time.monotonic() < deadline, sessions
        time.sleep(0.02)


def _sessions(mariadb: MariaDB, database: str) -> tuple[tuple[Any, ...], ...]:
    return mariadb.execute(
        f"select state from information_schema.processlist where db = '{database}' and user = 'pos'"
    )


def test_writing_is_refused(mariadb: MariaDB, database: str, pos: Pos) -> None:
    mariadb.execute(
        "create table receipts (id int);"
        "create function put() returns int begin insert into receipts values (1); return 1; end",
        database,
    )
    mariadb.execute(f"grant execute on {database}.* to pos@'127.0.0.1'")
    with pytest.raises(PortraitError, match="READ ONLY transaction"):
        rows(pos(query="select put() as id"))


def test_statement_timeout_is_tried_again(mariadb: MariaDB, database: str, pos: Pos) -> None:
    source = pos(query="select seq, sleep(0.05) as s from seq_1_to_200", statement_timeout_seconds=1)
    with pytest.raises(SourceUnavailable) as unavailable:
        rows(source)
    assert str(unavailable.value) == (
        f"sources[pos].database: pos_db (127.0.0.1:{mariadb.port}/{database}) ran out of time "
        "(Query execution was interrupted (max_statement_time exceeded)); "
        "raise statement_timeout_seconds (now 1) or read less at a time with a watermark"
    )


def test_lost_connection_is_tried_again(mariadb: MariaDB, database: str, pos: Pos) -> None:
    source = pos(query="select repeat('x', 100) as fill from seq_1_to_1000000", batch_rows=1_000)
    batches = source.batches(source.pending(None)[0], no_bad_line)
    next(batches)
    ((session,),) = mariadb.execute(f"select id from information_schema.processlist where db = '{database}'")
    mariadb.execute(f"kill {session}")
    with pytest.raises(SourceUnavailable, match="does not answer"):
        list(batches)


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        (
            {"table": "receipt"},
            ".table: pos_db ({place}) says: Table '{database}.receipt' doesn't exist; "
            "correct the table, or let the login read it",
        ),
        (
            {"query": "select nope from receipts"},
            ".query: pos_db ({place}) says: Unknown column 'nope' in 'SELECT'; "
            "correct the query, or let the login read it",
        ),
        (
            {"table": "mysql.user"},
            ".table: pos_db ({place}) says: SELECT command denied to user 'pos'@'127.0.0.1' for table "
            "`mysql`.`user`; correct the table, or let the login read it",
        ),
        (
            {"table": "receipts", "watermark": "updatd_at"},
            ".watermark.column: pos_db:receipts has no column 'updatd_at'; did you mean 'updated_at'?",
        ),
        (
            {"table": "receipts", "watermark": "note"},
            ".watermark: column 'note' of pos_db:receipts holds no timestamp; "
            "name one that does, or correct the watermark's type",
        ),
        (
            {"table": "receipts", "watermark": {"column": "updated_at", "type": "integer"}},
            ".watermark: column 'updated_at' of pos_db:receipts holds no integer; "
            "name one that does, or correct the watermark's type",
        ),
    ],
)
def test_mistakes_of_the_owner(
    mariadb: MariaDB, database: str, pos: Pos, keys: dict[str, Any], message: str
) -> None:
    mariadb.execute("create table receipts (id int, updated_at datetime, note text)", database)
    source = pos(**keys)
    place = f"127.0.0.1:{mariadb.port}/{database}"
    delivery = source.pending(None)[0]
    for read in (lambda: source.schema(delivery), lambda: list(source.batches(delivery, no_bad_line))):
        with pytest.raises(PortraitError) as refused:
            read()
        assert str(refused.value) == "sources[pos].database" + message.format(place=place, database=database)
        assert not isinstance(refused.value, SourceUnavailable)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"password": "Wr0ng"}, "Access denied for user 'pos'@'127.0.0.1' (using password: YES)"),
        ({"password": ""}, "Access denied for user 'pos'@'127.0.0.1' (using password: NO)"),
        ({"schema": "nope"}, "Access denied for user 'pos'@'127.0.0.1' to database 'nope'"),
        ({"schema": "shop_nope"}, "Unknown database 'shop_nope'"),
    ],
)
def test_logins_are_refused_without_the_password(
    mariadb: MariaDB, database: str, tmp_path: Path, changed: dict[str, Any], said: str
) -> None:
    connection = mariadb.connection(database, **changed)
    source = database_connector(tmp_path, connection, table="receipts")
    with pytest.raises(PortraitError) as refused:
        source.schema(source.pending(None)[0])
    assert str(refused.value) == (
        f"sources[pos].database: pos_db (127.0.0.1:{mariadb.port}/{connection['schema']}) refuses the connection "
        f"({said}); correct its login, password, database and extras"
    )
    assert not isinstance(refused.value, SourceUnavailable)


def test_url_in_place_of_a_connection(mariadb: MariaDB, database: str, tmp_path: Path) -> None:
    mariadb.execute("create table receipts as select 1 as id", database)
    url = f"mysql://pos:{quote(PASSWORD, safe='')}@127.0.0.1:{mariadb.port}/{database}?connect_timeout=5"
    assert rows(database_connector(tmp_path, None, url=url, table="receipts")) == [{"id": "1"}]


def test_server_without_a_connection_to_spare_is_tried_again(
    mariadb: MariaDB, database: str, pos: Pos
) -> None:
    mariadb.execute("create table receipts (id int)", database)
    mariadb.execute("alter user pos@'127.0.0.1' with max_user_connections 1")
    try:
        held = pymysql.connect(
            host="127.0.0.1", port=mariadb.port, user="pos", password=PASSWORD, database=database
        )
        with held, pytest.raises(SourceUnavailable, match="max_user_connections"):
            rows(pos(table="receipts"))
    finally:
        mariadb.execute("alter user pos@'127.0.0.1' with max_user_connections 0")


def test_any_other_dialect(tmp_path: Path) -> None:
    """SQLite stands for a database that Portrait does not know."""
    file = tmp_path / "pos.db"
    with sqlite3.connect(file) as connection:
        connection.execute("create table receipts (id integer, at text, amount numeric, raw blob)")
        connection.executemany(
            "insert into receipts values (?, ?, ?, x'00ff')",
            [(i, f"2026-03-0{i} 00:00:00", i / 4) for i in range(1, 5)],
        )
    source = database_connector(
        tmp_path,
        {"conn_type": "sqlite", "schema": str(file)},
        table="receipts",
        watermark={"column": "at", "overlap": 0},
        batch_rows=1,
    )
    mark = int(datetime(2026, 3, 1, 16, tzinfo=UTC).timestamp()) * 1_000_000
    assert rows(source, source.pending(date(2026, 3, 2), mark)[0]) == [
        {"id": "2", "at": "2026-03-02 00:00:00", "amount": "0.5", "raw": "00ff"}
    ]
    missing = database_connector(tmp_path, {"conn_type": "sqlite", "schema": str(file)}, table="nope")
    with pytest.raises(PortraitError, match="no such table: nope"):
        rows(missing)
