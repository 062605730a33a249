"""Probable duplicates that share no identifier, found with Splink and queued for people (docs/review.md).

Nothing merges by itself unless `auto_link_from` says so. What members typed is opened in memory and written nowhere.
"""

import hashlib
import json
import logging
from dataclasses import asdict, dataclass
from typing import Any

import pyarrow as pa
from sqlalchemy import text

from portrait.config import Settings
from portrait.identity.review import decide
from portrait.identity.rules import MUST
from portrait.identity.suggest_input import read_records
from portrait.identity.suggest_model import Scored, score
from portrait.run import Run
from portrait.warehouse import Transaction, Warehouse, open_warehouse

log = logging.getLogger(__name__)

LOCK = 7_203_120
"""Advisory lock: one suggestion at a time."""
AUTHOR = "splink"

SUGGESTED = pa.schema(
    {
        "customer_a": pa.string(),
        "customer_b": pa.string(),
        "source_a": pa.string(),
        "source_row_id_a": pa.string(),
        "kind_a": pa.string(),
        "value_a": pa.string(),
        "source_b": pa.string(),
        "source_row_id_b": pa.string(),
        "kind_b": pa.string(),
        "value_b": pa.string(),
        "match_weight": pa.float64(),
        "match_probability": pa.float64(),
        "waterfall": pa.string(),
        "evidence": pa.string(),
    }
)
_COLUMNS = ", ".join(SUGGESTED.names)
_OF_RECORD = ("source", "source_row_id", "kind", "value")


@dataclass(frozen=True)
class Suggestions:
    """Counts of a night.

    Attributes
    ----------
    records : member records that were compared.
    likely : pairs of customers above `review_from`, decided ones included.
    new : pairs put in the queue, or put back because their evidence changed.
    closed : open pairs with nothing to decide any more.
    linked : pairs that `auto_link_from` linked.
    open : pairs that wait for a person afterwards.
    trained : whether the model was trained on these records; else the default model was used.
    """

    records: int
    likely: int
    new: int
    closed: int
    linked: int
    open: int
    trained: bool

    def as_dict(self) -> dict[str, int | bool]:
        return asdict(self)


def suggest(settings: Settings, run: Run) -> Suggestions:
    """Bring `identity.review_queue` up to date with the customers that the night resolved; a rerun changes nothing.

    A run for a date before the latest resolved night leaves the queue as it is.
    """
    review = settings.identity.review
    warehouse = open_warehouse(settings)
    with warehouse.begin() as guard:
        guard.execute(text("select pg_advisory_xact_lock(:k)"), {"k": LOCK})
        latest = warehouse.scalar("select max(as_of) from identity.night")
        if latest is not None and run.as_of < latest:
            log.info("%s: customers are those of %s, the queue stays as it is", run.run_id, latest)
            return Suggestions(0, 0, 0, 0, 0, _open(warehouse), False)
        records = read_records(warehouse, settings, run.as_of)
        scored = score(records, review, settings.models.threads, settings.features.memory_limit)
        suggested = _suggested(records, scored)
        del records
        with warehouse.transaction() as record:
            new, closed = _write(record, suggested, run)
        linked = _link(settings, warehouse, review.auto_link_from)
        result = Suggestions(
            records=scored.records if scored else 0,
            likely=suggested.num_rows,
            new=new,
            closed=closed,
            linked=linked,
            open=_open(warehouse),
            trained=bool(scored and scored.trained),
        )
    log.info("%s: %s", run.run_id, result.as_dict())
    return result


def _suggested(records: pa.Table, scored: Scored | None) -> pa.Table:
    """The pairs with where they come from (`SUGGESTED`): keys, levels and weights, no value in clear."""
    if scored is None or not scored.pairs.num_rows:
        return SUGGESTED.empty_table()
    pairs = scored.pairs.to_pylist()
    places = sorted({row[f"place_{side}"] for row in pairs for side in "lr"})
    at = {
        r["place"]: r
        for r in records.take(pa.array(places)).select(["place", "customer_id", *_OF_RECORD]).to_pylist()
    }
    prints = _prints(records, {r["customer_id"] for r in at.values()})
    rows: list[dict[str, Any]] = []
    for pair in pairs:
        a, b = sorted((at[pair["place_l"]], at[pair["place_r"]]), key=lambda r: r["customer_id"])
        waterfall = scored.waterfall(pair)
        weight = round(sum(step["weight"] for step in waterfall), 3)
        both = sorted(prints[a["customer_id"]] + prints[b["customer_id"]])
        rows.append(
            {
                "customer_a": a["customer_id"],
                "customer_b": b["customer_id"],
                **{f"{name}_{side}": r[name] for side, r in (("a", a), ("b", b)) for name in _OF_RECORD},
                "match_weight": weight,
                "match_probability": round(1 / (1 + 2**-weight), 6),
                "waterfall": json.dumps(waterfall),
                "evidence": hashlib.sha256("".join(both).encode()).hexdigest(),
            }
        )
    return pa.Table.from_pylist(rows, SUGGESTED)


