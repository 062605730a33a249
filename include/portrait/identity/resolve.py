"""One night of identity resolution, from new rows in `raw.*` to the run's identity map."""

import logging
import time
import uuid
from datetime import date

from sqlalchemy import text

from portrait.config import Settings
from portrait.errors import PortraitError
from portrait.identity import record as write
from portrait.identity.kinds import LOCK
from portrait.identity.mapfile import map_path, write_map
from portrait.identity.night import Night, decide
from portrait.identity.outcome import IdentityResult
from portrait.identity.sightings import read_sightings
from portrait.identity.working import Working, open_working
from portrait.run import Run
from portrait.warehouse import Transaction, Warehouse, open_warehouse

log = logging.getLogger(__name__)

NEVER_ENDS = 2**62
"""A batch after every other."""


class _PastNight(Exception):
    """Ends the transactions of a night that must leave no trace."""


def resolve(settings: Settings, run: Run, rebuild: bool = False) -> IdentityResult:
    """Give every identifier seen on or before `run.as_of` its customer.

    Writes `identity.*` and the map of `map_path`. A run for a date before the latest recorded one computes
    its map from the assignment of its own time and leaves the record as it is.

    Parameters
    ----------
    rebuild : forget everything but manual rules and the list of nights, read all of `raw.*` and go through all
        nights again. It ends with the ids that the nights gave, as long as no source has corrected the identifiers
        of a row that an earlier night read.

    Raises
    ------
    PortraitError : for a rebuild of a date before the latest recorded one.

    Notes
    -----
    Exact shared identifiers link; components are found with scipy's `connected_components`.
    """
    started = time.monotonic()
    warehouse = open_warehouse(settings)
    found: list[IdentityResult] = []
    with warehouse.begin() as guard:
        guard.execute(text("select pg_advisory_xact_lock(:k)"), {"k": LOCK})
        nights = warehouse.rows("select as_of, batch_id, ran_at, state from identity.night order by as_of")
        latest = nights[-1] if nights else None
        if rebuild and latest and run.as_of < latest["as_of"]:
            raise PortraitError(
                f"the record goes on to {latest['as_of']}; rebuild as of that date or a later one"
            )
        token = uuid.uuid4().hex
        try:
            # The record commits first: a crash in between leaves a working state with an old token.
            with (
                open_working(settings, latest["state"] if latest else None, rebuild) as working,
                warehouse.transaction() as record,
            ):
                record.execute("set local work_mem = '256MB'")
                # A night touches few rows: look them up, don't read whole tables.
                record.execute("set local random_page_cost = 1.1")
                if rebuild:
                    write.clear(record)
                    read_sightings(working, settings, warehouse)
                    for row in nights:
                        if row["as_of"] < run.as_of:
                            night = Night(row["as_of"], row["batch_id"], row["ran_at"])
                            decide(working, record, settings, night, everything=False)
                            write.write_night(record, night.as_of, night.batch, night.ran_at, token)
                    found.append(_tonight(working, record, settings, warehouse, run, token, False))
                else:
                    past = bool(latest and run.as_of < latest["as_of"])
                    fresh = working.get("as_of") is None
                    if fresh and latest:
                        _take_over(working, warehouse)
                    read_sightings(working, settings, warehouse)
                    if past or fresh:
                        _load_assignment(working, warehouse, run.as_of)
                    found.append(_tonight(working, record, settings, warehouse, run, token, past))
                    if past:
                        log.info("%s: the record goes on to %s, it stays as it is", run.run_id, latest)
                        raise _PastNight
        except _PastNight:
            pass
    log.info("%s: %s in %.1f s", run.run_id, found[0].as_dict(), time.monotonic() - started)
    return found[0]


def _tonight(
    working: Working,
    record: Transaction,
    settings: Settings,
    warehouse: Warehouse,
    run: Run,
    token: str,
    past: bool,
) -> IdentityResult:
    known = warehouse.scalar(
        "select coalesce(min(batch_id) filter (where status = 'loading') - 1, max(batch_id), 0) from ops.batch"
    )
    night = Night(run.as_of, NEVER_ENDS, written=not past)
    result = decide(working, record, settings, night, everything=past)
    if not past:
        write.write_night(record, run.as_of, int(known), None, token)
        working.put("token", token)
    started = time.monotonic()
    write_map(working, settings.identity, map_path(settings, run))
    log.info("map written in %.1f s", time.monotonic() - started)
    return result


def _take_over(working: Working, warehouse: Warehouse) -> None:
    """Begin a new working state with the identifiers that the record has numbered."""
    with warehouse.arrow_reader(
        "select identifier_id, kind, value, first_seen, last_seen from identity.identifier"
    ) as rows:
        working.engine.register("rows", rows)
        working.engine.execute("create or replace temp table numbered as select * from rows")
        working.engine.unregister("rows")
    working.engine.execute(
        "insert into identifier select identifier_id, kind, hash(value), value from numbered"
    )
    working.engine.execute("insert into recorded select identifier_id, first_seen, last_seen from numbered")


def _load_assignment(working: Working, warehouse: Warehouse, as_of: date) -> None:
    """Replace the last night's outcome by the assignment that held before `as_of`."""
    valid = f"valid_from < '{as_of}' and (valid_to is null or valid_to >= '{as_of}')"
    queries = {
        "node": f"select identifier_id, false, -1, customer_id from identity.assignment where {valid}",
        "born": f"select customer_id, min(valid_from) from identity.assignment where valid_from < '{as_of}' group by 1",
    }
    working.engine.execute("delete from former")
    for table, sql in queries.items():
        with warehouse.arrow_reader(sql) as rows:
            working.engine.register("rows", rows)
            working.engine.execute(f"delete from {table}")
            working.engine.execute(f"insert into {table} select * from rows")
            working.engine.unregister("rows")
