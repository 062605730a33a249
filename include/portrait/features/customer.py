"""Who the customers are: how many identifiers they have, and what they declared as members."""

from datetime import date

import ibis
from ibis.expr import types as ir

from portrait.config import FeatureConfig
from portrait.features.attribution import attribute

FOREVER = date(9999, 12, 31)
"""`valid_to` of an identifier that is its owner's today."""

YOUNGEST, OLDEST = 10, 105
"""Ages outside are taken for mistakes."""

CORRECTION = "correction"
"""Source of rows of `raw.member` that a customer had corrected (`portrait privacy correct`); no delivery replaces them."""

DECLARED = {
    "gender": "gender",
    "birth_date": "birth_date",
    "region": "region",
    "city": "city",
    "member_level": "level",
    "home_store": "home_store",
}
"""Column of the customer -> column of `raw.member`."""


def customer(
    owners: ir.Table, member: ir.Table, priority: tuple[str, ...], config: FeatureConfig, as_of: date
) -> ir.Table:
    """One row for every customer who is one today, by `customer` (position).

    What is declared comes from the customer's member rows: for each column the first row that has a value, what the
    customer had corrected before all, a row with a card before one without, then the latest delivered. `joined_on` is the earliest registration.
    """
    own = owners.filter(owners.valid_to == ibis.literal(FOREVER))
    kinds = {f"{kind}s": own.count(where=own.kind == kind) for kind in ("card", "account", "device")}
    counted = own.group_by("customer").agg(**{k: v.cast("int32") for k, v in kinds.items()})
    known = counted.mutate(is_known=(counted.cards > 0) | (counted.accounts > 0))
    who = declared(attribute(member, owners, priority), config, as_of)
    return known.left_join(who, "customer").select(
        "customer", "is_known", "cards", "accounts", "devices", *DECLARED, "joined_on"
    )


def declared(member: ir.Table, config: FeatureConfig, as_of: date) -> ir.Table:
    """One row a customer from attributed member rows.

    An age that nobody has and a region that `regions` does not list are taken for not given.
    """
    youngest, oldest = _years_before(as_of, YOUNGEST), _years_before(as_of, OLDEST + 1)
    birth = member.birth_date
    possible = (birth <= ibis.literal(youngest)) & (birth > ibis.literal(oldest))
    member = member.mutate(birth_date=ibis.ifelse(possible, birth, ibis.null("date")))
    if config.regions is not None:
        known = member.region.isin(list(config.regions))
        member = member.mutate(region=ibis.ifelse(known, member.region, ibis.null("string")))
    corrected = member.source == CORRECTION
    best = ibis.window(
        group_by=member.customer,
        order_by=[
            corrected.cast("int8").desc(),
            # Their row ids begin with the instant: the last correction counts.
            ibis.ifelse(corrected, member.source_row_id, "").desc(),
            member.card_code.isnull().cast("int8"),
            member.business_date.desc(),
            member.source,
            member.source_row_id,
        ],
    )
    member = member.filter(member.customer.notnull()).mutate(place=ibis.row_number().over(best))
    columns = {
        name: member[stored].argmin(member.place, where=member[stored].notnull())
        for name, stored in DECLARED.items()
    }
    return member.group_by("customer").agg(**columns, joined_on=member.occurred_on.min())


def _years_before(day: date, years: int) -> date:
    try:
        return day.replace(year=day.year - years)
    except ValueError:  # 29 February
        return day.replace(year=day.year - years, day=28)
