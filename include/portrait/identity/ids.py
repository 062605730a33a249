"""New customer ids: `C` and 16 hex digits of SHA-256 of the customer's oldest identifier."""

import hashlib

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from portrait.identity.graph import Graph


def new_ids(
    engine: duckdb.DuckDBPyConnection, graph: Graph, founders: np.ndarray, taken: pa.Array
) -> pa.Array:
    """An id for each component, from the code of its oldest identifier; oldest component first.

    The same identifier gives the same id on every machine. An id that another customer holds (the part of a
    split that the id did not stay with) is salted with a running number until it is free.
    """
    table = graph.table.take(pa.array(founders, pa.int64()))
    engine.register("founder", table.append_column("n", pa.array(np.arange(len(founders)))))
    made = engine.sql("""
        select id, row_number() over (partition by id order by n) > 1 as repeated
        from (select n, 'C' || substr(sha256(kind || ':' || value), 1, 16) as id from founder)
        order by n
    """).to_arrow_table()
    engine.unregister("founder")
    ids = made["id"].combine_chunks()
    clash = np.flatnonzero(made["repeated"].to_numpy() | pc.is_in(ids, value_set=taken).to_numpy(False))
    if not len(clash):
        return ids
    final = ids.to_pylist()
    used = set(final) | set(taken.to_pylist())
    for n in clash:
        founder = table.slice(int(n), 1).to_pylist()[0]
        final[n] = _salted(founder["kind"], founder["value"], used)
        used.add(final[n])
    return pa.array(final, pa.string())


def _salted(kind: str, value: str, used: set[str]) -> str:
    salt = 1
    while True:
        digest = hashlib.sha256(f"{kind}:{value}#{salt}".encode()).hexdigest()
        if (found := f"C{digest[:16]}") not in used:
            return found
        salt += 1
