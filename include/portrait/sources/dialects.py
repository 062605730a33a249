"""MySQL, MariaDB and any database with a SQLAlchemy dialect as a source: every column comes as text.

The contract, not the database, decides the types.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

import pyarrow as pa
import sqlalchemy as sa
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError
from sqlalchemy.pool import NullPool

from portrait.errors import PortraitError
from portrait.sources import mysql
from portrait.sources.delivery import Window
from portrait.sources.relation import Relation, Trouble

_AIRFLOWS_OWN = ("cursor", "client")


def dialect_schema(relation: Relation) -> pa.Schema:
    """The columns of a relation, all text; no row is read.

    Raises
    ------
    PortraitError : when the relation, its watermark or the driver is not there, or the login is refused.
    SourceUnavailable : when the server does not answer.
    """
    with _transaction(relation) as connection:
        return _look(connection, relation).schema


def dialect_batches(relation: Relation, window: Window) -> Iterator[pa.RecordBatch]:
    """Stream the rows of a window.

    Dates and times are ISO 8601 (a MySQL TIMESTAMP with its offset, everything else as stored), bytes hexadecimal,
    documents JSON.

    Raises
    ------
    PortraitError : as for `dialect_schema`, and when a query fails on a row.
    SourceUnavailable : when the server does not answer, is lost, or the statement's time is over.
    """
    with _transaction(relation) as connection:
        look = _look(connection, relation)
        result = _stream(connection, _select(connection, relation, window, look))
        try:
            for rows in result.partitions(relation.origin.batch_rows):
                columns = [pa.array(map(_text, values), pa.string()) for values in zip(*rows, strict=True)]
                yield pa.RecordBatch.from_arrays(columns, schema=look.schema)
        except BaseException:
            _abandon(connection, result)
            raise


@dataclass(frozen=True)
class _Look:
    """A relation's columns, and what the driver calls the type of each."""

    schema: pa.Schema
    types: dict[str, Any]


@contextmanager
def _transaction(relation: Relation) -> Iterator[sa.Connection]:
    """A read-only transaction (where the dialect has one); it ends with the block, as its connection does."""
    connected = False
    try:
        with _engine(relation).connect() as connection:
            connected = True
            connection = connection.execution_options(no_parameters=True)
            if _is_mysql(relation):
                _begin_mysql(connection, relation)
            yield connection
    except DBAPIError as error:
        raise _failure(relation, error, connected) from None
    except TypeError as error:
        if connected:
            raise
        raise relation.failure("login", str(error)) from None  # an extra that the driver does not know


def _engine(relation: Relation) -> sa.Engine:
    connection = relation.connection
    kind = connection.conn_type
    arguments: dict[str, Any] = {}
    if _is_mysql(relation):
        kind, arguments = "mysql+pymysql", mysql.connect_arguments(relation)
    extra = {k: v for k, v in connection.extra.items() if k not in _AIRFLOWS_OWN}
    arguments |= {k: v for k, v in extra.items() if isinstance(v, dict)}  # ssl: {ca: ...}
    try:
        url = sa.URL.create(
            kind,
            connection.login or None,
            connection.password or None,
            connection.host or None,
            connection.port,
            connection.schema or None,
            {k: str(v) for k, v in extra.items() if not isinstance(v, dict)},
        )
        return sa.create_engine(url, poolclass=NullPool, connect_args=arguments)
    except (NoSuchModuleError, ArgumentError, ImportError) as error:
        raise PortraitError(
            f"{relation.key}: no driver for '{connection.conn_type}' ({str(error).splitlines()[0]}); use postgres, "
            "mysql or mariadb, or add the package of its SQLAlchemy dialect to requirements.txt"
        ) from None


def _begin_mysql(connection: sa.Connection, relation: Relation) -> None:
    for command in mysql.session_commands(relation, bool(getattr(connection.dialect, "is_mariadb", False))):
        try:
            connection.exec_driver_sql(command)
        except DBAPIError as error:
            if _code(error) != mysql.UNKNOWN_VARIABLE:  # an old server without this timeout
                raise


