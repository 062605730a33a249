"""The record in PostgreSQL: writing what a night changed, all of it in one transaction."""

from datetime import date, datetime

import pyarrow as pa

from portrait.identity.sightings import SEPARATOR
from portrait.identity.working import Working
from portrait.warehouse import Transaction

BATCH = 200_000
"""Rows handed to COPY at a time."""
EMPTY_FIRST = ("identifier", "edge_row", "assignment", "earlier_owner", "id_change", "cardinality_audit")


def clear(record: Transaction) -> None:
    """Forget everything that a rebuild makes anew; manual rules and the list of nights stay."""
    record.execute("truncate " + ", ".join(f"identity.{t}" for t in EMPTY_FIRST))


def write_identifiers(record: Transaction, working: Working) -> None:
    """Bring identity.identifier to the first and last days in the temporary table `seen`."""
    engine = working.engine
    fresh = engine.sql("""
        select code as identifier_id, kind, value, seen.first as first_seen, seen.last as last_seen
        from seen join identifier using (code) anti join recorded using (code)
    """).to_arrow_reader(BATCH)
    first = _is_empty(record, "identifier")
    if first:
        record.execute(
            "alter table identity.identifier drop constraint identifier_pkey, drop constraint identifier_number"
        )
    _append(record, "identifier", fresh)
    if first:
        record.execute("set local maintenance_work_mem = '512MB'")
        record.execute(
            "alter table identity.identifier add primary key (kind, value), "
            "add constraint identifier_number unique (identifier_id)"
        )
    moved = engine.sql("""
        select code as identifier_id, seen.first as first_seen, seen.last as last_seen
        from seen join recorded using (code) where (seen.first, seen.last) <> (recorded.first, recorded.last)
    """).to_arrow_table()
    if _stage(record, "moved", moved, "identifier_id integer, first_seen date, last_seen date"):
        record.execute("""
            update identity.identifier as i set first_seen = m.first_seen, last_seen = m.last_seen
            from moved as m where m.identifier_id = i.identifier_id
        """)
    engine.execute("""
        create or replace temp table newly as
        select code, first, last from seen except select code, first, last from recorded
    """)
    engine.execute("delete from recorded using newly where recorded.code = newly.code")
    engine.execute("insert into recorded select * from newly")


def drop_unseen(record: Transaction, working: Working) -> None:
    """Identifiers of the scope that no row shows any more go, but for those that once had a customer."""
    lost = working.engine.sql("""
        select code as identifier_id from recorded semi join scope using (code) anti join seen using (code)
    """).to_arrow_table()
    if _stage(record, "lost", lost, "identifier_id integer"):
        gone = record.rows("""
            delete from identity.identifier where identifier_id in (select identifier_id from lost)
            and not exists (select from identity.assignment as a where a.identifier_id = identifier.identifier_id)
            returning identifier_id
        """)
        listed = ", ".join(str(r["identifier_id"]) for r in gone) or "-1"
        working.engine.execute(f"delete from recorded where code in ({listed})")


def write_edges(record: Transaction, working: Working, everything: bool) -> None:
    """Bring identity.edge_row to `edge`: all of it, or what `fresh`, `gone` and the times of numbers say."""
    engine = working.engine
    engine.execute("""
        create or replace temp table ends_now as
        with over as (select code, until from time where until < date '9999-12-31')
        select a, b, entity, code, min(until) as until
        from (select a, b, entity, code, until from edge join over on over.code = edge.a where last < until and a <> b
              union all
              select a, b, entity, code, until from edge join over on over.code = edge.b where last < until and a <> b)
        group by a, b, entity, code
    """)
    # Of a pair one side may be decided on tonight, and the other side's times be as they were.
    engine.execute("""
        create or replace temp view link_end as
        select a, b, entity, min(until) as valid_to from ended group by a, b, entity
    """)
    columns = f"""
        a as identifier_a, b as identifier_b, entity as rule, first as first_seen, last as last_seen, n as sightings,
        split_part(evidence, '{SEPARATOR}', 1) as source, split_part(evidence, '{SEPARATOR}', 2) as source_row_id,
        valid_to
    """
    if everything:
        engine.execute("delete from ended")
        engine.execute("insert into ended select * from ends_now")
        rows = engine.sql(
            f"select {columns} from edge left join link_end using (a, b, entity) where a <> b order by a, b"
        ).to_arrow_reader(BATCH)
        record.execute("truncate identity.edge_row")
        record.execute("alter table identity.edge_row drop constraint edge_row_pkey")
        record.execute("drop index identity.edge_row_b")
        _append(record, "edge_row", rows)
        record.execute("set local maintenance_work_mem = '512MB'")
        record.execute("alter table identity.edge_row add primary key (identifier_a, identifier_b, rule)")
        record.execute("create index edge_row_b on identity.edge_row (identifier_b)")
        return
    decided = "select * from link_end where a in (select code from scope) or b in (select code from scope)"
    engine.execute(f"create or replace temp table link_end_before as {decided}")
    engine.execute("delete from ended where code in (select code from scope)")
    engine.execute("insert into ended select * from ends_now")
    engine.execute(f"""
        create or replace temp table turned as
        select a, b, entity from link_end_before as before full join ({decided}) as now using (a, b, entity)
        where before.valid_to is distinct from now.valid_to
    """)
    rows = engine.sql(f"""
        select {columns} from edge
        semi join (select a, b, entity from fresh union select a, b, entity from turned) as due using (a, b, entity)
        left join link_end using (a, b, entity) where a <> b
    """).to_arrow_table()
    gone = engine.sql(
        "select a as identifier_a, b as identifier_b, entity as rule from gone"
    ).to_arrow_table()
    if _stage(record, "lost_edge", gone, "identifier_a integer, identifier_b integer, rule text"):
        record.execute("""
            delete from identity.edge_row as e using lost_edge as o
            where (e.identifier_a, e.identifier_b, e.rule) = (o.identifier_a, o.identifier_b, o.rule)
        """)
    if _stage(record, "due_edge", rows, _EDGE_COLUMNS):
        for statement in _EDGE:
            record.execute(statement)


