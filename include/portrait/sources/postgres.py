"""PostgreSQL as a source: binary COPY through ADBC, which hands over a few megabytes at a time."""

import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import adbc_driver_postgresql.dbapi as adbc
import pyarrow as pa

from portrait.errors import PortraitError
from portrait.sources.delivery import Window
from portrait.sources.relation import Relation, Trouble

BATCH_BYTES = 8 << 20
_TIMED = {"timestamp", "timestamptz", "date"}
_COUNTED = {"int2", "int4", "int8", "numeric"}
_PLAIN = {"int2", "int4", "int8", "float4", "float8", "bool", "text", "varchar", "bpchar"}
_LONGEST_TIMEOUT = 2**31 - 1

# SQLSTATE classes: https://www.postgresql.org/docs/current/errcodes-appendix.html
_TIMEOUTS = ("57014", "55P03")
_PASSING = ("08", "25P03", "40", "53", "57P", "58")
_LOGIN = ("28", "3D")
_NO_UTF8 = "22021"
# libpq gives no SQLSTATE for a connection that it could not make.
_LOGIN_WORDS = re.compile(
    "Failed to connect: .*(authentication|no password supplied|does not exist|pg_hba.conf|permission denied"
    "|not permitted to log in|invalid .*(option|value|port)|certificate|does not support SSL)",
    re.DOTALL,
)


def postgres_schema(relation: Relation) -> pa.Schema:
    """The columns of a relation as `postgres_batches` gives them; no row is read.

    Raises
    ------
    PortraitError : when the relation or its watermark is not there, or the login is refused.
    SourceUnavailable : when the server does not answer.
    """
    with _transaction(relation) as cursor:
        return pa.schema([_field(f) for f in _look(cursor, relation)])


def postgres_batches(relation: Relation, window: Window) -> Iterator[pa.RecordBatch]:
    """Stream the rows of a window.

    Numbers, texts, booleans, dates and times keep their types, an infinite time is null; everything else comes as
    text: numeric as written, bytea in hexadecimal, arrays and composites as JSON.

    Raises
    ------
    PortraitError : as for `postgres_schema`, and when a query fails on a row.
    SourceUnavailable : when the server does not answer, is lost, or the statement's time is over.
    """
    with _transaction(relation) as cursor:
        fields = _look(cursor, relation)
        schema = pa.schema([_field(f) for f in fields])
        cursor.execute(_select(relation, window, fields))
        try:
            # This reader of the driver's, unlike the one it hands out, keeps the SQLSTATE of an error.
            for batch in cursor._results.reader:
                plain = pa.RecordBatch.from_arrays(batch.columns, schema=schema)
                for start in range(0, plain.num_rows, relation.origin.batch_rows):
                    yield plain.slice(start, relation.origin.batch_rows)
        except GeneratorExit:
            # The server may be at work on rows that nobody will read.
            with suppress(adbc.Error):
                cursor.adbc_cancel()
            raise


@contextmanager
def _transaction(relation: Relation) -> Iterator[adbc.Cursor]:
    """A read-only transaction; it ends with the block, as its connection does."""
    timeout = min(relation.origin.statement_timeout_seconds * 1000, _LONGEST_TIMEOUT)
    options = {"adbc.postgresql.batch_size_hint_bytes": str(BATCH_BYTES)}
    try:
        with (
            adbc.connect(_conninfo(relation)) as connection,
            connection.cursor(adbc_stmt_kwargs=options) as cursor,
        ):
            # By set_config, not as start-up options: a pooler passes it on.
            cursor.execute(
                "select set_config('transaction_read_only', 'on', true), "
                f"set_config('statement_timeout', '{timeout}', true), "
                f"set_config('timezone', '{relation.zone.key}', true)"
            )
            yield cursor
    except (adbc.Error, OSError) as error:
        raise _failure(relation, error) from None


