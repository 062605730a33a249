"""One handle on the warehouse database, for SQL (SQLAlchemy) and for Arrow (ADBC)."""

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from sqlalchemy import URL, Connection, Engine, create_engine, make_url, text
from sqlalchemy.dialects.postgresql.base import PGDialect
from sqlalchemy.exc import OperationalError
from sqlalchemy.pool import NullPool

from portrait.config import Settings
from portrait.errors import PortraitError

if TYPE_CHECKING:
    import adbc_driver_postgresql.dbapi as adbc
    import pyarrow as pa

log = logging.getLogger(__name__)


class Transaction:
    """One transaction for SQL and COPY together (`Warehouse.transaction`). Parameters are written ``:name``."""

    def __init__(self, cursor: Any) -> None:
        self._cursor = cursor

    def execute(self, sql: str, **parameters: Any) -> None:
        statement, names = _numbered(sql)
        self._cursor.execute(statement, [parameters[n] for n in names] or None)

    def rows(self, sql: str, **parameters: Any) -> list[dict[str, Any]]:
        self.execute(sql, **parameters)
        names = [d[0] for d in self._cursor.description]
        return [dict(zip(names, row, strict=True)) for row in self._cursor.fetchall()]

    def copy_in(self, table: str, data: "pa.Table | pa.RecordBatchReader", schema: str | None = None) -> int:
        """Append Arrow data to an existing table, a temporary one when `schema` is None; types as `Warehouse.copy_in`."""
        place = {"db_schema_name": schema} if schema else {"temporary": True}
        return int(self._cursor.adbc_ingest(table, data, mode="append", **place))


@lru_cache(maxsize=128)
def _numbered(sql: str) -> tuple[str, list[str]]:
    """`:name` parameters as the driver wants them: ``$1``."""
    compiled = text(sql).compile(dialect=PGDialect(paramstyle="numeric_dollar"))
    return str(compiled), list(compiled.positiontup or [])


@dataclass(frozen=True)
class Warehouse:
    """The warehouse database.

    `url` is a SQLAlchemy URL. Sessions run in UTC, so that a timestamp prints the same everywhere, and with the
    privileges of `role`: those of the login without one.
    """

    url: URL
    role: str | None = None

    @property
    def engine(self) -> Engine:
        """Its connections are used again: whoever leaves a session's lock or setting behind detaches his."""
        return _engine(self)

    @property
    def libpq_uri(self) -> str:
        """For psql, COPY and Arrow; it takes the role as well."""
        url = self.url.set(drivername="postgresql")
        if self.role:
            # Without blanks, which libpq wants as %20 and SQLAlchemy writes as +.
            url = url.update_query_dict({"options": f"-crole={self.role}"})
        return url.render_as_string(hide_password=False)

    @contextmanager
    def begin(self) -> Iterator[Connection]:
        """A transaction that commits on leaving the block and rolls back on an exception."""
        with self.engine.begin() as connection:
            yield connection

    @contextmanager
    def arrow(self) -> "Iterator[tuple[adbc.Connection, adbc.Cursor]]":
        """A connection of its own for Arrow, in a transaction; leaving without a commit rolls back."""
        with _arrow(self).adbc_clone() as connection, connection.cursor() as cursor:
            yield connection, cursor

    @contextmanager
    def transaction(self) -> Iterator[Transaction]:
        """A transaction in which rows are copied and worked on: all of it is kept, or nothing."""
        with self.arrow() as (connection, cursor):
            cursor.execute("set local timezone = 'UTC'")
            yield Transaction(cursor)
            connection.commit()

    def rows(self, sql: str, **parameters: Any) -> list[dict[str, Any]]:
        """The rows of a small query, as dictionaries."""
        with self.begin() as connection:
            return [dict(r) for r in connection.execute(text(sql), parameters).mappings()]

    def scalar(self, sql: str, **parameters: Any) -> Any:
        """The first column of the first row, or None."""
        with self.begin() as connection:
            return connection.execute(text(sql), parameters).scalar()

    def execute(self, sql: str, **parameters: Any) -> None:
        with self.begin() as connection:
            connection.execute(text(sql), parameters)

    @contextmanager
    def arrow_reader(self, sql: str) -> "Iterator[pa.RecordBatchReader]":
        """Stream the rows of `sql` as Arrow record batches (COPY binary under the hood)."""
        with self.arrow() as (_, cursor):
            cursor.execute("set timezone = 'UTC'")
            cursor.execute(sql)
            yield cursor.fetch_record_batch()

    def read_arrow(self, sql: str) -> "pa.Table":
        """All rows of `sql` as one Arrow table."""
        with self.arrow_reader(sql) as reader:
            return reader.read_all()

    def copy_in(self, schema: str, table: str, data: "pa.Table | pa.RecordBatchReader") -> int:
        """Append Arrow data to an existing table by binary COPY, in one transaction.

        Arrow types must be those of the table's columns (int32 for integer, decimal128 for numeric, ...).
        Returns the number of rows written.
        """
        with self.arrow() as (connection, cursor):
            written = cursor.adbc_ingest(table, data, mode="append", db_schema_name=schema)
            connection.commit()
        return int(written)


