"""What changed between two nights: who came and went, who is in another segment or lifecycle, and what else changed."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, text

from portrait.config import Settings
from portrait.errors import PortraitError
from portrait.profiles.history import stored_runs
from portrait.warehouse import open_warehouse

if TYPE_CHECKING:
    from rich.table import Table

COMPARED = ("segment_name", "lifecycle")
REASONS = (
    "lifecycle",
    "spending_tier",
    "value_type",
    "favourite_category",
    "favourite_brand",
    "frequency",
    "monetary",
    "last_purchase_on",
    "aipl_stage",
)
"""Columns that are named as the reason when they differ."""


@dataclass(frozen=True)
class Difference:
    """Two runs compared.

    Attributes
    ----------
    came, went : customers that only the later, only the earlier run has.
    moves : column -> (value before, value after) -> customers; pairs that differ only, the most frequent first.
    customers : some of those whose segment or lifecycle changed: id, what changed, why.
    """

    run_a: str
    run_b: str
    came: int
    went: int
    moves: dict[str, dict[tuple[str | None, str | None], int]]
    customers: list[dict[str, Any]]


def difference(settings: Settings, run_a: str, run_b: str, limit: int = 20) -> Difference:
    """Compare the profiles of two runs that are still kept.

    Raises
    ------
    PortraitError : when a run has no tables any more, naming those that have.
    """
    with open_warehouse(settings).begin() as connection:
        kept = stored_runs(connection)
        for run in (run_a, run_b):
            if run not in kept:
                raise PortraitError(
                    f"run '{run}' has no profiles; kept runs: {', '.join(sorted(kept)) or 'none'}"
                )
        return _compare(connection, run_a, run_b, limit)


def _compare(connection: Connection, run_a: str, run_b: str, limit: int) -> Difference:
    runs = {"a": run_a, "b": run_b}
    count = connection.execute(
        text(
            """
            select count(*) filter (where b.customer_id is null) as went,
                   count(*) filter (where a.customer_id is null) as came
            from (select customer_id from profile_store.customer_profile where run_id = :a) as a
            full join (select customer_id from profile_store.customer_profile where run_id = :b) as b
                using (customer_id)
            """
        ),
        runs,
    ).one()
    moves = {column: _moves(connection, column, runs) for column in COMPARED}
    return Difference(run_a, run_b, count.came, count.went, moves, _customers(connection, runs, limit))


def _moves(
    connection: Connection, column: str, runs: dict[str, str]
) -> dict[tuple[str | None, str | None], int]:
    rows = connection.execute(
        text(
            f"select a.{column} as before, b.{column} as after, count(*) as customers"
            f" from {_BOTH} where a.{column} is distinct from b.{column} group by 1, 2 order by 3 desc, 1, 2"
        ),
        runs,
    )
    return {(r.before, r.after): r.customers for r in rows}


def _customers(connection: Connection, runs: dict[str, str], limit: int) -> list[dict[str, Any]]:
    changed = " or ".join(f"a.{c} is distinct from b.{c}" for c in COMPARED)
    columns = ", ".join(f"a.{c} as {c}_a, b.{c} as {c}_b" for c in dict.fromkeys((*COMPARED, *REASONS)))
    rows = connection.execute(
        text(f"select customer_id, {columns} from {_BOTH} where {changed} order by customer_id limit :n"),
        {**runs, "n": limit},
    )
    return [_explained(dict(r)) for r in rows.mappings()]


_BOTH = (
    "(select * from profile_store.customer_profile where run_id = :a) as a"
    " join (select * from profile_store.customer_profile where run_id = :b) as b using (customer_id)"
)


def _explained(row: dict[str, Any]) -> dict[str, Any]:
    def said(columns: tuple[str, ...]) -> list[str]:
        return [
            f"{c}: {_shown(row[f'{c}_a'])} > {_shown(row[f'{c}_b'])}"
            for c in columns
            if row[f"{c}_a"] != row[f"{c}_b"]
        ]

    why = said(tuple(c for c in REASONS if c not in COMPARED))
    return {
        "customer_id": row["customer_id"],
        "changed": "; ".join(said(COMPARED)),
        "why": "; ".join(why) or "time passed, or others changed",
    }


def _shown(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:.2f}" if isinstance(value, float) else str(value)


def difference_tables(settings: Settings, run_a: str, run_b: str, limit: int) -> Iterator["Table"]:
    """The difference as tables to print. Raises as `difference` does."""
    from rich.table import Table

    found = difference(settings, run_a, run_b, limit)
    for column, moves in found.moves.items():
        table = Table(title=f"{column}: {run_a} > {run_b}", title_justify="left")
        table.add_column("before")
        table.add_column("after")
        table.add_column("customers", justify="right")
        for (before, after), customers in moves.items():
            table.add_row(_shown(before), _shown(after), f"{customers:,}")
        yield table
    table = Table(
        title=f"{found.came:,} customers came, {found.went:,} went; some that changed", title_justify="left"
    )
    for name in ("customer", "changed", "why"):
        table.add_column(name)
    for customer in found.customers:
        table.add_row(customer["customer_id"], customer["changed"], customer["why"])
    yield table
