"""Letting go of nights: the last ones and month-ends stay, others go to their archive."""

import logging
from datetime import date
from functools import partial

from sqlalchemy import Connection, text

from portrait.config import Settings
from portrait.profiles.archive import archive, forget_old_archives
from portrait.profiles.history import published_run, published_runs, restored_runs, stored_runs
from portrait.profiles.partitions import STATES, TablesBusy, drop, lock_pointer, partition, when_free
from portrait.profiles.tables import TABLES
from portrait.warehouse import Warehouse
from portrait.warehouse.alerts import raise_alert

log = logging.getLogger(__name__)

_PATIENCE_S = 2.0


def drop_old_runs(settings: Settings, warehouse: Warehouse, keep: int | None = None) -> list[str]:
    """Drop the tables of old runs, one run a transaction; gives the runs that went.

    Kept are the published run, the last `keep` published ones, the month-ends, restored ones for a while, and
    unpublished ones (at work, or refused) until `keep` nights that were started later are published. A night that was
    published is archived before; where that fails its tables stay, and `ops.alert` says why. A run whose tables a long
    query is reading is left for the next night.

    Parameters
    ----------
    keep : nights, in place of `kept_nights`.
    """
    with warehouse.begin() as connection:
        old = _old_runs(connection, settings, keep or settings.profiles.kept_nights)
    dropped = []
    for run_id, as_of, to_archive in old:
        try:
            if to_archive:
                archive(settings, warehouse, run_id, as_of)
        except Exception as error:
            # The night is published already: what is wrong here must not make it fail.
            log.warning("run %s is not archived: %s", run_id, error, exc_info=True)
            _alert(warehouse, as_of, f"run {run_id} could not be archived and keeps its tables: {error}")
            continue
        try:
            if when_free(warehouse, partial(_drop, run_id=run_id), _PATIENCE_S):
                dropped.append(run_id)
        except TablesBusy:
            log.warning("run %s is being read; its tables are dropped another night", run_id)
    if dropped:
        log.info("dropped the tables of %s", ", ".join(dropped))
    forget_old_archives(settings, warehouse)
    return dropped


def month_ends(connection: Connection, months: int) -> list[str]:
    """The last night of each of the last `months` months before that of the newest night, among those with tables."""
    nights = published_runs(connection)
    rows = connection.execute(text("select run_id, as_of from ops.run where run_id = any(:r)"), {"r": nights})
    of_run: dict[str, date] = {r.run_id: r.as_of for r in rows}
    # Of several runs for a date, the one that was published last: it is the first in `nights`.
    by_date = sorted(nights, key=lambda r: of_run[r], reverse=True)
    last: dict[tuple[int, int], str] = {}
    for run_id in by_date:
        last.setdefault((of_run[run_id].year, of_run[run_id].month), run_id)
    return list(last.values())[1 : months + 1]


def _old_runs(connection: Connection, settings: Settings, keep: int) -> list[tuple[str, date, bool]]:
    """Runs with tables that are no longer kept, oldest first: id, date, and whether it is to be archived."""
    nights = published_runs(connection)[:keep]
    restored = restored_runs(connection)
    expired = connection.execute(
        text("select run_id from ops.archive where restored_at < now() - make_interval(days => :d)"),
        {"d": settings.profiles.restored_days},
    )
    shown = restored - set(expired.scalars())
    rows = connection.execute(
        text(
            """
            select run_id, as_of, run_id in (select run_id from ops.publication) as was_published from ops.run
            where run_id <> all(:kept)
              and (run_id in (select run_id from ops.publication)
                   or :full and started_at <
                       (select min(started_at) from ops.run where run_id = any(:nights)))
            order by as_of, run_id
            """
        ),
        {
            "kept": [
                *nights,
                *month_ends(connection, settings.profiles.kept_month_ends),
                *shown,
                published_run(connection),
            ],
            "nights": nights,
            "full": len(nights) >= keep,
        },
    )
    names, whole = _table_names(connection), stored_runs(connection)
    return [
        (r.run_id, r.as_of, r.was_published and r.run_id in whole and r.run_id not in restored)
        for r in rows
        if not names.isdisjoint(_own_tables(r.run_id))
    ]


def _alert(warehouse: Warehouse, as_of: date, message: str) -> None:
    with warehouse.begin() as connection:
        raise_alert(connection, "not_archived", message, as_of)


def _table_names(connection: Connection) -> set[str]:
    schema = "relnamespace = 'profile_store'::regnamespace"
    return set(
        connection.execute(text(f"select relname from pg_class where {schema} and relkind = 'r'")).scalars()
    )


def _own_tables(run_id: str) -> set[str]:
    return {partition(table, run_id, state) for table in TABLES for state in STATES}


def _drop(connection: Connection, run_id: str) -> bool:
    """Drop all tables of a run, unless the pointer moved to it meanwhile."""
    lock_pointer(connection)
    if published_run(connection) == run_id:
        return False
    dropped = [drop(connection, run_id, state) for state in STATES]
    connection.execute(text("update ops.archive set restored_at = null where run_id = :r"), {"r": run_id})
    return any(dropped)