def write_assignment(record: Transaction, as_of: date, reassigned: pa.Table) -> None:
    """Make the assignments that began or ended on `as_of` those of tonight.

    `reassigned` has code, old_customer_id, new_customer_id: every identifier of tonight's scope whose customer is
    another one than the night before.
    """
    if _is_empty(record, "assignment"):
        rows = pa.table(
            {
                "identifier_id": reassigned["code"],
                "turn": pa.repeat(pa.scalar(1, pa.int16()), reassigned.num_rows),
                "customer_id": reassigned["new_customer_id"],
                "valid_from": pa.repeat(pa.scalar(as_of, pa.date32()), reassigned.num_rows),
            }
        ).filter(reassigned["new_customer_id"].is_valid())
        record.execute("drop index identity.assignment_customer")
        record.execute("alter table identity.assignment drop constraint earlier_turn_has_ended")
        rows = rows.sort_by("identifier_id")
        _append(record, "assignment", pa.RecordBatchReader.from_batches(rows.schema, rows.to_batches(BATCH)))
        record.execute("set local maintenance_work_mem = '512MB'")
        record.execute("create index assignment_customer on identity.assignment (customer_id)")
        record.execute(
            "alter table identity.assignment add constraint earlier_turn_has_ended "
            "foreign key (identifier_id, earlier_turn, earlier_closed) "
            "references identity.assignment (identifier_id, turn, closed)"
        )
        return
    _stage(record, "reassigned", reassigned, "code integer, old_customer_id text, new_customer_id text")
    for statement in _ASSIGNMENT:
        record.execute(statement, as_of=as_of)


def write_changes(record: Transaction, working: Working, as_of: date, changes: pa.Table) -> None:
    """Make the rows of `as_of` in identity.id_change, cardinality_audit and earlier_owner those of tonight."""
    if _is_empty(record, "id_change"):
        record.execute("alter table identity.id_change drop constraint id_change_pkey")
        record.execute("drop index identity.id_change_customer")
        day = pa.repeat(pa.scalar(as_of, pa.date32()), changes.num_rows)
        _append(record, "id_change", changes.add_column(0, "as_of", day))
        record.execute(
            "alter table identity.id_change add primary key (as_of, change, customer_id, other_customer_id)"
        )
        record.execute("create index id_change_customer on identity.id_change (customer_id)")
    else:
        _stage(record, "changed", changes, "change text, customer_id text, other_customer_id text")
        for statement in _ID_CHANGE:
            record.execute(statement, as_of=as_of)
    audit = working.engine.sql("""
        select kind, value, touched_kind, touched::bigint as touched, cap::bigint as cap, reason, evidence
        from audit join identifier using (code)
    """).to_arrow_table()
    _stage(
        record,
        "audited",
        audit,
        "kind text, value text, touched_kind text, touched bigint, cap bigint, reason text, evidence text",
    )
    for statement in _AUDIT:
        record.execute(statement, as_of=as_of)
    owners = working.engine.sql("""
        select code as identifier_id, customer_id, until as owned_until from former semi join scope using (code)
    """).to_arrow_table()
    codes = working.engine.sql("select code as identifier_id from scope").to_arrow_table()
    if _is_empty(record, "earlier_owner"):
        _append(record, "earlier_owner", owners)
        return
    _stage(record, "decided", codes, "identifier_id integer")
    _stage(record, "owner", owners, "identifier_id integer, customer_id text, owned_until date")
    for statement in _OWNER:
        record.execute(statement)


def write_night(record: Transaction, as_of: date, batch: int, ran_at: datetime | None, token: str) -> None:
    """Note the night; the token says which working state belongs to it."""
    moment = f"'{ran_at.isoformat()}'" if ran_at else "clock_timestamp()"
    record.execute(
        f"insert into identity.night (as_of, batch_id, ran_at, state) values ('{as_of}', {batch}, {moment}, '{token}') "
        "on conflict (as_of) do update set batch_id = excluded.batch_id, ran_at = excluded.ran_at, state = excluded.state"
    )