@lru_cache(maxsize=8)
def _engine(warehouse: Warehouse) -> Engine:
    """Keeps up to three connections open, for all who open the same warehouse: to connect takes ten times as long as a small query."""
    role = f" -c role={warehouse.role}" if warehouse.role else ""
    return create_engine(
        warehouse.url,
        pool_size=3,
        max_overflow=-1,
        pool_pre_ping=True,
        connect_args={"options": f"-c timezone=UTC{role}", "application_name": "portrait"},
    )


@lru_cache(maxsize=8)
def _arrow(warehouse: Warehouse) -> "adbc.Connection":
    """To be cloned: the driver reads the database's types when the first is opened, which takes 45 ms, and a clone knows them."""
    import adbc_driver_postgresql.dbapi as adbc

    return adbc.connect(warehouse.libpq_uri, autocommit=True)


# Airflow forks its workers: a connection must not be used on both sides of a fork.
os.register_at_fork(after_in_child=_engine.cache_clear)
os.register_at_fork(after_in_child=_arrow.cache_clear)


def open_warehouse(settings: Settings, create: bool = False) -> Warehouse:
    """The warehouse of these settings; the embedded server is started when none is configured.

    Parameters
    ----------
    create : also create the database (embedded server only) and bring its schema up to date.

    Raises
    ------
    PortraitError : when the server cannot be reached, or nobody migrated the database yet.
    """
    from portrait.warehouse.migrate import migrate
    from portrait.warehouse.server import start_server

    if settings.database_url:
        try:
            url = make_url(settings.database_url)
        except Exception:
            raise PortraitError(
                "PORTRAIT_DATABASE_URL is not a database URL; for example postgresql://user:password@host/portrait"
            ) from None
        url = url.set(drivername="postgresql+psycopg2")
    else:
        base = start_server(settings.server_dir)
        url = base.set(database=settings.database_name)
        if create:
            create_database(base, settings.database_name)
    warehouse = Warehouse(url, None if create else settings.database_role)
    try:
        migrated = warehouse.scalar("select to_regclass('public.schema_version') is not null")
    except OperationalError as error:
        if warehouse.role and f'"{warehouse.role}"' in str(error.orig):
            raise PortraitError(
                f"this stage acts as {warehouse.role}, which the login of the database may not; as the server's owner: "
                f"create role {warehouse.role} nologin; grant {warehouse.role} to {url.username or '<login>'}; "
                "and run `portrait db migrate` again"
            ) from None
        raise PortraitError(
            f"cannot reach the database {url.render_as_string()}: {str(error.orig).strip().splitlines()[0]}; "
            "is it running, and did `portrait db migrate` create it?"
        ) from None
    if create:
        migrate(warehouse)
    elif not migrated:
        raise PortraitError(f"the database {url.render_as_string()} is empty; run `portrait db migrate`")
    return warehouse


def create_database(server: URL, name: str) -> None:
    """Create a database on the server unless it is there."""
    engine = create_engine(server, isolation_level="AUTOCOMMIT", poolclass=NullPool)
    with engine.connect() as connection:
        # Until the connection closes: two starters must not both find it missing.
        connection.execute(text("select pg_advisory_lock(hashtext(:n))"), {"n": f"create database {name}"})
        if not connection.execute(text("select 1 from pg_database where datname = :n"), {"n": name}).scalar():
            connection.execute(text(f'create database "{name}"'))
