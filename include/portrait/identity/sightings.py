"""Reading which identifiers met in one row out of `raw.*`, a whole business date at a time.

Every pair of a row's identifiers counts, not only those with the strongest one: a cap counts what a value met, and
when the strongest turns out to be shared the others still belong together. A business date that changed is read
again and replaces what it gave before, so that the sightings are always those of `raw.*` as it is.
"""

import logging
import queue
import threading
import time
from collections.abc import Iterator
from datetime import date
from itertools import combinations

import pyarrow as pa

from portrait.config import Settings
from portrait.contracts import CONTRACTS
from portrait.errors import PortraitError
from portrait.identity.kinds import ENTITIES, kinds_of
from portrait.identity.working import Working
from portrait.warehouse import Warehouse

log = logging.getLogger(__name__)

CHUNK = 1_000_000
"""Rows of `raw` worked on at a time."""
SEPARATOR = "\x1f"
"""Between source and row in an evidence."""


def read_sightings(working: Working, settings: Settings, warehouse: Warehouse) -> int:
    """Bring the sightings up to date with `raw.*`; gives the rows that were read.

    Leaves the temporary table `changed(a, b)`: pairs of the dates that were read, before and after.
    """
    working.engine.execute("create or replace temp table changed (a integer, b integer)")
    found = 0
    for entity in ENTITIES:
        started = time.monotonic()
        key = f"read.{entity}"
        read = working.get(key) or 0
        batches = warehouse.rows(
            "select coalesce(min(batch_id) filter (where status = 'loading') - 1, max(batch_id), 0) as settled, "
            "coalesce(max(batch_id) filter (where status = 'loaded'), 0) as newest from ops.batch where entity = :e",
            e=entity,
        )[0]
        if batches["newest"] <= read:
            continue
        rows = _read(working, warehouse, entity, read, settings.sources.timezone)
        working.put(key, max(batches["settled"], read))
        found += rows
        pa.default_memory_pool().release_unused()
        log.info("%s: %d rows read in %.1f s", entity, rows, time.monotonic() - started)
    return found


def _read(working: Working, warehouse: Warehouse, entity: str, read: int, timezone: str) -> int:
    columns = kinds_of(entity)
    day, where = "business_date", "true"
    if entity == "member":  # registered in the retailer's time zone
        day = f"coalesce((occurred_at at time zone '{timezone}')::date, business_date)"
    first = working.one(f"select 1 from sighting where entity = '{entity}' limit 1") is None
    begun = working.get("as_of") is not None
    dates: list[date] = []
    if CONTRACTS[entity].partitioned:
        if not first:
            dates = [
                r["business_date"]
                for r in warehouse.rows(
                    "select distinct business_date from ops.batch_partition where entity = :e and batch_id > :b",
                    e=entity,
                    b=read,
                )
            ]
            listed = ", ".join(f"date '{d}'" for d in dates)
            where = f"business_date in ({listed})" if dates else "false"
            if dates:
                _forget(working, f"entity = '{entity}' and day in ({listed})")
    elif not first:
        where = f"batch_id > {read}"
    ids = ", ".join(f"nullif({column}, '') as {kind}" for kind, column in columns.items())
    some = ", ".join(f"nullif({c}, '')" for c in columns.values())
    sql = (
        f"select {day} as day, batch_id as batch, source, source_row_id, {ids} from raw.{entity} "
        f"where ({where}) and num_nonnulls({some}) > 0"
    )
    rows = 0
    for chunk in _chunks(warehouse, sql):
        working.engine.register("chunk", chunk)
        if not CONTRACTS[entity].partitioned and not first:
            working.engine.execute(
                f"create or replace temp table again as select distinct source || '{SEPARATOR}' || source_row_id as evidence from chunk"
            )
            _forget(working, f"entity = '{entity}' and evidence in (select evidence from again)")
        _number(working, tuple(columns))
        _add(working, entity, tuple(columns), begun)
        working.engine.unregister("chunk")
        rows += chunk.num_rows
    return rows


