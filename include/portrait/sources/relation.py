"""The table or query that a source reads: where it is, which of its rows, and what may go wrong there."""

import difflib
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal
from zoneinfo import ZoneInfo

from portrait.config import Settings, SourceSpec
from portrait.config.origins import DatabaseOrigin
from portrait.errors import PortraitError, SourceUnavailable
from portrait.sources.connection import Connection, find_connection
from portrait.sources.delivery import Window

Trouble = Literal["unreachable", "timeout", "login", "sql"]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Relation:
    """What a source's `database` entry names.

    `zone` is the source's time zone: a column without one holds its wall time.
    """

    source: str
    origin: DatabaseOrigin
    connection: Connection
    zone: ZoneInfo

    @property
    def key(self) -> str:
        """The entry of `sources.yaml`."""
        return f"sources[{self.source}].database"

    @property
    def name(self) -> str:
        """`pos_db:public.receipts`: the connection and the table, or `query`; no login."""
        return f"{self.origin.connection or self._address}:{self.origin.table or 'query'}"

    @property
    def place(self) -> str:
        """The database, for messages."""
        if self.origin.connection:
            return f"{self.origin.connection} ({self._address})"
        return self._address

    @property
    def _address(self) -> str:
        host = self.connection.address or str(self.connection.extra.get("host", "localhost"))
        return f"{host}/{self.connection.schema}"

    def sql(self, quote: Callable[[str], str]) -> str:
        """The relation as it stands after ``from``."""
        if self.origin.table is not None:
            return ".".join(quote(part) for part in self.origin.table.split("."))
        # Its last line may be a comment.
        return f"(\n{self.origin.query}\n) portrait"

    def condition(self, window: Window, column: str, literal: Callable[[datetime], str]) -> str:
        """The rows of a window, as it stands after ``where``.

        A row without a watermark belongs to the first reading only, which has no `since`.

        Parameters
        ----------
        column : the watermark, quoted.
        literal : writes an instant for a comparison with it.
        """
        since, until = None, None
        if window.since is not None:
            timed = self.origin.watermark is not None and self.origin.watermark.type == "timestamp"
            since = literal(self._since(window.since)) if timed else str(window.since)
        if window.until is not None:
            until = f"{column} < {literal(window.until)}"
        if since is None:
            return f"({until} or {column} is null)" if until else "1 = 1"
        return f"{column} >= {since}" + (f" and {until}" if until else "")

    def _since(self, microseconds: int) -> datetime:
        """The instant, an hour earlier where summer time's end is about to show its wall time again."""
        local = (_EPOCH + timedelta(microseconds=microseconds)).astimezone(self.zone)
        first, second = local.utcoffset(), local.replace(fold=1).utcoffset()
        if first is None or second is None or first <= second:
            return local
        return (local.astimezone(UTC) - (first - second)).astimezone(self.zone)

    def check(self, columns: Sequence[str], timed: Sequence[str], counted: Sequence[str]) -> None:
        """Refuse a relation with twin columns, or without a watermark that fits its declared type.

        Parameters
        ----------
        columns : all of them; `timed` those that hold a date or time, `counted` those that hold a number.
        """
        # SQL knows no case: downstream `Name` and `name` could not be told apart.
        twins = [n for n, count in Counter(c.lower() for c in columns).items() if count > 1]
        if twins:
            raise PortraitError(
                f"{self.key}: {self.name} has column '{twins[0]}' twice; "
                "read it by a query that gives one another name"
            )
        watermark = self.origin.watermark
        if watermark is None:
            return
        if watermark.column not in columns:
            near = difflib.get_close_matches(watermark.column, columns, n=1)
            hint = f"did you mean '{near[0]}'?" if near else "it has " + ", ".join(columns)
            raise PortraitError(
                f"{self.key}.watermark.column: {self.name} has no column '{watermark.column}'; {hint}"
            )
        if watermark.column not in (timed if watermark.type == "timestamp" else counted):
            raise PortraitError(
                f"{self.key}.watermark: column '{watermark.column}' of {self.name} holds no {watermark.type}; "
                "name one that does, or correct the watermark's type"
            )

    def failure(self, trouble: Trouble, message: str) -> PortraitError:
        """The error for what the database or its driver said.

        `unreachable` and `timeout` may pass and are SourceUnavailable; the others need the owner.
        """
        said = " ".join(message.split())[:300].rstrip(".")
        if self.connection.password:
            said = said.replace(self.connection.password, "***")
        if trouble == "unreachable":
            return SourceUnavailable(
                f"{self.key}: {self.place} does not answer ({said}); "
                "check host, port and that the server runs and has a connection to spare"
            )
        if trouble == "timeout":
            return SourceUnavailable(
                f"{self.key}: {self.place} ran out of time ({said}); raise statement_timeout_seconds "
                f"(now {self.origin.statement_timeout_seconds}) or read less at a time with a watermark"
            )
        if trouble == "login":
            return PortraitError(
                f"{self.key}: {self.place} refuses the connection ({said}); "
                "correct its login, password, database and extras"
            )
        kind = "table" if self.origin.table is not None else "query"
        return PortraitError(
            f"{self.key}.{kind}: {self.place} says: {said}; correct the {kind}, or let the login read it"
        )


def find_relation(settings: Settings, source: SourceSpec) -> Relation:
    """What a source's `database` entry names.

    Raises
    ------
    PortraitError : when its connection is not known or cannot be read.
    """
    origin = source.database
    if origin is None:
        raise PortraitError(f"sources[{source.name}]: has no database; add one")
    connection = find_connection(settings, origin, source.name, "database")
    return Relation(source.name, origin, connection, ZoneInfo(settings.sources.timezone_of(source)))
