"""PostgreSQL as a source, on real servers."""

import shutil
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import duckdb
import pytest
from portrait.errors import PortraitError, SourceUnavailable
from portrait.sources.database import DatabaseConnector
from portrait.sources.delivery import Delivery, Window
from portrait.warehouse.database import create_database
from portrait.warehouse.server import start_server, stop_server
from sqlalchemy import URL, create_engine, text
from sqlalchemy.pool import NullPool

from .databases import database_connector, no_bad_line, rows

Pos = Callable[..., DatabaseConnector]


class Database:
    """A POS's database, and what its owner does there."""

    def __init__(self, url: URL) -> None:
        self.url = url
        self.engine = create_engine(url, isolation_level="AUTOCOMMIT", poolclass=NullPool)

    def execute(self, *statements: str) -> list[Any]:
        """Run statements; the rows of the last."""
        with self.engine.connect() as connection:
            for statement in statements:
                result = connection.execute(text(statement))
            return list(result.fetchall()) if result.returns_rows else []

    def connection(self, **changed: Any) -> dict[str, Any]:
        return {
            "conn_type": "postgres",
            "host": self.url.query["host"],
            "login": self.url.username,
            "schema": self.url.database,
            **changed,
        }

    def sessions(self) -> list[Any]:
        """Portrait's sessions in this database."""
        return self.execute(
            "select state from pg_stat_activity "
            "where application_name = 'portrait' and datname = current_database()"
        )


def owned_database(server: URL) -> Iterator[Database]:
    name = f"pos_{uuid.uuid4().hex[:12]}"
    create_database(server, name)
    yield Database(server.set(database=name))
    Database(server).execute(f"drop database {name} with (force)")


@pytest.fixture
def database(server: URL) -> Iterator[Database]:
    yield from owned_database(server)


@pytest.fixture
def pos(database: Database, tmp_path: Path) -> Pos:
    def make(timezone: str = "Asia/Shanghai", **keys: Any) -> DatabaseConnector:
        return database_connector(tmp_path, database.connection(), timezone, **keys)

    return make


@pytest.fixture(scope="module")
def strict_server() -> Iterator[URL]:
    """A second server, which asks the login `pos` for a password."""
    root = Path(tempfile.mkdtemp(prefix="portrait-pos-"))
    url = start_server(root / "postgres", "fsync = off\nfull_page_writes = off\n")
    rules = root / "postgres" / "pg_hba.conf"
    rules.write_text("local all pos scram-sha-256\n" + rules.read_text())
    Database(url).execute(
        "create role pos login password 'p@ss:word/?#%+'' 1'",
        "create role hidden",
        "create database shop",
        "select pg_reload_conf()",
    )
    Database(url.set(database="shop")).execute(
        "create table public.receipts (id int)",
        "insert into receipts values (1)",
        "grant select on receipts to pos",
        "create table secrets (id int)",
    )
    yield url.set(database="shop")
    stop_server(root / "postgres")
    shutil.rmtree(root, ignore_errors=True)


def strict(url: URL, folder: Path, table: str = "public.receipts", **changed: Any) -> DatabaseConnector:
    login = {"login": "pos", "password": "p@ss:word/?#%+' 1"}
    return database_connector(folder, Database(url).connection(**{**login, **changed}), table=table)


