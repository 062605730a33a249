"""New customer ids: `C` and 16 hex digits of SHA-256 of the customer's oldest identifier."""

import hashlib
from collections.abc import Callable

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc


def new_ids(
    engine: duckdb.DuckDBPyConnection, founders: pa.Table, taken: Callable[[pa.Array], set[str]]
) -> pa.Array:
    """An id for each component, from its oldest identifier.

    The same identifier gives the same id on every machine. An id that another customer holds (the part of a
    split that the id did not stay with) is salted with a running number until it is free.

    Parameters
    ----------
    founders : kind, value of the oldest identifier of each component; oldest component first.
    taken : which of these ids a customer holds.
    """
    if not founders.num_rows:
        return pa.array([], pa.string())
    engine.register("founder", founders.append_column("n", pa.array(np.arange(founders.num_rows))))
    made = engine.sql("""
        select id, row_number() over (partition by id order by n) > 1 as repeated
        from (select n, 'C' || substr(sha256(kind || ':' || value), 1, 16) as id from founder)
        order by n
    """).to_arrow_table()
    engine.unregister("founder")
    ids = made["id"].combine_chunks()
    held = taken(ids)
    clash = pc.or_(
        made["repeated"].combine_chunks(), pc.is_in(ids, value_set=pa.array(sorted(held), pa.string()))
    )
    clashes = pc.indices_nonzero(clash).to_pylist()
    if not clashes:
        return ids
    final = ids.to_pylist()
    used = set(final) | held
    for n in clashes:
        founder = founders.slice(n, 1).to_pylist()[0]
        final[n] = _salted(founder["kind"], founder["value"], used, taken)
        used.add(final[n])
    return pa.array(final, pa.string())


def _salted(kind: str, value: str, used: set[str], taken: Callable[[pa.Array], set[str]]) -> str:
    salt = 1
    while True:
        found = f"C{hashlib.sha256(f'{kind}:{value}#{salt}'.encode()).hexdigest()[:16]}"
        if found not in used and not taken(pa.array([found])):
            return found
        salt += 1
