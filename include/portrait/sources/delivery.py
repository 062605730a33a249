"""What a source hands over in one piece, and what every kind of source can do."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from typing import Protocol
from zoneinfo import ZoneInfo

import pyarrow as pa

from portrait.config import Settings, SourceSpec

BadLine = Callable[[int, str, int, int], None]
"""Called with row number, text, columns expected and columns found for a line that cannot be a row."""


@dataclass(frozen=True)
class Window:
    """The part of a database or API that a pull reads.

    Attributes
    ----------
    since : the watermark from which on rows are read, inclusive: microseconds since 1970 in UTC for a time, else the
        number itself; None for everything.
    until : the end of the business day, exclusive; None where nothing limits it.
    """

    since: int | None = None
    until: datetime | None = None


@dataclass(frozen=True)
class Delivery:
    """A file, or what a database or API has for a window.

    Attributes
    ----------
    name : absolute path or URL, or the table or address; never with a password.
    delivered_for : the business date it was delivered for, None where nothing says it.
    fingerprint : changes when the content does (a file's size and time of writing at the first look; what is added
        while it is read counts as new); empty for windows, which are read each time.
    size : bytes, 0 where unknown.
    loaded_through : the business date for which it was read before: only later rows are of interest.
    latest : no honest row is dated later (the day after a file was written); None where nothing says it.
    window : for databases and APIs.
    """

    name: str
    delivered_for: date | None = None
    fingerprint: str = ""
    size: int = 0
    loaded_through: date | None = None
    latest: date | None = None
    window: Window | None = None

    @property
    def numbered(self) -> bool:
        """Whether a row's number tells it from the others at the next reading too."""
        return self.window is None


class Connector(Protocol):
    """One source's way to its rows. Nothing is kept open between calls."""

    def pending(self, as_of: date | None, mark: int | None = None) -> list[Delivery]:
        """What the source has up to a business date (all when None), oldest first.

        `mark` is the watermark that the last pull reached; files know nothing of it.

        Raises
        ------
        PortraitError : when the source cannot have anything: a path that names no file, an unknown connection.
        """

    def schema(self, delivery: Delivery) -> pa.Schema:
        """The columns of a delivery, for rows as JSON lines the keys in the first ones.

        Raises
        ------
        PortraitError : when it is empty, damaged or refused.
        SourceUnavailable : when the source does not answer.
        """

    def batches(self, delivery: Delivery, bad_line: BadLine) -> Iterator[pa.RecordBatch]:
        """Stream a delivery in batches of bounded size; errors as for `schema`."""


def business_day_end(settings: Settings, source: SourceSpec, day: date) -> datetime:
    """The instant at which a business day ends: local midnight, or the closing hour after it."""
    zone = ZoneInfo(settings.sources.timezone_of(source))
    closing = time(settings.sources.closing_hour_of(source))
    return datetime.combine(day + timedelta(days=1), closing, zone)