def test_types(database: Database, pos: Pos) -> None:
    """What Arrow and DuckDB both know keeps its type; the rest is text that a contract can cast."""
    database.execute(
        "create type mood as enum ('calm', 'glad')",
        "create type place as (city text, zip int)",
        """
        create table things (
            i2 smallint, i4 int, i8 bigint, f8 double precision, yes boolean, s text, c char(3),
            n numeric(12, 2), tiny numeric, nan numeric, m money, d date, ts timestamp, tz timestamptz,
            never timestamptz, t time, j jsonb, u uuid, e mood, b bytea, a int[], p place, ip cidr,
            r int4range, v interval, o oid
        )
        """,
        """
        insert into things values (
            -2, 4, 9007199254740993, 0.1, true, '中文😀', 'ab', -12.50, 0.00001234, 'NaN', 3.5, '2026-03-01',
            '2026-03-01 10:00:00.123456', '2026-03-01 10:00:00+08', 'infinity', '24:00', '{"k": "中"}',
            '6F1F3B0E-0000-4000-8000-000000000001', 'glad', '\\x00ff', array[1, 2], ('北京', 1), '10.0.0.0/8',
            '[1,3)', '36 hours', 4294967295
        )
        """,
        "insert into things default values",
    )
    expected = {
        "i2": -2, "i4": 4, "i8": 9007199254740993, "f8": 0.1, "yes": True, "s": "中文😀", "c": "ab ",
        "n": "-12.50", "tiny": "0.00001234", "nan": "NaN", "m": "3.50", "d": date(2026, 3, 1),
        "ts": datetime.fromisoformat("2026-03-01T10:00:00.123456"), "tz": datetime(2026, 3, 1, 2, tzinfo=UTC),
        "never": None, "t": "24:00:00", "j": '{"k": "中"}', "u": "6f1f3b0e-0000-4000-8000-000000000001",
        "e": "glad", "b": "00ff", "a": "[1,2]", "p": '{"city":"北京","zip":1}', "ip": "10.0.0.0/8",
        "r": "[1,3)", "v": "36:00:00", "o": "4294967295",
    }  # fmt: skip
    source = pos(table="things")
    assert rows(source) == [expected, dict.fromkeys(expected)]
    (batch,) = source.batches(source.pending(None)[0], no_bad_line)
    assert len(duckdb.from_arrow(batch).fetchall()) == 2


def test_empty_table_has_columns_and_no_batches(database: Database, pos: Pos) -> None:
    database.execute("create table empty (id int, amount numeric)")
    source = pos(table="empty")
    delivery = source.pending(None)[0]
    assert {f.name: str(f.type) for f in source.schema(delivery)} == {"id": "int32", "amount": "string"}
    assert list(source.batches(delivery, no_bad_line)) == []


def test_names_are_quoted(database: Database, pos: Pos) -> None:
    database.execute(
        'create schema "Kasse"',
        'create table "Kasse"."Bons" ("Bon Nr" int, "say ""hi""" text, "select" timestamp)',
        """insert into "Kasse"."Bons" values (1, 'x', '2026-03-01 10:00')""",
    )
    source = pos(table="Kasse.Bons", watermark="select")
    assert rows(source, source.pending(date(2026, 3, 1))[0]) == [
        {"Bon Nr": 1, 'say "hi"': "x", "select": datetime.fromisoformat("2026-03-01T10:00")}
    ]


def test_query(pos: Pos) -> None:
    """It may end in a comment, hold what other drivers take for parameters, and counts days in the source's zone."""
    source = pos(
        query="with r as (select timestamptz '2026-03-01 17:00Z' as at)\n"
        "select at::date as day, '100%' as share, ':x' as colon from r -- the day in Shanghai;",
    )
    assert rows(source) == [{"day": date(2026, 3, 2), "share": "100%", "colon": ":x"}]


@pytest.mark.parametrize("kind", ["timestamp", "timestamptz"])
def test_window_includes_since_and_excludes_until(database: Database, pos: Pos, kind: str) -> None:
    """A column without time zone holds the source's wall time, whatever the server's zone is."""
    database.execute(
        f"create table receipts (id int, at {kind})",
        "set timezone = 'Asia/Shanghai'; insert into receipts values "
        "(1, '2026-02-28 23:59:59.999999'), (2, '2026-03-01'), (3, '2026-03-01'), (4, '2026-03-01 00:00:00.000001'), "
        "(5, '2026-03-01 23:59:59.999999'), (6, '2026-03-02'), (7, null)",
    )
    source = pos(table="receipts", watermark={"column": "at", "overlap": 0})
    midnight = int(datetime(2026, 2, 28, 16, tzinfo=UTC).timestamp()) * 1_000_000

    def ids(as_of: date | None, mark: int | None) -> list[int]:
        return sorted(r["id"] for r in rows(source, source.pending(as_of, mark)[0]))

    assert ids(date(2026, 3, 1), midnight) == [2, 3, 4, 5]
    assert ids(date(2026, 3, 1), midnight + 1) == [4, 5]
    assert ids(date(2026, 3, 1), None) == [1, 2, 3, 4, 5, 7]
    assert ids(None, midnight) == [2, 3, 4, 5, 6]
    assert ids(None, None) == [1, 2, 3, 4, 5, 6, 7]
    assert ids(date(2026, 3, 1), midnight + 10**12) == []


