"""What is in quarantine, as a table for people."""

from rich.table import Table

from portrait.config import Settings
from portrait.warehouse import open_warehouse

_BY_REASON = """
select source, reason_code, (array_agg(reason order by first_seen_at))[1] as reason, count(*) as rows,
       count(*) filter (where resolved_at is null) as open, min(first_seen_at) as since,
       (array_agg(path || case when row_number > 0 then ' row ' || row_number else '' end
           order by first_seen_at, row_number))[1] as example
from quarantine.rejected_row
where source = coalesce(:source, source) and (resolved_at is null or :everything)
group by source, reason_code order by rows desc, source, reason_code
"""


def refused_table(settings: Settings, source: str | None = None, everything: bool = False) -> Table:
    """Refused rows by source and reason, with an example; the open ones unless `everything`."""
    rows = open_warehouse(settings).rows(_BY_REASON, source=source, everything=everything)
    table = Table(
        title="Refused rows" if everything else "Refused rows, not resolved yet", title_justify="left"
    )
    for name in ("source", "rows", "open", "reason", "since", "for example"):
        table.add_column(name, justify="right" if name in ("rows", "open") else "left", overflow="fold")
    for row in rows:
        table.add_row(
            row["source"],
            f"{row['rows']:,}",
            f"{row['open']:,}",
            f"{row['reason_code']}: {row['reason']}",
            f"{row['since']:%Y-%m-%d}",
            row["example"],
        )
    if not rows:
        table.caption = "None."
    return table
