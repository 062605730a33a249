"""Sightings of all dates added up to edges, for the pairs that changed."""

from datetime import date

from portrait.identity.working import Working

_EDGES = """
    select a, b, entity, min(day) as first, max(day) as last, sum(n)::integer as n,
           arg_min(evidence, ((day - date '1970-01-01')::bigint << 32) | (hash(evidence) & 4294967295)::bigint) as evidence
    from sighting where day <= '{as_of}' and batch <= {batch}
"""
# Of the rows of the first day one is the evidence, chosen by a hash: the same one every time.


def update_edges(working: Working, as_of: date, last_as_of: date | None, batch: int, last_batch: int) -> None:
    """Bring `edge` to what was seen up to `as_of` in batches up to `batch`.

    `last_as_of`, `last_batch`: the same of the night before; without a date everything is added up.

    Leaves the temporary tables `fresh` (edges that are new or have other figures) and `gone` (a, b, entity); both are
    empty where everything was added up.
    """
    engine = working.engine
    query = _EDGES.format(as_of=as_of, batch=batch)
    if last_as_of is None:
        engine.execute("delete from edge")
        engine.execute(f"insert into edge {query} group by a, b, entity")
        engine.execute("create or replace temp table fresh as select * from edge limit 0")
        engine.execute("create or replace temp table gone (a integer, b integer, entity varchar)")
        return
    engine.execute(f"""
        insert into changed select distinct a, b from sighting
        where day <= '{as_of}' and (day > '{last_as_of}' or (batch > {last_batch} and batch <= {batch}))
    """)
    engine.execute("create or replace temp table pair as select distinct a, b from changed")
    engine.execute(
        f"create or replace temp table now as {query} and (a, b) in (select a, b from pair) group by a, b, entity"
    )
    engine.execute("create or replace temp table before as select * from edge semi join pair using (a, b)")
    engine.execute("create or replace temp table fresh as select * from now except select * from before")
    engine.execute("""
        create or replace temp table gone as
        select a, b, entity from before anti join now using (a, b, entity)
    """)
    engine.execute("""
        delete from edge using (select a, b, entity from fresh union all select a, b, entity from gone) as old
        where (edge.a, edge.b, edge.entity) = (old.a, old.b, old.entity)
    """)
    engine.execute("insert into edge select * from fresh")
