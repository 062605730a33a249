"""New customer ids: `C` and 16 hex digits of SHA-256 of the customer's oldest identifier."""

import hashlib
from collections.abc import Callable

import duckdb
import pyarrow as pa


def new_ids(
    engine: duckdb.DuckDBPyConnection, founders: pa.Table, taken: Callable[[list[str]], set[str]]
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
    engine.register("founder", founders.append_column("n", pa.array(range(founders.num_rows), pa.int64())))
    made = engine.sql("""
        select id, row_number() over (partition by id order by n) > 1 as repeated
        from (select n, 'C' || substr(sha256(kind || ':' || value), 1, 16) as id from founder)
        order by n
    """).to_arrow_table()
    engine.unregister("founder")
    ids = made["id"].to_pylist()
    held = taken(ids)
    clashes = [n for n, repeated in enumerate(made["repeated"].to_pylist()) if repeated or ids[n] in held]
    if not clashes:
        return pa.array(ids, pa.string())
    used = set(ids) | held
    for n in clashes:
        founder = founders.slice(n, 1).to_pylist()[0]
        ids[n] = _salted(founder["kind"], founder["value"], used, taken)
        used.add(ids[n])
    return pa.array(ids, pa.string())


def _salted(kind: str, value: str, used: set[str], taken: Callable[[list[str]], set[str]]) -> str:
    salt = 1
    while True:
        found = f"C{hashlib.sha256(f'{kind}:{value}#{salt}'.encode()).hexdigest()[:16]}"
        if found not in used and not taken([found]):
            return found
        salt += 1
