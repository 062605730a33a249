"""Monthly partitions of the `raw` tables, and one partition a run of the profile tables."""

from collections.abc import Iterable
from datetime import date

from sqlalchemy import Connection, text


def ensure_months(connection: Connection, table: str, dates: Iterable[date]) -> None:
    """Create the monthly partitions of `raw.<table>` that hold these business dates.

    Waits for a concurrent creator: two sources of one entity may load at once. The lock is the table's, not
    the month's: with a lock a month two creators of several months could wait for each other.
    """
    for month in sorted({d.replace(day=1) for d in dates}):
        following = date(month.year + month.month // 12, month.month % 12 + 1, 1)
        name = f"{table}_{month:%Y_%m}"
        if connection.execute(text("select to_regclass(:n)"), {"n": f"raw.{name}"}).scalar():
            continue
        connection.execute(text("select pg_advisory_xact_lock(hashtext(:n))"), {"n": f"raw.{table}"})
        connection.execute(
            text(
                f"create table if not exists raw.{name} partition of raw.{table} "
                f"for values from ('{month}') to ('{following}')"
            )
        )
