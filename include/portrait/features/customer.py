"""Who the customers are: how many identifiers they have, and what they declared as members."""

from datetime import date

import ibis
from ibis.expr import types as ir

from portrait.features.interactions import attribute

YOUNGEST, OLDEST = 10, 105
"""Ages outside are taken for mistakes."""

DECLARED = {
    "gender": "gender",
    "birth_date": "birth_date",
    "region": "region",
    "city": "city",
    "member_level": "level",
    "home_store": "home_store",
}
"""Column of the customer -> column of `raw.member`."""


def customer(identity: ir.Table, member: ir.Table, priority: tuple[str, ...], as_of: date) -> ir.Table:
    """One row for every customer of the identity map.

    What is declared comes from the customer's member rows: for each column the first row that has a value, a
    row with a card before one without, then the latest delivered. `joined_on` is the earliest registration.
    """
    own = identity.filter(identity.valid_to.isnull())
    kinds = {f"{kind}s": own.count(where=own.kind == kind) for kind in ("card", "account", "device")}
    counted = own.group_by("customer_id").agg(**{k: v.cast("int32") for k, v in kinds.items()})
    known = counted.mutate(is_known=(counted.cards > 0) | (counted.accounts > 0))
    who = declared(attribute(member, "member", identity, priority), as_of)
    return (
        known.left_join(who, "customer_id")
        .select("customer_id", "is_known", "cards", "accounts", "devices", *DECLARED, "joined_on")
        .order_by("customer_id")
    )


def declared(member: ir.Table, as_of: date) -> ir.Table:
    """One row a customer from attributed member rows."""
    youngest, oldest = _years_before(as_of, YOUNGEST), _years_before(as_of, OLDEST + 1)
    birth = member.birth_date
    possible = (birth <= ibis.literal(youngest)) & (birth > ibis.literal(oldest))
    member = member.mutate(birth_date=ibis.ifelse(possible, birth, ibis.null("date")))
    best = ibis.window(
        group_by=member.customer_id,
        order_by=[
            member.card_hash.isnull().cast("int8"),
            member.business_date.desc(),
            member.source,
            member.source_row_id,
        ],
    )
    member = member.filter(member.customer_id.notnull()).mutate(place=ibis.row_number().over(best))
    columns = {
        name: member[stored].argmin(member.place, where=member[stored].notnull())
        for name, stored in DECLARED.items()
    }
    return member.group_by("customer_id").agg(**columns, joined_on=member.occurred_on.min())


def _years_before(day: date, years: int) -> date:
    try:
        return day.replace(year=day.year - years)
    except ValueError:  # 29 February
        return day.replace(year=day.year - years, day=28)
