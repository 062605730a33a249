"""What MySQL and MariaDB need as a source: a session of their own, and their names for types and errors."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from typing import Any
from zoneinfo import ZoneInfo

from portrait.sources.relation import Relation, Trouble

NAMES = ("mysql", "mariadb")
UNKNOWN_VARIABLE = 1193
# Type codes: https://dev.mysql.com/doc/dev/mysql-server/latest/field__types_8h.html
TIMESTAMP, BIT = 7, 16
TIMED = {TIMESTAMP, 10, 12, 14}
COUNTED = {0, 1, 2, 3, 8, 9, 246}
# Error codes: https://mariadb.com/kb/en/mariadb-error-code-reference/
TROUBLE: dict[int, Trouble] = {
    **dict.fromkeys((1044, 1045, 1049, 1130, 1251, 1698, 3118), "login"),
    **dict.fromkeys((1205, 1969, 3024), "timeout"),
    **dict.fromkeys((1040, 1053, 1129, 1203, 1213, 1226, 1317, 1927, 2002, 2003, 2006, 2013), "unreachable"),
}


def connect_arguments(relation: Relation) -> dict[str, Any]:
    """PyMySQL's arguments: values stay as the server writes them, which is exact and quick.

    A TIMESTAMP is an instant, which the server writes in the session's time zone: it gets that offset. A DATETIME
    is what somebody's clock showed, and stays so.
    """
    from pymysql.converters import encoders

    offset = _written(session_zone(relation))
    decoders = {TIMESTAMP: lambda text: text + offset, BIT: lambda octets: str(int.from_bytes(octets, "big"))}
    # A server that is gone without a word must not be waited for.
    patience = relation.origin.statement_timeout_seconds + 60
    return {"charset": "utf8mb4", "read_timeout": patience, "conv": {**encoders, **decoders}}


def session_commands(relation: Relation, mariadb: bool) -> Iterator[str]:
    """Settings of the session, the last of which start its transaction."""
    seconds = relation.origin.statement_timeout_seconds
    if mariadb:
        yield f"set session max_statement_time = {seconds}"
    else:
        yield f"set session max_execution_time = {seconds * 1000}"
    # The server gives up a reader that does not take rows for a minute; loading them may take longer.
    yield f"set session net_write_timeout = {seconds}"
    yield f"set session time_zone = '{_written(session_zone(relation))}'"
    yield "set session transaction isolation level repeatable read"
    yield "start transaction with consistent snapshot, read only"


def session_zone(relation: Relation) -> tzinfo:
    """The offset of the source's zone outside summer time.

    The server may know no zone by name, and an offset that changed would change the text of every TIMESTAMP.
    """
    return timezone(min(_offset(relation.zone, month) for month in (1, 7)))


def _offset(zone: ZoneInfo, month: int) -> timedelta:
    return datetime(2024, month, 1, tzinfo=UTC).astimezone(zone).utcoffset() or timedelta(0)


def _written(zone: tzinfo) -> str:
    """`+08:00`"""
    return datetime(2024, 1, 1, tzinfo=zone).isoformat()[-6:]
