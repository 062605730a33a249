"""How much of the graph a night must decide again: what changed, and whatever the decision may depend on."""

from datetime import date

import pyarrow as pa

from portrait.identity.rules import Rule
from portrait.identity.working import Working
from portrait.warehouse import Transaction


def seed_everything(working: Working) -> None:
    """Leave the temporary table `seed(code)` with every identifier that was seen or had a customer."""
    working.engine.execute("""
        create or replace temp table seed as
        select a as code from edge union select b from edge union select code from node
    """)


def seed_changes(working: Working, rules: list[Rule], known: list[Rule], again: list[int]) -> None:
    """Leave `seed(code)`: ends of edges that changed, of rules that came or went, and `again`."""
    engine = working.engine
    engine.execute("""
        create or replace temp table seed as
        select a as code from fresh union select b from fresh union select a from gone union select b from gone
    """)
    ends = {
        end
        for rule in set(rules) ^ set(known)
        for end in ((rule.kind_a, rule.value_a), (rule.kind_b, rule.value_b))
    }
    for kind, value in sorted(ends):
        engine.execute(
            "insert into seed select code from identifier where kind = ? and value = ?", [kind, value]
        )
    if again:
        engine.execute(f"insert into seed select unnest({again})")
        engine.execute("create or replace temp table seed as select distinct code from seed")


def decided_on(record: Transaction, working: Working, as_of: date) -> tuple[dict[int, str | None], list[int]]:
    """What an earlier attempt of the same night decided, to be decided again.

    Returns
    -------
    The customer that each identifier it changed had the night before, and all identifiers to look at again.
    """
    before: dict[int, str | None] = {}
    touched = {""}
    for row in record.rows(
        f"select identifier_id, customer_id, valid_to from identity.assignment "
        f"where valid_from = '{as_of}' or valid_to = '{as_of}' order by identifier_id, turn"
    ):
        ended = row["valid_to"] == as_of
        before[row["identifier_id"]] = row["customer_id"] if ended else before.get(row["identifier_id"])
        touched.add(row["customer_id"])
    logged = record.rows(
        f"select identifier_id from identity.cardinality_audit join identity.identifier using (kind, value) where as_of = '{as_of}'"
    )
    working.engine.register("touched", pa.table({"customer_id": sorted(touched)}))
    same = working.engine.execute("select code from node semi join touched using (customer_id)").fetchall()
    working.engine.unregister("touched")
    again = {*before, *(r["identifier_id"] for r in logged), *(code for (code,) in same)}
    return before, sorted(again)


def widen(working: Working) -> None:
    """Leave `scope(code)`: `seed` and the whole blocks that it touches.

    A value that linked nobody and does now joins the blocks of all it met; so `demotion` must be known.
    """
    working.engine.execute("""
        create or replace temp table touched_block as
        select distinct block from node
        where block >= 0 and (code in (select code from seed) or code in (
            select case when edge.a = freed.code then edge.b else edge.a end
            from edge join (
                select code from node semi join seed using (code)
                where demoted and code not in (select code from demotion) and code not in (select code from blocked)
            ) as freed on edge.a = freed.code or edge.b = freed.code))
    """)
    working.engine.execute("""
        create or replace temp table scope as
        select code from seed union select code from node where block in (select block from touched_block)
    """)
