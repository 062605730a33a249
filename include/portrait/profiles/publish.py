"""Moving the pointer: the night everybody sees changes in one short transaction, and back."""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date

from sqlalchemy import Connection, text

from portrait.config import Settings
from portrait.errors import PortraitError
from portrait.ingest.suppression import Suppression, read_suppression
from portrait.profiles.audit import Check, audit
from portrait.profiles.erased import remove_erased
from portrait.profiles.history import earlier_run, published_run, published_runs, refuse_restored
from portrait.profiles.load import LoadResult, load
from portrait.profiles.partitions import WAITING, attach, lock_pointer, standing, when_free
from portrait.profiles.retention import drop_old_runs
from portrait.profiles.tables import TABLES
from portrait.run import Run
from portrait.warehouse import Warehouse, open_warehouse

__all__ = ["Check", "LoadResult", "PublishResult", "audit", "load", "publish", "rollback"]

log = logging.getLogger(__name__)

_PATIENCE_S = 60.0
_ENTRIES = "select count(*) from privacy.suppression"


@dataclass(frozen=True)
class PublishResult:
    """What publishing did.

    Attributes
    ----------
    replaced_run_id : the run shown before; None on the first night or when this run was shown already.
    moved : False when the run was published before and nothing had to be exchanged.
    moved_in_s : seconds from asking for the pointer until readers saw the run.
    kept, dropped : runs that still have their tables, the latest first, and runs whose tables went.
    """

    run_id: str
    replaced_run_id: str | None
    moved: bool
    moved_in_s: float
    kept: tuple[str, ...]
    dropped: tuple[str, ...]


def publish(settings: Settings, run: Run, keep: int | None = None) -> PublishResult:
    """Show the run in the views of `profile`, then archive and drop the nights that `profiles.yaml` does not keep.

    A statement sees the run before or this one, never a mixture. Publishing a published run again changes
    nothing, unless it was loaded again: then its new tables take the place of the old ones.

    Parameters
    ----------
    keep : nights, in place of `kept_nights`.

    Raises
    ------
    PortraitError : when the run is not loaded or has not passed its audit; the pointer stays.
    TablesBusy : when a lock could not be had for a minute; the pointer stays.
    """
    warehouse = open_warehouse(settings)
    entries = warehouse.scalar(_ENTRIES)
    _leave_out(warehouse, run, read_suppression(settings, warehouse))

    def erased_since(connection: Connection) -> Suppression:
        """The list, where it has grown: hashing a million ids takes seconds that the pointer is not held for."""
        if connection.execute(text(_ENTRIES)).scalar() == entries:
            return Suppression(b"")
        return read_suppression(settings, warehouse)

    started = time.monotonic()
    replaced, moved = when_free(
        warehouse, lambda connection: _move(connection, run, erased_since), _PATIENCE_S
    )
    moved_in = time.monotonic() - started
    log.info("run %s is published%s, %.3f s", run.run_id, "" if moved else " (it was already)", moved_in)
    dropped = drop_old_runs(settings, warehouse, keep)
    for table in TABLES:
        # Queries go through the parents, of which no vacuum takes the statistics; the partitions have theirs.
        warehouse.execute(f"analyze only profile_store.{table}")
    with warehouse.begin() as connection:
        kept = published_runs(connection)
    return PublishResult(run.run_id, replaced, moved, moved_in, tuple(kept), tuple(dropped))


def _leave_out(warehouse: Warehouse, run: Run, suppression: Suppression) -> None:
    """Take out who was erased up to now; who is erased from now on is taken out when the pointer is held."""
    with warehouse.begin() as connection:
        state = standing(connection, run.run_id)
        if state is not None:
            remove_erased(connection, suppression, run.run_id, state)


def _move(
    connection: Connection, run: Run, erased_since: Callable[[Connection], Suppression]
) -> tuple[str | None, bool]:
    lock_pointer(connection)
    state, current = standing(connection, run.run_id), published_run(connection)
    if state is None:
        raise PortraitError(f"run {run.run_id} is not loaded: load and audit it before publishing")
    refuse_restored(connection, run.run_id)
    _require_audit(connection, run.run_id)
    remove_erased(connection, erased_since(connection), run.run_id, state)
    if state == WAITING:
        attach(connection, run.run_id, WAITING)
    replaced = None if current == run.run_id else current
    if current != run.run_id:
        _point_to(connection, run.run_id, "publish")
    connection.execute(
        text(
            "update ops.run set status = 'published', finished_at = now(), error = null"
            " where run_id = :r and (status <> 'published' or :moved)"
        ),
        {"r": run.run_id, "moved": current != run.run_id},
    )
    return replaced, current != run.run_id or state == WAITING


def _require_audit(connection: Connection, run_id: str) -> None:
    checks, failed = connection.execute(
        text(
            "select count(*) filter (where table_name = any(:t)),"
            " array_agg(check_name || ' in ' || table_name order by table_name, check_name)"
            " filter (where not passed)"
            " from ops.data_quality where run_id = :r"
        ),
        {"r": run_id, "t": list(TABLES)},
    ).one()
    if failed:
        raise PortraitError(f"run {run_id} failed its audit and cannot be published: {'; '.join(failed)}")
    if not checks:
        raise PortraitError(f"run {run_id} was not audited since it was loaded: audit it before publishing")


def _point_to(connection: Connection, run_id: str, action: str) -> None:
    connection.execute(
        text(
            "insert into ops.publication (run_id, replaced_run_id, action)"
            " values (:r, (select run_id from ops.published_run), :a)"
        ),
        {"r": run_id, "a": action},
    )
    connection.execute(
        text(
            "insert into ops.published_run (run_id) values (:r)"
            " on conflict (singleton) do update set run_id = excluded.run_id, published_at = now()"
        ),
        {"r": run_id},
    )


def rollback(settings: Settings, to: str | None = None) -> str:
    """Move the pointer back to a run that was published earlier; gives its run_id.

    Parameters
    ----------
    to : a run_id, or a business date (its run published last); without it, the run shown before.

    Raises
    ------
    PortraitError : when there is no such run or its tables are gone, naming the runs that are kept.
    """
    target: str = when_free(
        open_warehouse(settings), lambda connection: _roll_back(connection, to), _PATIENCE_S
    )
    return target


def _roll_back(connection: Connection, to: str | None) -> str:
    lock_pointer(connection)
    current = published_run(connection)
    if current is None:
        raise PortraitError("nothing is published yet: there is no run to roll back from")
    target = _named_run(connection, to) if to else earlier_run(connection, current)
    if target is None:
        wanted = (
            f"run or date {to!r} was never published or its tables are gone"
            if to
            else "no earlier run to roll back to"
        )
        kept = ", ".join(published_runs(connection)) or "none"
        raise PortraitError(f"{wanted}; kept runs: {kept}")
    if target != current:
        _point_to(connection, target, "rollback")
        log.info("rolled back from run %s to %s", current, target)
    return target


def _named_run(connection: Connection, to: str) -> str | None:
    """A kept run by its id, or the one of that business date that was published last."""
    kept = published_runs(connection)
    if to in kept:
        return to
    try:
        day = date.fromisoformat(to)
    except ValueError:
        return None
    of_day = (
        connection.execute(text("select run_id from ops.run where as_of = :d"), {"d": day}).scalars().all()
    )
    return next((run_id for run_id in kept if run_id in of_day), None)