def _look(connection: sa.Connection, relation: Relation) -> _Look:
    """The relation's columns as the server has them."""
    result = connection.exec_driver_sql(f"select * from {_from(connection, relation)} where 1 = 0")
    types = {name: column[1] for name, column in zip(result.keys(), result.cursor.description, strict=True)}
    names = list(result.keys())
    result.close()
    if _is_mysql(relation):
        timed = [n for n in names if types[n] in mysql.TIMED]
        counted = [n for n in names if types[n] in mysql.COUNTED]
    else:
        timed = counted = names
    relation.check(names, timed, counted)
    return _Look(pa.schema([(name, pa.string()) for name in names]), types)


def _select(connection: sa.Connection, relation: Relation, window: Window, look: _Look) -> str:
    sql = f"select * from {_from(connection, relation)}"
    watermark = relation.origin.watermark
    if watermark is None:
        return sql
    dialect = connection.dialect
    instant = _is_mysql(relation) and look.types[watermark.column] == mysql.TIMESTAMP
    zone = mysql.session_zone(relation) if instant else relation.zone

    def literal(moment: datetime) -> str:
        wall = moment.astimezone(zone).replace(tzinfo=None)
        if not _is_mysql(relation):
            # A fraction is not everywhere understood; a second more is read.
            wall = wall.replace(microsecond=0)
        bound = sa.literal(wall, sa.DateTime())
        written = str(bound.compile(dialect=dialect, compile_kwargs={"literal_binds": True}))
        return written.replace(".000000", "")  # SQLite compares text

    column = dialect.identifier_preparer.quote(watermark.column)
    return f"{sql} where {relation.condition(window, column, literal)}"


def _is_mysql(relation: Relation) -> bool:
    return relation.connection.conn_type.split("+")[0] in mysql.NAMES


def _from(connection: sa.Connection, relation: Relation) -> str:
    return relation.sql(connection.dialect.identifier_preparer.quote)


def _stream(connection: sa.Connection, sql: str) -> sa.CursorResult[Any]:
    """Rows as the server sends them, not all of them at once."""
    return connection.execution_options(stream_results=True).exec_driver_sql(sql)


def _abandon(connection: sa.Connection, result: sa.CursorResult[Any]) -> None:
    """Cut the connection: what is not read yet may be millions of rows."""
    unread: Any = getattr(result.cursor, "_result", None)
    if hasattr(unread, "unbuffered_active"):
        unread.unbuffered_active = False  # PyMySQL would read them all before it closes
    connection.invalidate()


def _text(value: Any) -> str | None:
    if value is None or type(value) is str:
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Decimal):
        return format(value, "f")
    if isinstance(value, datetime):
        return value.isoformat(sep=" ")
    if isinstance(value, date | time):
        return value.isoformat()
    if isinstance(value, timedelta):
        sign, seconds = "-" if value < timedelta(0) else "", abs(value) // timedelta(seconds=1)
        return f"{sign}{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}"
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(value).hex()
    if isinstance(value, dict | list):
        return json.dumps(value, ensure_ascii=False, default=_text)
    return str(value)


def _failure(relation: Relation, error: DBAPIError, connected: bool) -> PortraitError:
    code = _code(error)
    arguments = error.orig.args if error.orig is not None else ()
    said = str(arguments[1]) if code is not None and len(arguments) > 1 else str(error.orig)
    trouble: Trouble = "unreachable" if error.connection_invalidated or not connected else "sql"
    if code is not None and _is_mysql(relation):
        trouble = mysql.TROUBLE.get(code, trouble)
    return relation.failure(trouble, said)


def _code(error: DBAPIError) -> int | None:
    """The driver's number of an error, where it has one."""
    arguments = error.orig.args if error.orig is not None else ()
    return arguments[0] if arguments and isinstance(arguments[0], int) else None
