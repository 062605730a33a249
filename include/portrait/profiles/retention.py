"""Letting go of nights that nobody rolls back to any more."""

import logging
from functools import partial

from sqlalchemy import Connection, text

from portrait.profiles.history import published_run, published_runs
from portrait.profiles.partitions import STATES, TablesBusy, drop, lock_pointer, partition, when_free
from portrait.profiles.tables import TABLES
from portrait.warehouse import Warehouse

log = logging.getLogger(__name__)

KEPT_NIGHTS = 7

_PATIENCE_S = 2.0


def drop_old_runs(warehouse: Warehouse, keep: int = KEPT_NIGHTS) -> list[str]:
    """Drop the tables of old runs, one run a transaction; gives the runs that went.

    Kept are the published run, the last `keep` published ones, and unpublished ones (at work, or refused)
    until `keep` nights that were started later are published. A run whose tables a long query is reading is
    left for the next night.
    """
    with warehouse.begin() as connection:
        old = _old_runs(connection, keep)
    dropped = []
    for run_id in old:
        try:
            if when_free(warehouse, partial(_drop, run_id=run_id), _PATIENCE_S):
                dropped.append(run_id)
        except TablesBusy:
            log.warning("run %s is being read; its tables are dropped another night", run_id)
    if dropped:
        log.info("dropped the tables of %s", ", ".join(dropped))
    return dropped


def _old_runs(connection: Connection, keep: int) -> list[str]:
    """Runs with tables that are no longer kept, oldest first."""
    nights = published_runs(connection)[: max(keep, 1)]
    rows = connection.execute(
        text(
            """
            select run_id from ops.run
            where run_id <> all(:kept)
              and (run_id in (select run_id from ops.publication)
                   or :full and started_at <
                       (select min(started_at) from ops.run where run_id = any(:nights)))
            order by as_of, run_id
            """
        ),
        {"kept": [*nights, published_run(connection)], "nights": nights, "full": len(nights) >= keep},
    )
    stored = _table_names(connection)
    return [r.run_id for r in rows if not stored.isdisjoint(_own_tables(r.run_id))]


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
    return any(dropped)
