"""What people do with the queue of probable duplicates: list it, look at one, accept or reject."""

from typing import Any

from rich.table import Table
from sqlalchemy import text

from portrait.config import Settings
from portrait.errors import PortraitError
from portrait.identity.rules import CANNOT, MUST, add_rule, revoke_rule
from portrait.warehouse import open_warehouse

_STATUS = {MUST: "accepted", CANNOT: "rejected"}


def accept(settings: Settings, review_id: int, by: str, reason: str) -> int:
    """The two customers are one person: a must-link rule, which counts from the next night on; gives its number.

    Raises
    ------
    PortraitError : without author or reason, for a number that is not open, or where a rule made by hand says the
        opposite.
    """
    return decide(settings, review_id, MUST, by, reason)


def reject(settings: Settings, review_id: int, by: str, reason: str) -> int:
    """The two customers are two people: a cannot-link rule; gives its number. Raises as `accept` does."""
    return decide(settings, review_id, CANNOT, by, reason)


def decide(settings: Settings, review_id: int, kind: str, by: str, reason: str) -> int:
    """Note a decision and make its rule between one identifier of each; an earlier decision here gives way to it."""
    if not by.strip() or not reason.strip():
        raise PortraitError("a decision needs an author and a reason")
    with open_warehouse(settings).begin() as connection:
        row = connection.execute(
            text("select * from identity.review_queue where review_id = :n for update"), {"n": review_id}
        ).one_or_none()
        if row is None:
            raise PortraitError(f"no suggestion {review_id}; `portrait review list` shows them")
        if row.status != "open":
            raise PortraitError(
                f"suggestion {review_id} is {row.status} already, by {row.decided_by}: {row.reason}; "
                "a rule is taken back in identity.manual_rule"
            )
        earlier = (
            connection.execute(
                text(
                    "select rule_id from identity.review_queue join identity.manual_rule using (rule_id) "
                    "where customer_a = :a and customer_b = :b and revoked_at is null and manual_rule.kind <> :k"
                ),
                {"a": row.customer_a, "b": row.customer_b, "k": kind},
            )
            .scalars()
            .all()
        )
        for rule in earlier:
            revoke_rule(settings, rule)
        ends = ((row.kind_a, row.value_a), (row.kind_b, row.value_b))
        rule_id = add_rule(settings, kind, *ends, reason, by)
        connection.execute(
            text(
                "update identity.review_queue set status = :s, decided_by = :b, decided_at = now(), reason = :r, "
                "rule_id = :i where review_id = :n"
            ),
            {"s": _STATUS[kind], "b": by.strip(), "r": reason.strip(), "i": rule_id, "n": review_id},
        )
    return rule_id


def review_table(settings: Settings, everything: bool = False, limit: int = 50) -> Table:
    """The likeliest open suggestions, or with `everything` decided ones too, as a table for people."""
    warehouse = open_warehouse(settings)
    which = "true" if everything else "status = 'open'"
    rows = warehouse.rows(
        f"select * from identity.review_queue where {which} order by match_weight desc, review_id limit :n",
        n=limit,
    )
    total = warehouse.scalar(f"select count(*) from identity.review_queue where {which}")
    table = Table(
        title="Probable duplicates" if everything else "Probable duplicates to decide", title_justify="left"
    )
    for name in ("no.", "since", "weight", "likely", "first", "second", "why"):
        table.add_column(
            name, justify="right" if name in ("no.", "weight", "likely") else "left", overflow="fold"
        )
    if everything:
        table.add_column("decided", overflow="fold")
    for row in rows:
        cells = [
            str(row["review_id"]),
            f"{row['suggested_on']:%Y-%m-%d}",
            f"{row['match_weight']:.1f}",
            f"{row['match_probability']:.1%}",
            f"{row['source_a']} {row['source_row_id_a']}",
            f"{row['source_b']} {row['source_row_id_b']}",
            why(row["waterfall"]),
        ]
        if everything:
            cells.append(
                row["status"] + (f" by {row['decided_by']}: {row['reason']}" if row["decided_by"] else "")
            )
        table.add_row(*cells)
    if not rows:
        table.caption = "None."
    elif total > len(rows):
        table.caption = f"{len(rows)} of {total}; a larger --limit shows more."
    return table


def waterfall_table(settings: Settings, review_id: int) -> Table:
    """What each comparison adds to the weight of one suggestion. Raises PortraitError when there is none."""
    found = open_warehouse(settings).rows(
        "select * from identity.review_queue where review_id = :n", n=review_id
    )
    if not found:
        raise PortraitError(f"no suggestion {review_id}; `portrait review list` shows them")
    row = found[0]
    table = Table(
        title=f"Suggestion {review_id}: {row['source_a']} {row['source_row_id_a']} (customer {row['customer_a']}) and "
        f"{row['source_b']} {row['source_row_id_b']} (customer {row['customer_b']})",
        title_justify="left",
        caption=f"{row['match_weight']:.1f} bits: {row['match_probability']:.2%} likely",
    )
    table.add_column("comparison")
    table.add_column("answer")
    table.add_column("weight", justify="right")
    table.add_column("so far", justify="right")
    total = 0.0
    for step in row["waterfall"]:
        total += step["weight"]
        table.add_row(step["column"], step["level"], f"{step['weight']:+.1f}", f"{total:+.1f}")
    return table


def why(waterfall: list[dict[str, Any]]) -> str:
    """The comparisons that say something, strongest first: ``name exact +14.9, name common -2.3``."""
    said = [s for s in waterfall if s["column"] != "prior" and abs(s["weight"]) >= 0.1]
    return ", ".join(
        f"{s['level']} {s['weight']:+.1f}" for s in sorted(said, key=lambda s: -abs(s["weight"]))
    )
