"""Last night's assignment in `identity.customer_identifier`, and writing tonight's over it.

A night is a function of the night before and of what has been seen: its assignment is always matched to the
rows that were valid before `as_of`, never to what an earlier attempt of the same night wrote. A second
attempt therefore ends with the same rows as a first one.
"""

from dataclasses import dataclass
from datetime import date

import duckdb
import numpy as np
import pyarrow as pa
from sqlalchemy import Connection, text

from portrait.identity.graph import Graph
from portrait.warehouse import Warehouse

REASSIGNED = pa.schema(
    {
        "kind": pa.string(),
        "value": pa.string(),
        "old_customer_id": pa.string(),
        "new_customer_id": pa.string(),
    }
)
ID_CHANGE = pa.schema({"change": pa.string(), "customer_id": pa.string(), "other_customer_id": pa.string()})


@dataclass(frozen=True)
class Previous:
    """The assignment of the night before.

    Attributes
    ----------
    customers : ids, sorted; the other arrays refer to positions in it.
    born : int64 [customers], day number on which the id was first given.
    of : int32 [n], customer of each identifier of the graph, -1 for none.
    gone : assignments whose identifier is no longer in the graph, columns of `REASSIGNED`.
    """

    customers: pa.Array
    born: np.ndarray
    of: np.ndarray
    gone: pa.Table


def load_previous(
    engine: duckdb.DuckDBPyConnection, warehouse: Warehouse, graph: Graph, as_of: date
) -> Previous:
    """The assignment that held before `as_of`; `engine` holds the table `identifier` of the graph."""
    valid = f"valid_from < '{as_of}' and (valid_to is null or valid_to >= '{as_of}')"
    with warehouse.arrow_reader(
        f"select kind, value, customer_id from identity.customer_identifier where {valid}"
    ) as rows:
        engine.register("rows", rows)
        engine.execute("create or replace table held as select * from rows")
        engine.unregister("rows")
    with warehouse.arrow_reader(
        f"select customer_id, min(valid_from) as born from identity.customer_identifier "
        f"where valid_from < '{as_of}' group by customer_id"
    ) as births:
        engine.register("births", births)
        engine.execute("""
            create or replace table customer as
            select (row_number() over (order by customer_id) - 1)::integer as number, customer_id, born
            from births semi join held using (customer_id)
        """)
        engine.unregister("births")
    customers = engine.sql(
        "select customer_id, born - date '1970-01-01' as born from customer order by number"
    ).to_arrow_table()
    found = engine.sql("""
        select identifier.code, customer.number
        from held join identifier using (kind, value) join customer using (customer_id)
    """).fetchnumpy()
    of = np.full(graph.size, -1, dtype=np.int32)
    of[np.ma.getdata(found["code"])] = np.ma.getdata(found["number"])
    gone = engine.sql("""
        select kind, value, customer_id as old_customer_id, null::varchar as new_customer_id
        from held anti join identifier using (kind, value) order by kind, value
    """).to_arrow_table()
    return Previous(
        customers["customer_id"].combine_chunks(),
        customers["born"].to_numpy().astype(np.int64),
        of,
        gone.cast(REASSIGNED),
    )


def latest_state(connection: Connection) -> date | None:
    """The latest business date that changed the recorded state."""
    found: date | None = connection.execute(
        text("""
        select greatest((select max(valid_from) from identity.customer_identifier),
                        (select max(valid_to) from identity.customer_identifier),
                        (select max(as_of) from identity.id_change),
                        (select max(as_of) from identity.cardinality_audit))
        """)
    ).scalar()
    return found


def write_state(
    connection: Connection,
    warehouse: Warehouse,
    as_of: date,
    reassigned: pa.Table,
    id_changes: pa.Table,
    audit: pa.Table,
) -> None:
    """Make the rows of `as_of` those of tonight, in the transaction of `connection`.

    The rows travel by COPY through unlogged tables in `staging`, which other transactions may see.
    """
    staged = {"identity_reassigned": reassigned, "identity_id_change": id_changes, "identity_audit": audit}
    for name, rows in staged.items():
        columns = ", ".join(
            f"{f.name} {'bigint' if pa.types.is_integer(f.type) else 'text'}" for f in rows.schema
        )
        with warehouse.begin() as separate:
            separate.execute(text(f"drop table if exists staging.{name}"))
            separate.execute(text(f"create unlogged table staging.{name} ({columns})"))
        if rows.num_rows:
            warehouse.copy_in("staging", name, rows)
    connection.execute(text("set local work_mem = '256MB'"))
    for name in staged:
        connection.execute(text(f"analyze staging.{name}"))
    for statement in (*_ASSIGNMENT, *_ID_CHANGE, *_AUDIT):
        connection.execute(text(statement), {"as_of": as_of})
    for name in staged:
        connection.execute(text(f"drop table staging.{name}"))


_ASSIGNMENT = (
    # The first two undo what only an earlier attempt of this night opened or closed.
    """
    delete from identity.customer_identifier as held
    where valid_from = :as_of and not exists (
        select from staging.identity_reassigned as new
        where (new.kind, new.value, new.new_customer_id) = (held.kind, held.value, held.customer_id))
    """,
    """
    update identity.customer_identifier as held set valid_to = null
    where valid_to = :as_of and not exists (
        select from staging.identity_reassigned as new
        where (new.kind, new.value, new.old_customer_id) = (held.kind, held.value, held.customer_id))
    """,
    """
    update identity.customer_identifier as held set valid_to = :as_of
    from staging.identity_reassigned as new
    where (new.kind, new.value, new.old_customer_id) = (held.kind, held.value, held.customer_id)
      and held.valid_to is null and held.valid_from < :as_of
    """,
    """
    insert into identity.customer_identifier (kind, value, customer_id, valid_from)
    select kind, value, new_customer_id, :as_of from staging.identity_reassigned as new
    where new_customer_id is not null and not exists (
        select from identity.customer_identifier as held
        where (held.kind, held.value, held.valid_from) = (new.kind, new.value, :as_of))
    order by kind, value
    """,
)

_ID_CHANGE = (
    """
    delete from identity.id_change as old where as_of = :as_of and not exists (
        select from staging.identity_id_change as new
        where (new.change, new.customer_id, new.other_customer_id)
            = (old.change, old.customer_id, old.other_customer_id))
    """,
    """
    insert into identity.id_change (as_of, change, customer_id, other_customer_id)
    select :as_of, change, customer_id, other_customer_id from staging.identity_id_change
    on conflict do nothing
    """,
)

_AUDIT = (
    "delete from identity.cardinality_audit where as_of = :as_of",
    """
    insert into identity.cardinality_audit (as_of, kind, value, touched_kind, touched, cap)
    select :as_of, kind, value, touched_kind, touched, cap from staging.identity_audit
    """,
)