def _chunks(warehouse: Warehouse, sql: str) -> Iterator[pa.Table]:
    """Tables of about CHUNK rows; the next one is fetched while one is worked on."""
    waiting: queue.Queue[pa.Table | BaseException | None] = queue.Queue(maxsize=1)
    stop = threading.Event()

    def hand_over(item: pa.Table | BaseException | None) -> None:
        while not stop.is_set():
            try:
                waiting.put(item, timeout=0.2)
                return
            except queue.Full:
                continue

    def fetch() -> None:
        try:
            with warehouse.arrow_reader(sql) as reader:
                held, rows = [], 0
                for batch in reader:
                    held.append(batch)
                    rows += batch.num_rows
                    if rows >= CHUNK:
                        hand_over(pa.Table.from_batches(held))
                        held, rows = [], 0
                    if stop.is_set():
                        return
                if held:
                    hand_over(pa.Table.from_batches(held))
            hand_over(None)
        except BaseException as error:
            hand_over(error)

    thread = threading.Thread(target=fetch, daemon=True)
    thread.start()
    try:
        while (item := waiting.get()) is not None:
            if isinstance(item, BaseException):
                raise item
            if item.num_rows:
                yield item
    finally:
        stop.set()
        thread.join()


def _forget(working: Working, where: str) -> None:
    working.engine.execute(f"insert into changed select distinct a, b from sighting where {where}")
    working.engine.execute(f"delete from sighting where {where}")


def _number(working: Working, kinds: tuple[str, ...]) -> None:
    """Give every new value of the chunk a code; values are told apart by a 64-bit hash, which is checked."""
    seen = " union all ".join(
        f"select '{k}' as kind, hash({k}) as hash, {k} as value from chunk where {k} is not null"
        for k in kinds
    )
    working.engine.execute(f"""
        create or replace temp table seen_value as
        select kind, hash, min(value) as value, max(value) as other from ({seen}) group by kind, hash
    """)
    clash = working.one("""
        select kind, seen_value.value from seen_value left join identifier using (kind, hash)
        where seen_value.value <> other or identifier.value <> seen_value.value limit 1
    """)
    if clash is not None:
        raise PortraitError(
            f"two {clash[0]} identifiers have the same 64-bit hash, one of them is {clash[1]}"
        )
    working.engine.execute("""
        insert into identifier
        select (select coalesce(max(code), -1) from identifier) + row_number() over (), kind, hash, value
        from seen_value anti join identifier using (kind, hash)
    """)


def _add(working: Working, entity: str, kinds: tuple[str, ...], track: bool) -> None:
    joins = " ".join(
        f"left join (select code, hash from identifier where kind = '{k}') as i_{k} on i_{k}.hash = hash(chunk.{k})"
        f" and chunk.{k} is not null"
        for k in kinds
    )
    codes = ", ".join(f"i_{k}.code as {k}" for k in kinds)
    working.engine.execute(f"""
        create or replace temp table coded as
        select chunk.day, chunk.batch, source || '{SEPARATOR}' || source_row_id as evidence, {codes} from chunk {joins}
    """)
    place = "day, batch, evidence"
    pairs = [
        f"select {place}, least({a}, {b}) as a, greatest({a}, {b}) as b from coded where {a} is not null and {b} is not null"
        for a, b in combinations(kinds, 2)
    ]
    for k in kinds:
        others = " and ".join(f"{o} is null" for o in kinds if o != k) or "true"
        pairs.append(f"select {place}, {k} as a, {k} as b from coded where {k} is not null and {others}")
    added_up = f"({' union all '.join(pairs)})"
    figures = "count(*)::integer as n, min(batch) as batch, min(evidence) as evidence"
    if not CONTRACTS[entity].partitioned:  # a row is replaced by its key, so it stays one
        added_up, figures = f"{added_up} as one", "1 as n, batch, evidence"
    grouping = "group by day, a, b" if CONTRACTS[entity].partitioned else ""
    working.engine.execute(f"""
        create or replace temp table met as select day, a, b, {figures} from {added_up} {grouping}
    """)
    working.engine.execute(f"insert into sighting select '{entity}', day, a, b, n, batch, evidence from met")
    if track:
        working.engine.execute("insert into changed select distinct a, b from met")