def _prints(records: pa.Table, customers: set[str]) -> dict[str, list[str]]:
    """The keyed fingerprints of all records of these customers."""
    found: dict[str, list[str]] = {customer: [] for customer in customers}
    for row in records.select(["customer_id", "print"]).to_pylist():
        if row["customer_id"] in found:
            found[row["customer_id"]].append(row["print"])
    return found


# Rules between two customers whom somebody has decided on, in whatever way.
_RULED = """
    select least(a.customer_id, b.customer_id) as customer_a, greatest(a.customer_id, b.customer_id) as customer_b,
        rule_id
    from identity.manual_rule as rule
    join identity.customer_identifier as a on a.kind = rule.kind_a
        and a.value collate "C" = rule.value_a collate "C" and a.valid_to is null
    join identity.customer_identifier as b on b.kind = rule.kind_b
        and b.value collate "C" = rule.value_b collate "C" and b.valid_to is null
    where revoked_at is null
"""
_DECIDED = """
    delete from suggested where exists (
        select from identity.review_queue as decided
        where (decided.customer_a, decided.customer_b, decided.evidence)
            = (suggested.customer_a, suggested.customer_b, suggested.evidence)
            and decided.status in ('accepted', 'rejected'))
    or exists (
        select from ruled where (ruled.customer_a, ruled.customer_b) = (suggested.customer_a, suggested.customer_b)
            and not exists (
                -- rejected here, and the records say something else by now
                select from identity.review_queue as decided
                where decided.rule_id = ruled.rule_id and decided.status = 'rejected'
                    and (decided.customer_a, decided.customer_b) = (suggested.customer_a, suggested.customer_b)
                    and decided.evidence <> suggested.evidence))
"""
_CLOSE = """
    update identity.review_queue as queue
    set status = 'closed', decided_by = 'portrait', decided_at = now(), reason = case
        when exists (
            select from identity.customer_identifier as a join identity.customer_identifier as b using (customer_id)
            where (a.kind, a.value) = (queue.kind_a, queue.value_a) and a.valid_to is null
                and (b.kind, b.value) = (queue.kind_b, queue.value_b) and b.valid_to is null
        ) then 'they are one customer by now'
        when exists (
            select from ruled where (ruled.customer_a, ruled.customer_b) = (queue.customer_a, queue.customer_b)
        ) then 'a manual rule decides'
        when exists (
            select from suggested
            where (suggested.customer_a, suggested.customer_b) = (queue.customer_a, queue.customer_b)
        ) then 'their records have changed: suggested anew'
        else 'not likely any more' end
    where status = 'open' and not exists (
        select from suggested where (suggested.customer_a, suggested.customer_b, suggested.evidence)
            = (queue.customer_a, queue.customer_b, queue.evidence))
    returning review_id
"""
_QUEUE = f"""
    insert into identity.review_queue as queue ({_COLUMNS}, suggested_on)
    select {_COLUMNS.replace("waterfall", "waterfall::jsonb")}, :as_of from suggested
    order by match_weight desc, customer_a, customer_b
    on conflict (customer_a, customer_b, evidence) do update
        set ({", ".join(SUGGESTED.names[2:-1])}) = ({", ".join(f"excluded.{c}" for c in SUGGESTED.names[2:-1])}),
            suggested_on = case when queue.status = 'open' then queue.suggested_on else excluded.suggested_on end,
            status = 'open', decided_by = null, decided_at = null, reason = null
        where queue.status = 'closed' or queue.status = 'open' and queue.waterfall <> excluded.waterfall
    returning (select count(*) from identity.review_queue as before
        where before.review_id = queue.review_id and before.status = 'open') = 0 as is_new
"""


def _write(record: Transaction, suggested: pa.Table, run: Run) -> tuple[int, int]:
    """Close what is settled, then queue what nobody has decided; gives how many are new and closed."""
    types = {"double": "double precision", "string": 'text collate "C"'}
    columns = ", ".join(f"{f.name} {types[str(f.type)]}" for f in SUGGESTED)
    record.execute(f"create temporary table suggested ({columns}) on commit drop")
    if suggested.num_rows:
        record.copy_in("suggested", suggested)
    record.execute(f"create temporary table ruled on commit drop as {_RULED}")
    record.execute(_DECIDED)
    closed = record.rows(_CLOSE)
    queued = record.rows(_QUEUE, as_of=run.as_of)
    return sum(row["is_new"] for row in queued), len(closed)


def _link(settings: Settings, warehouse: Warehouse, weight: float | None) -> int:
    """Link what is likely enough; what a person has rejected once stays with people."""
    if weight is None:
        return 0
    rows = warehouse.rows(
        """
        select review_id, match_weight from identity.review_queue as queue
        where status = 'open' and match_weight >= :w and not exists (
            select from identity.review_queue as earlier where earlier.status = 'rejected'
                and (earlier.customer_a, earlier.customer_b) = (queue.customer_a, queue.customer_b))
        order by review_id
        """,
        w=weight,
    )
    for row in rows:
        reason = f"match weight {row['match_weight']:.1f}, auto_link_from is {weight:g}"
        decide(settings, row["review_id"], MUST, AUTHOR, reason)
    return len(rows)


def _open(warehouse: Warehouse) -> int:
    return int(warehouse.scalar("select count(*) from identity.review_queue where status = 'open'"))