@pytest.mark.parametrize("kind", ["timestamp", "timestamptz"])
def test_window_where_summer_time_ends(database: Database, pos: Pos, kind: str) -> None:
    """On 2026-10-25 Berlin's clocks show 02:00 to 03:00 twice: a mark in the first pass must not hide the second."""
    database.execute(
        f"create table receipts (id int, at {kind})",
        "set timezone = 'Europe/Berlin'; insert into receipts values "
        "(1, '2026-10-25 01:40'), (2, '2026-10-25 02:10+01'), (3, '2026-10-25 02:55+02'), "
        "(4, '2026-10-25 23:59'), (5, '2026-10-26 00:00')",
    )
    source = pos("Europe/Berlin", table="receipts", watermark={"column": "at", "overlap": 0})
    first_pass = int(datetime(2026, 10, 25, 0, 50, tzinfo=UTC).timestamp()) * 1_000_000
    second_pass = first_pass + 3_600_000_000
    until = date(2026, 10, 25)
    assert sorted(r["id"] for r in rows(source, source.pending(until, first_pass)[0])) == [2, 3, 4]
    # 02:50 in the second pass.
    expected = {"timestamp": [3, 4], "timestamptz": [4]}[kind]
    assert sorted(r["id"] for r in rows(source, source.pending(until, second_pass)[0])) == expected


def test_window_by_number_and_by_date(database: Database, pos: Pos) -> None:
    database.execute(
        "create table receipts (id bigint, no numeric, day date)",
        "insert into receipts select i, i, date '2026-03-01' + i from generate_series(0, 4) i",
    )
    for column in ("id", "no"):
        source = pos(table="receipts", watermark={"column": column, "type": "integer", "overlap": 1})
        assert [r["id"] for r in rows(source, source.pending(date(2026, 3, 1), 3)[0])] == [2, 3, 4]
    source = pos(table="receipts", watermark="day")
    mark = int(datetime(2026, 3, 2, tzinfo=UTC).timestamp()) * 1_000_000
    assert [r["id"] for r in rows(source, source.pending(date(2026, 3, 3), mark)[0])] == [1, 2]


def test_rows_come_in_small_batches(database: Database, pos: Pos) -> None:
    database.execute(
        "create table receipts as select i as id, md5(i::text) as hash from generate_series(1, 300000) i"
    )
    source = pos(table="receipts", batch_rows=7_000)
    ids: set[int] = set()
    for batch in source.batches(source.pending(None)[0], no_bad_line):
        assert 0 < batch.num_rows <= 7_000
        ids.update(batch["id"].to_pylist())
    assert ids == set(range(1, 300_001))


def test_reading_locks_nobody_out(database: Database, pos: Pos) -> None:
    database.execute(
        "create table receipts as select i as id, 1 as n, repeat('x', 100) as fill from generate_series(1, 200000) i"
    )
    source = pos(table="receipts", batch_rows=1_000)
    batches = source.batches(source.pending(None)[0], no_bad_line)
    first = next(batches)
    locks = database.execute(
        "select distinct mode from pg_locks join pg_stat_activity using (pid) "
        "where application_name = 'portrait' and datname = current_database() and relation = 'receipts'::regclass"
    )
    assert [mode for (mode,) in locks] == ["AccessShareLock"]
    database.execute(
        "set lock_timeout = '2s'; update receipts set n = 2; insert into receipts values (0, 2, '')"
    )
    read = [*first["n"].to_pylist(), *(n for batch in batches for n in batch["n"].to_pylist())]
    assert (len(read), set(read)) == (200_000, {1}), "the snapshot of the start"
    database.execute("set lock_timeout = '2s'; alter table receipts add column more int")


