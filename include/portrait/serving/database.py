"""The API's connections: one role that can only read, prepared statements, no round trip more than needed."""

from functools import cache
from pathlib import Path
from typing import Any

import asyncpg

from portrait.config import Settings
from portrait.errors import PortraitError
from portrait.warehouse import Warehouse

ROLE = "portrait_api"
_SQL = Path(__file__).with_name("sql")
_OVERLOADED = (TimeoutError, asyncpg.QueryCanceledError, asyncpg.TooManyConnectionsError)
_AWAY = (OSError, asyncpg.PostgresConnectionError, asyncpg.InterfaceError, asyncpg.CannotConnectNowError)


class DatabaseBusy(Exception):
    """The database did not answer in time, or is not there: the caller may try again."""


@cache
def statement(name: str) -> str:
    """The SQL of `sql/<name>.sql`."""
    return (_SQL / f"{name}.sql").read_text(encoding="utf-8")


class Database:
    """A pool of read-only connections of one worker."""

    def __init__(self, pool: asyncpg.Pool, patience_s: float) -> None:
        self._pool, self._patience = pool, patience_s

    @classmethod
    async def connect(cls, warehouse: Warehouse, settings: Settings) -> "Database":
        """Open the pool.

        Raises
        ------
        PortraitError : when the login may not act as `portrait_api`, with the statement that allows it.
        """
        timeout = settings.serving.statement_timeout_ms
        try:
            pool = await asyncpg.create_pool(
                warehouse.libpq_uri,
                min_size=min(2, settings.serving.connections),
                max_size=settings.serving.connections,
                # Every statement stands alone: there is no session state to reset.
                reset=_nothing_to_reset,
                max_inactive_connection_lifetime=0,
                max_cached_statement_lifetime=0,
                server_settings={
                    "role": ROLE,
                    "application_name": "portrait-api",
                    "default_transaction_read_only": "on",
                    "statement_timeout": str(timeout),
                    "timezone": "UTC",
                    "jit": "off",
                    # Which night is shown is known only when a statement runs; planning anew would not know more.
                    "plan_cache_mode": "force_generic_plan",
                },
            )
        except (asyncpg.InvalidParameterValueError, asyncpg.InsufficientPrivilegeError) as error:
            raise PortraitError(
                f"the login of the database may not act as {ROLE} ({error}); as the server's owner: "
                f"create role {ROLE} nologin; grant {ROLE} to <login>; and run `portrait db migrate` again"
            ) from None
        except (OSError, asyncpg.PostgresError) as error:
            raise PortraitError(f"cannot reach the database: {error}; is it running?") from None
        return cls(pool, timeout / 1000)

    async def rows(self, sql: str, *arguments: Any) -> list[asyncpg.Record]:
        """The rows of one statement.

        Raises
        ------
        DatabaseBusy : when it did not answer within the statement timeout, or is away.
        """
        try:
            async with self._pool.acquire(timeout=self._patience) as connection:
                found: list[asyncpg.Record] = await connection.fetch(sql, *arguments)
                return found
        except _OVERLOADED as error:
            raise DatabaseBusy("the database did not answer in time; ask for less, or again later") from error
        except _AWAY as error:
            raise DatabaseBusy("the database is not there; try again later") from error

    async def texts(self, sql: str, *arguments: Any) -> list[str]:
        """The first column of each row, where that is text."""
        return [row[0] for row in await self.rows(sql, *arguments)]

    async def close(self) -> None:
        self._pool.terminate()


async def _nothing_to_reset(connection: Any) -> None:
    return None
