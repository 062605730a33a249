"""Who is in each audience tonight, who entered and who left, and whom two audiences share."""

import logging
from dataclasses import asdict, dataclass
from datetime import date
from typing import Any

import pyarrow as pa
from sqlalchemy import Connection, text

from portrait.audiences.definitions import find_audience, record_definition, retire_others
from portrait.audiences.query import Found, find_members
from portrait.config import Settings
from portrait.config.audiences import Audience
from portrait.errors import PortraitError
from portrait.warehouse import Transaction, Warehouse, open_warehouse
from portrait.warehouse.grants import MODEL

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Size:
    """An audience on a night, as `audience.size_daily` has it."""

    audience: str
    as_of: date
    run_id: str
    members: int
    control: int
    without_consent: int
    entered: int
    left_it: int

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def refresh(settings: Settings, code: str) -> Size:
    """Bring the membership of one audience up to the published night.

    Doing it again for the same night corrects what changed and counts the same; who is in the control group is
    decided by a hash of audience and customer, and stays so.

    Raises
    ------
    PortraitError : when there is no such audience, its condition cannot be asked, or a later night was recorded
        already (after a rollback).
    """
    audience, warehouse = find_audience(settings, code), open_warehouse(settings.acting_as(MODEL))
    found = find_members(settings, warehouse, audience)
    _refuse_to_go_back(warehouse, audience, found)
    with warehouse.transaction() as transaction:
        transaction.execute("select pg_advisory_xact_lock(hashtext(:n))", n=f"audience {code}")
        size = _record(transaction, audience, found)
    with warehouse.begin() as connection:
        record_definition(connection, audience, found.as_of)
    log.info("audience %s as of %s: %s", code, found.as_of, size)
    return size


def _refuse_to_go_back(warehouse: Warehouse, audience: Audience, found: Found) -> None:
    last = warehouse.scalar("select max(as_of) from audience.size_daily where audience = :a", a=audience.code)
    if last is not None and last > found.as_of:
        raise PortraitError(
            f"audience {audience.code} is recorded up to {last} and the published night is {found.as_of};"
            f" publish a night of {last} or later"
        )


def _record(transaction: Transaction, audience: Audience, found: Found) -> Size:
    """Compare tonight's members with those that are in the audience; both are in the database."""
    transaction.execute('create temporary table tonight (customer_id text collate "C") on commit drop')
    transaction.copy_in("tonight", pa.table({"customer_id": pa.array(found.members, pa.string())}))
    transaction.execute("analyze tonight")
    stay = {"a": audience.code, "d": found.as_of}
    # What an earlier try for the same night said is taken back first.
    transaction.execute(
        "update audience.membership set left_on = null where audience = :a and left_on = :d", **stay
    )
    transaction.execute("delete from audience.membership where audience = :a and entered_on = :d", **stay)
    transaction.execute(
        "update audience.membership as m set left_on = :d where audience = :a and left_on is null"
        " and not exists (select from tonight as t where t.customer_id = m.customer_id)",
        **stay,
    )
    transaction.execute(
        "update audience.membership set is_control = audience.is_control(:a, customer_id, :s)"
        " where audience = :a and left_on is null and is_control <> audience.is_control(:a, customer_id, :s)",
        a=audience.code,
        s=audience.control_share,
    )
    transaction.execute(
        "insert into audience.membership (audience, customer_id, entered_on, is_control)"
        " select :a, t.customer_id, :d, audience.is_control(:a, t.customer_id, :s) from tonight as t"
        " where not exists (select from audience.membership as m"
        " where m.audience = :a and m.customer_id = t.customer_id and m.left_on is null)",
        **stay,
        s=audience.control_share,
    )
    (row,) = transaction.rows(
        """
        insert into audience.size_daily (audience, as_of, run_id, members, control, without_consent, entered, left_it)
        select :a, :d, :r, count(*) filter (where left_on is null),
               count(*) filter (where left_on is null and is_control), :w,
               count(*) filter (where entered_on = :d), count(*) filter (where left_on = :d)
        from audience.membership where audience = :a
        on conflict (audience, as_of) do update set run_id = excluded.run_id, members = excluded.members,
            control = excluded.control, without_consent = excluded.without_consent, entered = excluded.entered,
            left_it = excluded.left_it
        returning audience, as_of, run_id, members, control, without_consent, entered, left_it
        """,
        **stay,
        r=found.run_id,
        w=found.without_consent,
    )
    return Size(**row)


def record_overlaps(settings: Settings) -> int:
    """Count the customers that each two audiences share now; gives the pairs that share any.

    Audiences that the file has no more lose their members.

    Raises
    ------
    PortraitError : when nothing is published yet.
    """
    with open_warehouse(settings.acting_as(MODEL)).begin() as connection:
        as_of = connection.execute(
            text("select as_of from ops.run where run_id = (select run_id from ops.published_run)")
        ).scalar()
        if as_of is None:
            raise PortraitError("nothing is published yet: run the nightly workflow (`make run`) first")
        retire_others(connection, settings, as_of)
        return _count_overlaps(connection, as_of)


def _count_overlaps(connection: Connection, as_of: date) -> int:
    connection.execute(text("delete from audience.overlap where as_of = :d"), {"d": as_of})
    done = connection.execute(
        text(
            """
            with size as (select audience, count(*) as members from audience.member group by audience),
            shared as (
                select a.audience as audience_a, b.audience as audience_b, count(*) as customers
                from audience.member as a
                join audience.member as b on b.customer_id = a.customer_id and a.audience < b.audience
                group by 1, 2
            )
            insert into audience.overlap (as_of, audience_a, audience_b, customers, jaccard)
            select :d, audience_a, audience_b, customers,
                   customers::double precision / (x.members + y.members - customers)
            from shared
            join size as x on x.audience = audience_a
            join size as y on y.audience = audience_b
            """
        ),
        {"d": as_of},
    )
    return int(done.rowcount)
