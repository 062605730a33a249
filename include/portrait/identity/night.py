"""One night's decision: from the edges to who is whose, and what that changes in the record."""

import logging
import time
from dataclasses import asdict, dataclass, replace
from datetime import date, datetime

import numpy as np

from portrait.config import Settings
from portrait.identity import record as write
from portrait.identity.audit import collect_cuts
from portrait.identity.blocked import blocked_values
from portrait.identity.caps import find_demoted
from portrait.identity.components import Manual, components
from portrait.identity.edges import update_edges
from portrait.identity.graph import Graph, load_graph
from portrait.identity.outcome import IdentityResult, match_to_customers
from portrait.identity.rules import MUST, Rule, rules_at
from portrait.identity.scope import decided_on, seed_changes, seed_everything, widen
from portrait.identity.working import Working
from portrait.warehouse import Transaction

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Night:
    """What a night may know.

    Attributes
    ----------
    as_of : nothing dated later counts.
    batch : nor rows of later batches.
    ran_at : manual rules of that moment count; None for now.
    written : whether the record follows; a night before the latest one leaves it alone.
    """

    as_of: date
    batch: int
    ran_at: datetime | None = None
    written: bool = True


def decide(
    working: Working, record: Transaction, settings: Settings, night: Night, everything: bool
) -> IdentityResult:
    """Bring the working state, and the record if the night is written, to the end of the night.

    Parameters
    ----------
    everything : decide everything again, not only what changed since the last night.
    """
    clock = _Clock()
    config, engine = settings.identity, working.engine
    last = date.fromisoformat(d) if (d := working.get("as_of")) else None
    rules = rules_at(record, night.ran_at)
    known = [Rule(*r) for r in working.get("rules") or []]
    setting = config.model_dump_json(exclude={"review"})
    all_edges = last is None or last > night.as_of
    everything = everything or all_edges or working.get("config") != setting
    update_edges(working, night.as_of, None if all_edges else last, night.batch, working.get("batch") or 0)
    clock.lap("edges")
    before, again = (
        decided_on(record, working, night.as_of) if last == night.as_of and not all_edges else ({}, [])
    )
    if everything:
        seed_everything(working)
    else:
        seed_changes(working, rules, known, again)
    engine.register("stored", blocked_values(settings))
    engine.execute(
        "create or replace temp table blocked as select code from identifier semi join stored using (kind, value)"
    )
    engine.unregister("stored")
    find_demoted(working, config)
    engine.execute("delete from demotion where code in (select code from blocked)")
    if everything:
        engine.execute("create or replace temp table scope as select code from seed")
    else:
        widen(working)
    clock.lap("scope")
    graph = load_graph(working, config)
    clock.lap("graph")
    found = components(graph, _manual(working, graph, rules), config)
    clock.lap("components")
    outcome = match_to_customers(working, record, night.as_of, graph, found, before)
    clock.lap("matching")
    collect_cuts(working, graph, found.cuts)
    if night.written:
        write.write_identifiers(record, working)
        write.drop_unseen(record, working)
        clock.lap("identifiers")
        write.write_edges(record, working, everything)
        clock.lap("edges written")
        write.write_assignment(record, night.as_of, outcome.reassigned)
        write.write_changes(record, working, night.as_of, outcome.changes)
        clock.lap("assignment written")
    else:
        engine.execute("delete from recorded")
        engine.execute("insert into recorded select code, first, last from seen")
    working.put("as_of", str(night.as_of))
    working.put("batch", night.batch)
    working.put("config", setting)
    working.put("rules", [list(asdict(r).values()) for r in rules])
    log.info(
        "%s: %d of %d identifiers decided: %s", night.as_of, graph.size, working.count("recorded"), clock
    )
    row = working.one("select count(distinct customer_id), count(*) filter (where demoted) from node")
    assert row is not None
    return replace(outcome.result, identifiers=working.count("recorded"), customers=row[0], demoted=row[1])


def _manual(working: Working, graph: Graph, rules: list[Rule]) -> Manual:
    """The rules as pairs of nodes; rules about what was never seen wait."""
    pairs: dict[str, list[tuple[int, int]]] = {"must_link": [], "cannot_link": []}
    for rule in rules:
        found = working.one(
            """
            select x.n, y.n
            from (select n from local join identifier using (code)
                  where kind = ? and value = ? and until = date '9999-12-31') as x,
                 (select n from local join identifier using (code)
                  where kind = ? and value = ? and until = date '9999-12-31') as y
            """,
            [rule.kind_a, rule.value_a, rule.kind_b, rule.value_b],
        )
        if found:
            pairs[rule.kind].append((found[0], found[1]))
    must, cannot = (np.array(pairs[k], dtype=np.int32).reshape(-1, 2) for k in (MUST, "cannot_link"))
    return Manual(must, cannot)


class _Clock:
    """Seconds of each step, for the log."""

    def __init__(self) -> None:
        self._at = time.monotonic()
        self._laps: list[str] = []

    def lap(self, name: str) -> None:
        now = time.monotonic()
        self._laps.append(f"{name} {now - self._at:.1f} s")
        self._at = now

    def __str__(self) -> str:
        return ", ".join(self._laps)