def _conninfo(relation: Relation) -> str:
    """libpq's keywords and values. The connection's extras are such keywords (sslmode, ...)."""
    connection = relation.connection
    address = {
        "host": connection.host,
        "port": connection.port,
        "user": connection.login,
        "password": connection.password,
        "dbname": connection.schema,
    }
    parameters = {
        "application_name": "portrait",
        "connect_timeout": 10,
        **{k: v for k, v in connection.extra.items() if k != "cursor"},  # Airflow's own
        **{k: v for k, v in address.items() if v},
        "client_encoding": "UTF8",
    }
    return " ".join(f"{k}={_quoted(str(v))}" for k, v in parameters.items())


def _quoted(value: str) -> str:
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"


def _look(cursor: adbc.Cursor, relation: Relation) -> list[pa.Field]:
    """The relation's columns as the server has them."""
    fields = list(cursor.adbc_execute_schema(f"select * from {relation.sql(_identifier)}"))
    relation.check(
        [f.name for f in fields],
        [f.name for f in fields if _type(f) in _TIMED],
        [f.name for f in fields if _type(f) in _COUNTED],
    )
    return fields


def _select(relation: Relation, window: Window, fields: list[pa.Field]) -> str:
    columns = ", ".join(f"{_expression(f)} as {_identifier(f.name)}" for f in fields)
    sql = f"select {columns} from {relation.sql(_identifier)}"
    watermark = relation.origin.watermark
    if watermark is None:
        return sql
    condition = relation.condition(
        window,
        _identifier(watermark.column),
        # For a column without time zone the offset counts for nothing, and the wall time is the source's.
        lambda moment: f"'{moment.astimezone(relation.zone).isoformat(sep=' ')}'",
    )
    return f"{sql} where {condition}"


def _expression(field: pa.Field) -> str:
    """A column in a type that Arrow and DuckDB both know."""
    name, kind = _identifier(field.name), _type(field)
    if kind in _PLAIN:
        return name
    if kind in _TIMED:
        # The driver makes of infinity some day thousands of years ago.
        return f"case when isfinite({name}) then {name} end"
    if kind == "bytea":
        return f"encode({name}, 'hex')"
    if kind == "money":
        return f"{name}::numeric::text"
    if pa.types.is_nested(field.type):
        return f"to_json({name})::text"
    return f"{name}::text"


def _field(field: pa.Field) -> pa.Field:
    kept = _type(field) in _PLAIN | _TIMED
    return pa.field(field.name, field.type if kept else pa.string())


def _type(field: pa.Field) -> str:
    return (field.metadata or {}).get(b"POSTGRESQL:type", b"").decode()


def _identifier(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _failure(relation: Relation, error: Any) -> PortraitError:
    """Which of the errors that a person can act on this is."""
    text, state = str(error), getattr(error, "sqlstate", None)
    primary = dict(getattr(error, "details", ())).get(b"PG_DIAG_MESSAGE_PRIMARY")
    if isinstance(primary, bytes):
        said = primary.decode("utf-8", "replace")
    else:
        named = re.search(r"(?:FATAL|ERROR):\s+(.+)", text)
        words = named.group(1) if named else re.split(r"\[libpq\] (?:Failed to connect: )?", text)[-1]
        said = words.strip().splitlines()[0]
    if state == _NO_UTF8:
        return PortraitError(
            f"{relation.key}: {relation.place} holds text that is no UTF-8 ({said}); read it by a query with "
            "convert_from(convert(convert_to(column, 'SQL_ASCII'), 'GB18030', 'UTF8'), 'SQL_ASCII')"
        )
    return relation.failure(_trouble(text, state), said)


def _trouble(text: str, state: str | None) -> Trouble:
    if state is None:
        return "login" if _LOGIN_WORDS.search(text) else "unreachable"
    if state in _TIMEOUTS:
        return "timeout"
    if state.startswith(_PASSING):
        return "unreachable"
    return "login" if state.startswith(_LOGIN) else "sql"
