"""When customers are about: time of day, weekend, payday."""

from datetime import date

from ibis.expr import types as ir

from portrait.config import FeatureConfig
from portrait.features.families.ratio import ratio

DAYPARTS = {"night": (0, 6), "morning": (6, 12), "afternoon": (12, 18), "evening": (18, 24)}
"""First hour, and the hour after the last one, in the retailer's time zone."""

SATURDAY = 5


def rhythm(rows: ir.Table, catalogue: ir.Table, config: FeatureConfig, as_of: date) -> ir.Table:
    """One row a customer: the shares of their events and receipt lines by daypart, on weekends and on paydays."""
    hour, day = rows.local_hour, rows.business_date
    parts = {
        name: rows.count(where=(hour >= first) & (hour < end)) for name, (first, end) in DAYPARTS.items()
    }
    found = rows.group_by("customer").agg(
        everything=rows.count(),
        timed=hour.count(),
        weekend=rows.count(where=day.day_of_week.index() >= SATURDAY),
        payday=rows.count(where=day.day().isin(config.paydays)),
        **parts,
    )
    return found.select(
        "customer",
        **{f"{name}_share": ratio(found[name], found.timed) for name in DAYPARTS},
        weekend_share=ratio(found.weekend, found.everything),
        payday_share=ratio(found.payday, found.everything),
    )
