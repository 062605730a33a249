"""Reading new identifiers, and which of them met in one row, out of `raw.*`.

Every pair of a row's identifiers becomes an edge, not only those with the highest-priority one: a cap counts
what a value met, and when the highest-priority one turns out to be shared the others still belong together.
"""

import logging
import time
from itertools import combinations

from sqlalchemy import Connection, text

from portrait.config import Settings
from portrait.contracts import CONTRACTS
from portrait.identity.kinds import ENTITIES, KIND_COLUMNS, LOCK, kinds_of
from portrait.warehouse import Warehouse

log = logging.getLogger(__name__)


def read_sightings(settings: Settings, warehouse: Warehouse) -> int:
    """Bring identity.identifier and identity.edge up to date with `raw.*`.

    Only rows of batches newer than identity.progress are read, and progress moves in the same transaction: a
    killed reading leaves nothing half-counted. Reading a row twice changes nothing.

    Returns
    -------
    Distinct combinations of identifiers among the new rows.
    """
    found = 0
    with warehouse.begin() as connection:
        connection.execute(text("select pg_advisory_xact_lock(:k)"), {"k": LOCK})
        connection.execute(text("set local work_mem = '256MB'"))
        for entity in ENTITIES:
            started = time.monotonic()
            through, settled, pending = _batches(connection, entity)
            if not pending:
                continue
            rows = _collect(connection, entity, through, settings.sources.timezone)
            _add_identifiers(connection)
            _add_edges(connection, entity)
            connection.execute(text("drop table sighting"))
            _move_progress(connection, entity, settled)
            found += rows
            log.info("%s: %d sightings in %.1f s", entity, rows, time.monotonic() - started)
    return found


def _batches(connection: Connection, entity: str) -> tuple[int, int, bool]:
    """The last batch read, the last one before any that is still loading, and whether there are new ones."""
    row = connection.execute(
        text("""
        select coalesce((select last_batch_id from identity.progress where entity = :e), 0) as through,
               coalesce(min(batch_id) filter (where status = 'loading') - 1, max(batch_id), 0) as settled,
               coalesce(max(batch_id) filter (where status = 'loaded'), 0) as newest
        from ops.batch where entity = :e
        """),
        {"e": entity},
    ).one()
    return row.through, max(row.settled, row.through), row.newest > row.through


def _collect(connection: Connection, entity: str, through: int, timezone: str) -> int:
    """Fill the temporary table `sighting`: each combination of identifiers with its first and last day."""
    columns = kinds_of(entity)
    day = "business_date"
    if entity == "member":
        day = "coalesce((occurred_at at time zone :tz)::date, business_date)"
    where = "batch_id > :through"
    if CONTRACTS[entity].partitioned:  # the changed dates let Postgres skip whole months
        where += """ and business_date = any(array(
            select business_date from ops.batch_partition where entity = :entity and batch_id > :through))"""
    values = ", ".join(
        f"nullif({columns[kind]}, '') as {kind}" if kind in columns else f"null::text as {kind}"
        for kind in KIND_COLUMNS
    )
    kinds = ", ".join(KIND_COLUMNS)
    connection.execute(
        text(f"""
        create temporary table sighting on commit drop as
        select {kinds}, min(day) as first_seen, max(day) as last_seen
        from (select {values}, {day} as day from raw.{entity} where {where}) as seen
        where num_nonnulls({kinds}) > 0
        group by {kinds}
        """),
        {"through": through, "entity": entity, "tz": timezone},
    )
    connection.execute(text("analyze sighting"))
    return int(connection.execute(text("select count(*) from sighting")).scalar_one())


def _add_identifiers(connection: Connection) -> None:
    pieces = ", ".join(f"('{kind}', {kind})" for kind in KIND_COLUMNS)
    connection.execute(
        text(f"""
        insert into identity.identifier as known (kind, value, first_seen, last_seen)
        select piece.kind, piece.value, min(first_seen), max(last_seen)
        from sighting cross join lateral (values {pieces}) as piece (kind, value)
        where piece.value is not null
        group by piece.kind, piece.value
        order by piece.kind, piece.value
        on conflict (kind, value) do update
            set first_seen = least(known.first_seen, excluded.first_seen),
                last_seen = greatest(known.last_seen, excluded.last_seen)
            where excluded.first_seen < known.first_seen or excluded.last_seen > known.last_seen
        """)
    )


def _add_edges(connection: Connection, entity: str) -> None:
    pairs = ", ".join(f"('{a}', {a}, '{b}', {b})" for a, b in combinations(KIND_COLUMNS, 2))
    connection.execute(
        text(f"""
        insert into identity.edge as known (kind_a, value_a, kind_b, value_b, rule, first_seen, last_seen)
        select pair.kind_a, pair.value_a, pair.kind_b, pair.value_b, :rule, min(first_seen), max(last_seen)
        from sighting cross join lateral (values {pairs}) as pair (kind_a, value_a, kind_b, value_b)
        where pair.value_a is not null and pair.value_b is not null
        group by pair.kind_a, pair.value_a, pair.kind_b, pair.value_b
        order by pair.kind_a, pair.value_a, pair.kind_b, pair.value_b
        on conflict (kind_a, value_a, kind_b, value_b, rule) do update
            set first_seen = least(known.first_seen, excluded.first_seen),
                last_seen = greatest(known.last_seen, excluded.last_seen)
            where excluded.first_seen < known.first_seen or excluded.last_seen > known.last_seen
        """),
        {"rule": entity},
    )


def _move_progress(connection: Connection, entity: str, settled: int) -> None:
    connection.execute(
        text(
            "insert into identity.progress (entity, last_batch_id) values (:e, :b) "
            "on conflict (entity) do update set last_batch_id = excluded.last_batch_id"
        ),
        {"e": entity, "b": settled},
    )
