"""Monthly partitions of the `raw` tables."""

from collections.abc import Iterable
from datetime import date

from sqlalchemy import text

from portrait.warehouse.database import Warehouse

MONTHS_AHEAD = 2


def months_of(dates: Iterable[date], ahead: int = 0) -> list[date]:
    """First days of the months that hold these dates, and of the `ahead` months after the last."""
    months = {d.replace(day=1) for d in dates}
    last = max(months, default=None)
    for _ in range(ahead):
        if last is not None:
            last = _following(last)
            months.add(last)
    return sorted(months)


def ensure_months(warehouse: Warehouse, table: str, months: Iterable[date]) -> None:
    """Create the monthly partitions of `raw.<table>` (each month by its first day) that are missing.

    A partition is made apart and attached: that waits for no reader or writer of the table, where creating it in place
    would wait for a load and hold up everything behind. Of two sources of one entity that load at once, one makes it.
    """
    with warehouse.begin() as connection:
        present = set(
            connection.execute(
                text("select inhrelid::regclass::text from pg_inherits where inhparent = to_regclass(:t)"),
                {"t": f"raw.{table}"},
            ).scalars()
        )
    for month in months:
        name = f"{table}_{month:%Y_%m}"
        if f"raw.{name}" in present:
            continue
        # The loader's role owns no table: a function of the owner's makes the month.
        warehouse.execute("select raw.make_month(:t, :m)", t=table, m=month)


def analyze_changed(warehouse: Warehouse, entity: str, batch_id: int) -> None:
    """Refresh the planner's statistics of the partitions that a batch changed: autovacuum comes a minute later."""
    dates = warehouse.rows("select business_date from ops.batch_partition where batch_id = :b", b=batch_id)
    months = months_of(r["business_date"] for r in dates)
    warehouse.execute("select raw.refresh_statistics(:e, :m)", e=entity, m=months)


def _following(month: date) -> date:
    return date(month.year + month.month // 12, month.month % 12 + 1, 1)
