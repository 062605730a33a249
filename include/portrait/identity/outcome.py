"""Who is who tonight: components against last night's customers, and what that changes."""

from dataclasses import asdict, dataclass
from datetime import date

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from portrait.identity.components import Components, oldest
from portrait.identity.graph import Graph
from portrait.identity.ids import new_ids
from portrait.identity.matching import Matching, match
from portrait.identity.returning import returning
from portrait.identity.working import Working
from portrait.warehouse import Transaction

ID_CHANGE = pa.schema({"change": pa.string(), "customer_id": pa.string(), "other_customer_id": pa.string()})


@dataclass(frozen=True)
class IdentityResult:
    """Counts of a night.

    Attributes
    ----------
    identifiers : identifiers seen on or before `as_of`, demoted ones included.
    customers : customers that they make.
    new : customers none of whose identifiers had a customer before.
    merged : customers taken in by another one.
    split : customers that came out of another one.
    demoted : identifiers shared by too many to link anybody.
    """

    identifiers: int
    customers: int
    new: int
    merged: int
    split: int
    demoted: int

    def as_dict(self) -> dict[str, int]:
        return asdict(self)


@dataclass(frozen=True)
class Outcome:
    """What a night changes.

    Attributes
    ----------
    result : new, merged and split customers; the other counts are not known here.
    reassigned : code, old_customer_id, new_customer_id of every identifier whose customer is another one.
    changes : rows of identity.id_change, columns of `ID_CHANGE`.
    """

    result: IdentityResult
    reassigned: pa.Table
    changes: pa.Table


def match_to_customers(
    working: Working,
    record: Transaction,
    as_of: date,
    graph: Graph,
    found: Components,
    before: dict[int, str | None],
) -> Outcome:
    """Match the components to last night's customers; brings node, former and born up to date."""
    engine = working.engine
    _load_previous(working, as_of, before)
    rows = engine.sql("""
        select customer_id, coalesce(any_value(born), date '9999-12-31') - date '1970-01-01' as born
        from held left join born using (customer_id) group by customer_id order by customer_id
    """).to_arrow_table()
    customers: list[str] = rows["customer_id"].to_pylist()
    born = rows["born"].to_numpy().astype(np.int64)
    engine.register(
        "customer",
        pa.table({"customer_id": rows["customer_id"], "n": np.arange(len(customers), dtype=np.int32)}),
    )
    place = engine.execute("""
        select local.n as node, customer.n as customer
        from local join held using (code) join customer using (customer_id) where until = date '9999-12-31'
    """).fetchnumpy()
    previous = np.full(graph.size, -1, dtype=np.int32)
    previous[np.ma.getdata(place["node"])] = np.ma.getdata(place["customer"])

    origin, back = returning(record, as_of, graph.code, found.component, previous, customers)
    held_back = np.array([_born(working, c) for c in back], dtype=np.int64)
    matching = match(found.component, origin, graph.of_kind("card"), np.concatenate([born, held_back]))
    everyone = customers + list(back)
    fresh = matching.kept < 0
    founders = graph.code[oldest(found.component)[fresh]]
    table = _values(working, founders)
    made = new_ids(engine, table, lambda ids: _taken(working, ids, customers))
    names = pa.concat_arrays([pa.array(everyone, pa.string()), made])
    at = np.where(fresh, np.cumsum(fresh) - 1 + len(everyone), matching.kept)
    ids = names.take(pa.array(at))

    component = found.component
    node = pa.table(
        {
            "n": np.arange(graph.size, dtype=np.int32),
            "block": found.block,
            "demoted": graph.demoted,
            "customer_id": ids.take(pa.array(component, mask=component < 0)),
        }
    )
    engine.register("decided", node)
    engine.execute("""
        create or replace temp table outcome as
        select code, since, until, local.shared as demoted, block, customer_id from decided join local using (n)
    """)
    engine.unregister("decided")
    engine.unregister("customer")
    reassigned = engine.sql("""
        select code, held.customer_id as old_customer_id, now.customer_id as new_customer_id
        from held full join (
            select code, customer_id from outcome where until = date '9999-12-31' and customer_id is not null
        ) as now using (code)
        where held.customer_id is distinct from now.customer_id
    """).to_arrow_table()
    engine.execute("delete from node where code in (select code from scope)")
    engine.execute("""
        insert into node select code, demoted, block, customer_id from outcome where until = date '9999-12-31'
    """)
    engine.execute("delete from former where code in (select code from scope)")
    engine.execute("""
        insert into former select code, since, until, customer_id from outcome
        where until < date '9999-12-31' and customer_id is not null
    """)
    changes, result = _changes(matching, customers, back, ids)
    engine.register(
        "named",
        pa.table(
            {
                "customer_id": changes.filter(pc.is_in(changes["change"], pa.array(["new", "split"])))[
                    "customer_id"
                ]
            }
        ),
    )
    engine.execute(
        f"insert into born select customer_id, date '{as_of}' from named anti join born using (customer_id)"
    )
    engine.unregister("named")
    return Outcome(result, reassigned, changes)