@pytest.mark.parametrize("end", ["closed", "dropped", "failed", "read"])
def test_no_session_stays_open(database: Database, pos: Pos, end: str) -> None:
    failing = "1 / (i - 150000)" if end == "failed" else "1"
    source = pos(
        query=f"select i, {failing} as n, repeat('x', 100) as fill from generate_series(1, 200000) i",
        batch_rows=1_000,
    )
    batches = source.batches(source.pending(None)[0], no_bad_line)
    next(batches)
    assert [state for (state,) in database.sessions()] == ["active"]
    if end == "closed":
        batches.close()  # type: ignore[attr-defined]
    elif end == "dropped":
        del batches
    elif end == "failed":
        with pytest.raises(PortraitError, match="division by zero"):
            list(batches)
    else:
        list(batches)
    assert _eventually_none(database.sessions)


def _eventually_none(look: Callable[[], list[Any]]) -> bool:
    """The server notices a moment later."""
    for _ in range(50):
        if not look():
            return True
        time.sleep(0.02)
    return False


def test_writing_is_refused(database: Database, pos: Pos) -> None:
    database.execute(
        "create table receipts (id int)",
        "create function write() returns int language sql as 'insert into receipts values (1) returning id'",
    )
    with pytest.raises(PortraitError, match="cannot execute INSERT in a read-only transaction"):
        rows(pos(query="select write() as id"))
    assert database.execute("select * from receipts") == []


def test_statement_timeout_is_tried_again(database: Database, pos: Pos) -> None:
    source = pos(
        query="select i, pg_sleep(0.05)::text as s from generate_series(1, 200) i",
        statement_timeout_seconds=1,
    )
    with pytest.raises(SourceUnavailable) as unavailable:
        rows(source)
    assert str(unavailable.value) == (
        f"sources[pos].database: pos_db ({place(database.url)}) ran out of time "
        "(canceling statement due to statement timeout); "
        "raise statement_timeout_seconds (now 1) or read less at a time with a watermark"
    )


def test_lost_connection_is_tried_again(database: Database, pos: Pos) -> None:
    source = pos(
        query="select i, repeat('x', 100) as fill from generate_series(1, 1000000) i", batch_rows=1_000
    )
    batches = source.batches(source.pending(None)[0], no_bad_line)
    next(batches)
    database.execute(
        "select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'portrait' and datname = current_database()"
    )
    with pytest.raises(SourceUnavailable, match="does not answer"):
        list(batches)


def place(url: URL) -> str:
    return f"{url.query['host']}/{url.database}"


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        (
            {"table": "public.receipt"},
            '.table: pos_db ({place}) says: relation "public.receipt" does not exist; '
            "correct the table, or let the login read it",
        ),
        (
            {"query": "select nope from receipts"},
            '.query: pos_db ({place}) says: column "nope" does not exist; '
            "correct the query, or let the login read it",
        ),
        (
            {"table": "receipts", "watermark": "updatd_at"},
            ".watermark.column: pos_db:receipts has no column 'updatd_at'; did you mean 'updated_at'?",
        ),
        (
            {"table": "receipts", "watermark": "zzz"},
            ".watermark.column: pos_db:receipts has no column 'zzz'; it has id, updated_at, note",
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
        (
            {"query": 'select id, id as "ID" from receipts'},
            ": pos_db:query has column 'id' twice; read it by a query that gives one another name",
        ),
    ],
)
def test_mistakes_of_the_owner(database: Database, pos: Pos, keys: dict[str, Any], message: str) -> None:
    database.execute("create table receipts (id int, updated_at timestamptz, note text)")
    source = pos(**keys)
    delivery = source.pending(None)[0]
    for read in (lambda: source.schema(delivery), lambda: list(source.batches(delivery, no_bad_line))):
        with pytest.raises(PortraitError) as refused:
            read()
        assert str(refused.value) == "sources[pos].database" + message.format(place=place(database.url))
        assert not isinstance(refused.value, SourceUnavailable)


