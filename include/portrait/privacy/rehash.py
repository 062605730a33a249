"""Giving identifiers the hash of a new key, everywhere in the database in one transaction: no view sees half of it."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, text

from portrait.identity.kinds import kinds_of
from portrait.privacy.places import RAW_ENTITIES

_PAIRS = "unnest(cast(:old as text[]), cast(:new as text[])) as pair (old, new)"


@dataclass(frozen=True)
class Renewed:
    """A hash and what takes its place."""

    old: str
    new: str


def rehash(connection: Connection, kind: str, renewed: Sequence[Renewed], batches: dict[str, int]) -> int:
    """Rewrite these identifiers of a kind in `raw`, `identity` and what was asked about them; gives the rows of `raw`.

    Parameters
    ----------
    batches : raw table -> batch of `ops.batch` under which the changed days are noted.
    """
    values: dict[str, Any] = {"k": kind, "old": [r.old for r in renewed], "new": [r.new for r in renewed]}
    rows = 0
    for entity in RAW_ENTITIES:
        column = kinds_of(entity).get(kind)
        if column:
            rows += _rehash_raw(connection, entity, column, {**values, "b": batches[entity]})
    _run(
        connection,
        f"update identity.identifier as known set value = pair.new from {_PAIRS} "
        "where known.kind = :k and known.value = pair.old and known.value = any(cast(:old as text[])) "
        # Somebody stored the new form before; the next night finds one customer behind both.
        "and not exists (select from identity.identifier as other where other.kind = :k and other.value = pair.new)",
        values,
    )
    for table in ("review_queue", "manual_rule"):
        for side in "ab":
            _run(
                connection,
                f"update identity.{table} as said set value_{side} = pair.new from {_PAIRS} "
                f"where said.kind_{side} = :k and said.value_{side} = pair.old",
                values,
            )
    _run(
        connection,
        f"update identity.cardinality_audit as seen set value = pair.new from {_PAIRS} "
        "where seen.kind = :k and seen.value = pair.old",
        values,
    )
    _run(
        connection,
        f"update privacy.request set subject = :k || ':' || pair.new from {_PAIRS} where subject = :k || ':' || pair.old",
        values,
    )
    _run(
        connection,
        f"insert into privacy.rehashed (kind, old_hash, new_hash) select :k, old, new from {_PAIRS} on conflict do nothing",
        values,
    )
    _run(
        connection,
        "delete from privacy.held_back_hash where kind = :k and hash = any(cast(:old as text[]))",
        values,
    )
    return rows


def _rehash_raw(connection: Connection, entity: str, column: str, values: dict[str, Any]) -> int:
    """Rows of a raw table, with their days noted for the next night."""
    return int(
        connection.execute(
            text(
                f"with changed as (update raw.{entity} as row set {column} = pair.new from {_PAIRS} "
                # `any` so that each month is asked by its index.
                f"where row.{column} = pair.old and row.{column} = any(cast(:old as text[])) returning row.business_date), "
                "noted as (insert into ops.batch_partition (batch_id, entity, business_date, rows_changed) "
                f"select :b, '{entity}', business_date, count(*) from changed group by business_date "
                "on conflict (batch_id, entity, business_date) do update "
                "set rows_changed = batch_partition.rows_changed + excluded.rows_changed) "
                "select count(*) from changed"
            ),
            values,
        ).scalar_one()
    )


def rehash_leftovers(connection: Connection, sources: Sequence[str]) -> None:
    """What named an identifier beside its rows: what people entered meanwhile, the log of access, evidence in words.

    Parameters
    ----------
    sources : what stands for a source in `raw` where a person entered the row.
    """
    for entity in RAW_ENTITIES:
        for kind, column in kinds_of(entity).items():
            connection.execute(
                text(
                    f"update raw.{entity} as row set {column} = pair.new_hash from privacy.rehashed as pair "
                    f"where row.source = any(:s) and pair.kind = :k and row.{column} = pair.old_hash"
                ),
                {"s": list(sources), "k": kind},
            )
    connection.execute(
        text(
            "update privacy.access_log set subjects = array("
            "  select coalesce(pair.new_hash, one) from unnest(subjects) with ordinality as held (one, n)"
            "  left join privacy.rehashed as pair on pair.old_hash = one order by n) "
            "where exists (select from unnest(subjects) as one join privacy.rehashed on old_hash = one)"
        )
    )
    _reword_evidence(connection)


def _reword_evidence(connection: Connection) -> None:
    """Audits of identity quote what a value met."""
    rows = connection.execute(
        text(
            "select as_of, kind, value, touched_kind, reason, evidence from identity.cardinality_audit "
            "where evidence::text ~ 'v[0-9]+:[0-9a-f]{64}'"
        )
    ).all()
    if not rows:
        return
    pairs = connection.execute(text("select old_hash, new_hash from privacy.rehashed")).all()
    known = {row.old_hash: row.new_hash for row in pairs}
    for row in rows:
        connection.execute(
            text(
                "update identity.cardinality_audit set evidence = cast(:e as jsonb) where (as_of, kind, value, touched_kind, "
                "reason) = (:a, :k, :v, :t, :r)"
            ),
            {
                "e": json.dumps(_replaced(row.evidence, known), ensure_ascii=False),
                **dict(
                    zip("akvtr", (row.as_of, row.kind, row.value, row.touched_kind, row.reason), strict=True)
                ),
            },
        )


def _replaced(said: Any, known: dict[str, str]) -> Any:
    if isinstance(said, str):
        return known.get(said, said)
    if isinstance(said, list):
        return [_replaced(one, known) for one in said]
    if isinstance(said, dict):
        return {k: _replaced(v, known) for k, v in said.items()}
    return said


def _run(connection: Connection, sql: str, values: dict[str, Any]) -> None:
    connection.execute(text(sql), values)