def _is_empty(record: Transaction, table: str) -> bool:
    return not record.rows(f"select 1 as x from identity.{table} limit 1")


def _append(record: Transaction, table: str, rows: pa.Table | pa.RecordBatchReader) -> None:
    if isinstance(rows, pa.RecordBatchReader) or rows.num_rows:
        record.copy_in(table, rows, schema="identity")


def _stage(record: Transaction, name: str, rows: pa.Table, columns: str) -> int:
    """Copy rows into a temporary table that goes with the transaction; gives how many."""
    record.execute(f"drop table if exists pg_temp.{name}")
    record.execute(f"create temporary table {name} ({columns}) on commit drop")
    if rows.num_rows:
        record.copy_in(name, rows)
        record.execute(f"analyze {name}")
    return int(rows.num_rows)


_EDGE_COLUMNS = """identifier_a integer, identifier_b integer, rule text, first_seen date, last_seen date,
    sightings integer, source text, source_row_id text, valid_to date"""

_EDGE = (
    """
    update identity.edge_row as e
    set first_seen = d.first_seen, last_seen = d.last_seen, sightings = d.sightings, source = d.source,
        source_row_id = d.source_row_id, valid_to = d.valid_to
    from due_edge as d
    where (e.identifier_a, e.identifier_b, e.rule) = (d.identifier_a, d.identifier_b, d.rule)
    """,
    """
    insert into identity.edge_row (identifier_a, identifier_b, rule, first_seen, last_seen, sightings, source,
                                   source_row_id, valid_to)
    select * from due_edge as d where not exists (
        select from identity.edge_row as e
        where (e.identifier_a, e.identifier_b, e.rule) = (d.identifier_a, d.identifier_b, d.rule))
    """,
)

_ASSIGNMENT = (
    # The first two undo what only an earlier attempt of this night opened or closed.
    """
    delete from identity.assignment as held
    where valid_from = cast(:as_of as date) and not exists (
        select from reassigned as new where (new.code, new.new_customer_id) = (held.identifier_id, held.customer_id))
    """,
    """
    update identity.assignment as held set valid_to = null
    where valid_to = cast(:as_of as date) and not exists (
        select from reassigned as new where (new.code, new.old_customer_id) = (held.identifier_id, held.customer_id))
    """,
    """
    update identity.assignment as held set valid_to = cast(:as_of as date)
    from reassigned as new
    where (new.code, new.old_customer_id) = (held.identifier_id, held.customer_id)
      and held.valid_to is null and held.valid_from < cast(:as_of as date)
    """,
    """
    insert into identity.assignment (identifier_id, turn, customer_id, valid_from)
    select new.code, coalesce(last.turn, 0) + 1, new_customer_id, cast(:as_of as date)
    from reassigned as new
    left join lateral (
        select turn, valid_from from identity.assignment as held
        where held.identifier_id = new.code order by turn desc limit 1
    ) as last on true
    where new_customer_id is not null and last.valid_from is distinct from cast(:as_of as date)
    order by new.code
    """,
)

_ID_CHANGE = (
    """
    delete from identity.id_change as old where as_of = cast(:as_of as date) and not exists (
        select from changed as new
        where (new.change, new.customer_id, new.other_customer_id)
            = (old.change, old.customer_id, old.other_customer_id))
    """,
    """
    insert into identity.id_change (as_of, change, customer_id, other_customer_id)
    select cast(:as_of as date), change, customer_id, other_customer_id from changed
    on conflict do nothing
    """,
)

_AUDIT = (
    # Only what is new, or has other figures than when it was last logged.
    """
    delete from audited using (
        select distinct on (kind, value, touched_kind, reason) kind, value, touched_kind, reason, touched, cap
        from identity.cardinality_audit where as_of < cast(:as_of as date)
        order by kind, value, touched_kind, reason, as_of desc
    ) as known
    where (audited.kind, audited.value, audited.touched_kind, audited.reason, audited.touched, audited.cap)
        = (known.kind, known.value, known.touched_kind, known.reason, known.touched, known.cap)
    """,
    """
    delete from identity.cardinality_audit as old where as_of = cast(:as_of as date) and not exists (
        select from audited as new
        where (new.kind, new.value, new.touched_kind, new.reason, new.touched, new.cap, new.evidence::jsonb)
            = (old.kind, old.value, old.touched_kind, old.reason, old.touched, old.cap, old.evidence))
    """,
    """
    insert into identity.cardinality_audit (as_of, kind, value, touched_kind, touched, cap, reason, evidence)
    select cast(:as_of as date), kind, value, touched_kind, touched, cap, reason, evidence::jsonb from audited
    on conflict do nothing
    """,
)

_OWNER = (
    """
    delete from identity.earlier_owner as old
    where identifier_id in (select identifier_id from decided) and not exists (
        select from owner as new where (new.identifier_id, new.customer_id, new.owned_until)
            = (old.identifier_id, old.customer_id, old.owned_until))
    """,
    "insert into identity.earlier_owner select * from owner on conflict do nothing",
)