def _changes(
    matching: Matching, customers: list[str], back: dict[str, str], ids: pa.Array
) -> tuple[pa.Table, IdentityResult]:
    """Tonight's rows of identity.id_change, and the counts that follow from them."""
    everyone = customers + list(back)
    here = len(customers)
    fresh = matching.kept < 0
    fresh[matching.split[:, 0]] = False
    new = ids.filter(pa.array(fresh))
    splits = [
        ("split", ids[c].as_py(), back.get(everyone[s], everyone[s])) for c, s in matching.split.tolist()
    ]
    splits += [
        ("split", everyone[k], back[everyone[k]]) for k in matching.kept[matching.kept >= here].tolist()
    ]
    merges = [("merge", everyone[a], everyone[b]) for a, b in matching.merged.tolist() if b < here]
    gone = [("retired", everyone[n], "") for n in matching.retired.tolist() if n < here]
    columns = list(zip(*(splits + merges + gone), strict=True)) or [(), (), ()]
    table = pa.concat_tables(
        [
            pa.table([pa.repeat("new", len(new)), new, pa.repeat("", len(new))], schema=ID_CHANGE),
            pa.table([pa.array(c, pa.string()) for c in columns], schema=ID_CHANGE),
        ]
    )
    return table, IdentityResult(0, 0, len(new), len(merges), len(splits), 0)


def _load_previous(working: Working, as_of: date, before: dict[int, str | None]) -> None:
    """The temporary table `held(code, customer_id)`: last night's customers of tonight's scope."""
    engine = working.engine
    engine.execute("""
        create or replace temp table held as
        select code, customer_id from node semi join scope using (code) where customer_id is not null
    """)
    if before:
        earlier = {
            "code": pa.array(list(before), pa.int32()),
            "customer_id": pa.array(list(before.values()), pa.string()),
        }
        engine.register("earlier", pa.table(earlier))
        engine.execute("delete from held where code in (select code from earlier)")
        engine.execute("insert into held select code, customer_id from earlier where customer_id is not null")
        engine.unregister("earlier")
        engine.execute(f"delete from born where born = date '{as_of}'")


def _values(working: Working, codes: np.ndarray) -> pa.Table:
    """kind, value of identifiers, in this order."""
    working.engine.register("wanted", pa.table({"code": codes, "place": np.arange(len(codes))}))
    found = working.engine.sql(
        "select kind, value from wanted join identifier using (code) order by place"
    ).to_arrow_table()
    working.engine.unregister("wanted")
    return found


def _taken(working: Working, ids: pa.Array, customers: list[str]) -> set[str]:
    """Which of these ids a customer has, or had until tonight."""
    working.engine.register("asked", pa.table({"customer_id": ids}))
    rows = working.engine.execute(
        "select distinct customer_id from node semi join asked using (customer_id) anti join scope using (code)"
    ).fetchall()
    working.engine.unregister("asked")
    again = ids.filter(pc.is_in(ids, value_set=pa.array(customers, pa.string())))
    return {r[0] for r in rows} | set(again.to_pylist())


def _born(working: Working, customer: str) -> int:
    row = working.one("select min(born) - date '1970-01-01' from born where customer_id = ?", [customer])
    return int(row[0]) if row and row[0] is not None else np.iinfo(np.int64).max
