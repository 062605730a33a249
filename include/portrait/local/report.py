"""What `make run` prints at its end: models, tables, three customers."""

from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from portrait.config import Settings
from portrait.profiles.show import summary
from portrait.warehouse import open_warehouse

METRICS = ("ndcg", "recall", "precision", "f1", "hit_rate", "coverage")
_SLOTS = {"next": "What they buy next (repeats allowed)", "new": "What they buy for the first time"}


def print_report(console: Console, settings: Settings) -> None:
    """The published night, for people. Raises PortraitError when nothing is published."""
    found = summary(settings)
    console.rule(f"Run {found['run_id']}, as of {found['as_of']}")
    for slot, title in _SLOTS.items():
        console.print(evaluation_table(settings, found["run_id"], slot, title))
    for row in promotions(settings, found["run_id"]):
        console.print(
            f"  [bold]{row['slot']}[/]: {row['model']} {row['status']} - {escape(row['reason'])}",
            highlight=False,
        )
    tables = Table(title="Profile tables", title_justify="left")
    tables.add_column("table")
    tables.add_column("rows", justify="right")
    for name, rows in found["rows"].items():
        tables.add_row(f"profile.{name}", f"{rows:,}")
    console.print(tables)
    for customer in found["customers"]:
        console.print(customer_table(customer))


def evaluation_table(settings: Settings, run_id: str, slot: str, title: str) -> Table:
    """Every model of a night on the holdout, best first."""
    k = settings.models.k
    rows = open_warehouse(settings).rows(
        "select model, role, metric, value, customers from ops.evaluation "
        "where run_id = :r and slot = :s and k = :k",
        r=run_id,
        s=slot,
        k=k,
    )
    again = {
        (r["model"], r["role"]): r["value"]
        for r in open_warehouse(settings).rows(
            "select model, role, value from ops.evaluation "
            "where run_id = :r and slot = 'again' and metric = 'recall' and k = :k",
            r=run_id,
            k=k,
        )
    }
    models: dict[tuple[str, str], dict[str, float]] = {}
    for row in rows:
        models.setdefault((row["model"], row["role"]), {})[row["metric"]] = row["value"]
    customers = rows[0]["customers"] if rows else 0
    table = Table(title=f"{title}: {customers:,} customers, k = {k}", title_justify="left")
    table.add_column("model")
    for metric in METRICS:
        table.add_column(f"{metric}@{k}", justify="right")
    if slot == "next":
        table.add_column("repeat recall", justify="right")
    for (model, role), values in sorted(models.items(), key=lambda m: -m[1].get("ndcg", 0.0)):
        name = model if role == "candidate" else f"{model} (champion)"
        cells = [f"{values[m]:.4f}" if m in values else "" for m in METRICS]
        if slot == "next":
            cells.append(f"{again[model, role]:.4f}" if (model, role) in again else "")
        table.add_row(name, *cells)
    return table


def promotions(settings: Settings, run_id: str) -> list[dict[str, Any]]:
    return open_warehouse(settings).rows(
        "select slot, model, status, reason from ops.model_version where run_id = :r order by slot", r=run_id
    )


def customer_table(customer: dict[str, Any]) -> Table:
    """One sample customer. What comes from the data is shown as it is: a product may be called ``Milk [/b]``."""
    profile = customer["profile"]
    table = Table(title=f"Customer {profile['customer_id']}", title_justify="left", show_header=False)
    table.add_column("what", style="dim")
    table.add_column("value", overflow="fold")
    for name, value in profile.items():
        if name != "customer_id":
            table.add_row(name, escape(_cell(value)))
    categories = ", ".join(f"{c['value']} {c['score']:.0%}" for c in customer["categories"])
    table.add_row("likes", escape(categories) or "-")
    table.add_row("recommended, new", escape("; ".join(customer["new"])) or "-")
    table.add_row("recommended, again", escape("; ".join(customer["again"])) or "-")
    return table


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:,.2f}" if isinstance(value, float) else str(value)