@pytest.fixture
def encoded(server: URL) -> Iterator[Callable[[str], Database]]:
    """Create a database in an encoding other than UTF-8."""
    names = []

    def make(encoding: str) -> Database:
        names.append(f"pos_{uuid.uuid4().hex[:12]}")
        Database(server).execute(
            f"create database {names[-1]} template template0 encoding '{encoding}' lc_collate 'C' lc_ctype 'C'"
        )
        return Database(server.set(database=names[-1]))

    yield make
    for name in names:
        Database(server).execute(f"drop database {name} with (force)")


def test_text_in_another_encoding(encoded: Callable[[str], Database], tmp_path: Path) -> None:
    database = encoded("LATIN1")
    database.execute("create table names as select chr(233) as name")
    assert rows(database_connector(tmp_path, database.connection(), table="names")) == [{"name": "é"}]


def test_text_without_encoding(encoded: Callable[[str], Database], tmp_path: Path) -> None:
    """The error names a conversion, and that conversion works."""
    database = encoded("SQL_ASCII")
    database.execute(
        "create table names (name text)",
        "insert into names select convert_from('\\xd6d0', 'SQL_ASCII')",  # 中 in GB18030
    )
    with pytest.raises(PortraitError) as refused:
        rows(database_connector(tmp_path, database.connection(), table="names"))
    conversion = "convert_from(convert(convert_to({}, 'SQL_ASCII'), 'GB18030', 'UTF8'), 'SQL_ASCII')"
    assert str(refused.value) == (
        f"sources[pos].database: pos_db ({place(database.url)}) holds text that is no UTF-8 (invalid byte sequence "
        f'for encoding "UTF8": 0xd6 0xd0); read it by a query with {conversion.format("column")}'
    )
    query = f"select {conversion.format('name')} as name from names"
    assert rows(database_connector(tmp_path, database.connection(), query=query)) == [{"name": "中"}]


def test_two_servers(strict_server: URL, database: Database, pos: Pos, tmp_path: Path) -> None:
    """The POS's server and the warehouse's are read in turns; a password may hold any character."""
    database.execute("create table receipts as select 2 as id")
    other = tmp_path / "other"
    other.mkdir()
    first, second = strict(strict_server, other), pos(table="receipts")
    one = first.batches(Delivery("", window=Window()), no_bad_line)
    two = second.batches(Delivery("", window=Window()), no_bad_line)
    assert [next(one).to_pylist(), next(two).to_pylist()] == [[{"id": 1}], [{"id": 2}]]


def test_logins_are_refused_without_the_password(strict_server: URL, tmp_path: Path) -> None:
    host = strict_server.query["host"]
    for changed, database, said in (
        ({"password": "Wr0ng"}, "shop", 'password authentication failed for user "pos"'),
        (
            {"password": ""},
            "shop",
            f'connection to server on socket "{host}/.s.PGSQL.5432" failed: fe_sendauth: no password supplied',
        ),
        ({"schema": "nope"}, "nope", 'database "nope" does not exist'),
        ({"login": "nobody"}, "shop", 'role "nobody" does not exist'),
    ):
        source = strict(strict_server, tmp_path)
        connection = {
            **Database(strict_server).connection(login="pos", password="p@ss:word/?#%+' 1"),
            **changed,
        }
        source = database_connector(tmp_path, connection, table="public.receipts")
        with pytest.raises(PortraitError) as refused:
            source.schema(source.pending(None)[0])
        assert not isinstance(refused.value, SourceUnavailable)
        assert str(refused.value) == (
            f"sources[pos].database: pos_db ({host}/{database}) refuses the connection ({said}); "
            "correct its login, password, database and extras"
        )


def test_table_that_the_login_may_not_read(strict_server: URL, tmp_path: Path) -> None:
    source = strict(strict_server, tmp_path, "secrets")
    with pytest.raises(PortraitError) as refused:
        rows(source)
    assert str(refused.value) == (
        f"sources[pos].database.table: pos_db ({place(strict_server)}) says: permission denied for table secrets; "
        "correct the table, or let the login read it"
    )
