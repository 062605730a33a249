"""The partitions of one run: their names, and changing which tables they are without making readers wait."""

import logging
import re
import time
from collections.abc import Callable
from datetime import date
from typing import TypeVar

from psycopg2.errors import DeadlockDetected, LockNotAvailable
from sqlalchemy import Connection, text
from sqlalchemy.exc import OperationalError

from portrait.errors import PortraitError
from portrait.profiles.history import stored_runs
from portrait.profiles.tables import TABLES
from portrait.run import Run
from portrait.warehouse import Warehouse

log = logging.getLogger(__name__)
T = TypeVar("T")

LOADING = "__load"
"""Suffix of a table that is being filled; it may be thrown away by the next load of its run."""

WAITING = "__next"
"""Suffix of a filled table of the run that is published right now: publishing again swaps it in."""

STATES = ("", LOADING, WAITING)
"""A partition proper has no suffix."""

_LOCK_TIMEOUT_MS = 150
"""Readers queue behind a waiting exclusive lock: at most this long, well below deadlock_timeout (1 s)."""


class TablesBusy(Exception):
    """A long query holds the profile tables; trying again later helps."""


def partition(table: str, run_id: str, state: str = "") -> str:
    """Name of a run's table within `profile_store`: ``rfm_20260301_1``.

    Raises
    ------
    PortraitError : when the run_id would not make a plain table name.
    """
    suffix = Run(run_id, date.min).suffix
    if not re.fullmatch(r"[a-z0-9_]{1,32}", suffix) or "__" in suffix:
        raise PortraitError(f"run_id {run_id!r}: must look like 2026-03-01.1, it becomes part of table names")
    return f"{table}_{suffix}{state}"


def when_free(warehouse: Warehouse, work: Callable[[Connection], T], patience_s: float) -> T:
    """Run `work` in a transaction that never waits long for a lock; again and again until it gets its locks.

    Raises
    ------
    TablesBusy : when it got none for `patience_s` seconds; nothing was changed.
    """
    deadline = time.monotonic() + patience_s
    while True:
        try:
            with warehouse.begin() as connection:
                connection.execute(text(f"set local lock_timeout = '{_LOCK_TIMEOUT_MS}ms'"))
                return work(connection)
        except OperationalError as error:
            if not isinstance(error.orig, LockNotAvailable | DeadlockDetected):
                raise
            if time.monotonic() > deadline:
                raise TablesBusy(
                    f"the profile tables were locked for {patience_s:g} s by a long query or another load; "
                    "see pg_stat_activity, and try again"
                ) from error
        time.sleep(0.1)


def lock_pointer(connection: Connection) -> None:
    """Keep everybody else from moving the pointer until the end of the transaction; readers go on."""
    connection.execute(text("lock table ops.published_run in share row exclusive mode"))


def existing(connection: Connection, run_id: str, state: str = "") -> list[str]:
    """The profile tables for which the run has a table in this state, attached or not."""
    names = {f"profile_store.{partition(t, run_id, state)}": t for t in TABLES}
    found = set(
        connection.execute(
            text("select n from unnest(cast(:n as text[])) as n where to_regclass(n) is not null"),
            {"n": list(names)},
        ).scalars()
    )
    return [table for name, table in names.items() if name in found]


def drop(connection: Connection, run_id: str, state: str = "") -> list[str]:
    """Drop the run's tables in this state, detaching them; gives the profile tables that had one."""
    found = existing(connection, run_id, state)
    if found and not state:
        _lock_parents(connection)
    for table in found:
        connection.execute(text(f"drop table profile_store.{partition(table, run_id, state)}"))
    return found


def attach(connection: Connection, run_id: str, state: str) -> None:
    """Make the run's tables in `state` its partitions, in place of those it may have.

    The CHECK on run_id that `load` gave them spares Postgres the scan; the bound then takes its place.
    """
    drop(connection, run_id)
    for table in TABLES:
        name = partition(table, run_id)
        for statement in (
            f"alter table profile_store.{partition(table, run_id, state)} rename to {name}",
            f"alter table profile_store.{table} attach partition profile_store.{name}"
            " for values in (:run_id)",
            f"alter table profile_store.{name} drop constraint of_this_run",
        ):
            connection.execute(text(statement), {"run_id": run_id})
    log.info("run %s: %d tables attached", run_id, len(TABLES))


def rename(connection: Connection, run_id: str, state: str, to: str) -> None:
    """Give the run's standalone tables in `state` the suffix `to`."""
    for table in TABLES:
        old, new = partition(table, run_id, state), partition(table, run_id, to)
        connection.execute(text(f"alter table profile_store.{old} rename to {new}"))


def standing(connection: Connection, run_id: str) -> str | None:
    """State of the tables that publishing the run would show.

    `WAITING` when it was loaded again while published, "" when its partitions are attached, None when the run
    is not fully loaded.
    """
    if len(existing(connection, run_id, WAITING)) == len(TABLES):
        return WAITING
    return "" if run_id in stored_runs(connection) else None


def _lock_parents(connection: Connection) -> None:
    # All at once and first: a reader that holds one of them and waits for another would be a deadlock.
    parents = ", ".join(f"only profile_store.{t}" for t in TABLES)
    connection.execute(text(f"lock table {parents} in access exclusive mode"))
