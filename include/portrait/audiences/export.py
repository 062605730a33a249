"""Sending an audience where it belongs: once a night, without the control group and those reached too often already."""

import hashlib
import logging
from dataclasses import dataclass
from datetime import date
from typing import Any

from sqlalchemy import Connection, text

from portrait.audiences.definitions import find_audience
from portrait.audiences.destinations import Batch, deliver, target_of
from portrait.audiences.query import allowed
from portrait.config import Settings
from portrait.config.audiences import Audience
from portrait.errors import PortraitError
from portrait.warehouse import Warehouse, open_warehouse
from portrait.warehouse.grants import MODEL

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Export:
    """A row of `audience.export_log`, when it was sent.

    Attributes
    ----------
    sent_now : False when the same export had been sent before.
    """

    export_id: int
    audience: str
    as_of: date
    target: str
    customers: int
    held_back: int
    capped: int
    sent_now: bool

    def as_dict(self) -> dict[str, Any]:
        return self.__dict__ | {"as_of": str(self.as_of)}


def export_audience(settings: Settings, code: str) -> Export:
    """Send the members of an audience, as last refreshed, to its destination.

    An export of an audience, a night and a destination happens once: asked for again it is not sent again; one that
    failed goes on where it stopped, with the customers it had less those who withdrew consent meanwhile. The control
    group is never in it, nor who withdrew consent since the refresh.

    Raises
    ------
    PortraitError : when there is no such audience, it was not refreshed yet, or the receiver refuses.
    SourceUnavailable : when a receiver does not answer; trying again later goes on.
    """
    audience, warehouse = find_audience(settings, code), open_warehouse(settings.acting_as(MODEL))
    with warehouse.begin() as guard:
        # A second exporter of the same audience waits, and then finds it sent.
        guard.execute(text("select pg_advisory_xact_lock(hashtext(:n))"), {"n": f"export {code}"})
        with warehouse.begin() as connection:
            row, sent = _start(connection, settings, audience)
        if not sent:
            _send(settings, warehouse, audience, row)
    return Export(**{k: row[k] for k in Export.__dataclass_fields__ if k in row}, sent_now=not sent)


def idempotency_key(audience: Audience, as_of: date, target: str) -> str:
    """The same for every try of one export, 32 hexadecimal digits."""
    said = "\n".join((audience.code, str(as_of), audience.destination.format, target))
    return hashlib.sha256(said.encode()).hexdigest()[:32]


def _start(connection: Connection, settings: Settings, audience: Audience) -> tuple[dict[str, Any], bool]:
    """The export's row, made with its customers unless it is there; and whether it was sent already."""
    night = connection.execute(
        text(
            "select as_of, run_id, control from audience.size_daily where audience = :a order by as_of desc limit 1"
        ),
        {"a": audience.code},
    ).one_or_none()
    if night is None:
        raise PortraitError(f"audience {audience.code} has no members yet: refresh it first")
    target = target_of(settings, audience, night.as_of)
    key = idempotency_key(audience, night.as_of, target)
    found = (
        connection.execute(text("select * from audience.export_log where idempotency_key = :k"), {"k": key})
        .mappings()
        .one_or_none()
    )
    if found is not None:
        again = "update audience.export_log set status = 'running', error = null where export_id = :e and status <> 'sent'"
        connection.execute(text(again), {"e": found["export_id"]})
        if found["status"] == "sent":
            return dict(found), True
        return _without_withdrawn(connection, audience, found["export_id"]), False
    return _write(connection, audience, night, target, key), False


def _without_withdrawn(connection: Connection, audience: Audience, export_id: int) -> dict[str, Any]:
    """The row of an export that goes on, less the customers not yet sent who no longer consent to its purpose."""
    sent = "batches_sent * cast(:rows as integer)"
    connection.execute(
        text(
            f"""
            with waiting as (
                select x.customer_id
                from (select customer_id, row_number() over (order by customer_id) as place
                      from audience.exported where export_id = :e) as x
                where place > (select {sent} from audience.export_log where export_id = :e)
            ), gone as (
                delete from audience.exported as x using waiting as w
                where x.export_id = :e and x.customer_id = w.customer_id
                  and not {allowed(audience.purpose, "x.customer_id")}
                returning x.customer_id
            )
            update audience.export_log set customers = customers - (select count(*) from gone),
                                           capped = capped + (select count(*) from gone)
            where export_id = :e
            """
        ),
        {
            "e": export_id,
            "rows": audience.destination.webhook.batch_rows if audience.destination.webhook else 0,
        },
    )
    row = connection.execute(text("select * from audience.export_log where export_id = :e"), {"e": export_id})
    return dict(row.mappings().one())


def _write(connection: Connection, audience: Audience, night: Any, target: str, key: str) -> dict[str, Any]:
    row = (
        connection.execute(
            text(
                "insert into audience.export_log (audience, as_of, run_id, purpose, channel, format, target,"
                " idempotency_key, customers, held_back, capped, status)"
                " values (:audience, :as_of, :run_id, :purpose, :channel, :format, :target, :key, 0, :held, 0, 'running')"
                " returning *"
            ),
            {
                "audience": audience.code,
                "as_of": night.as_of,
                "run_id": night.run_id,
                "purpose": audience.purpose,
                "channel": audience.channel,
                "format": audience.destination.format,
                "target": target,
                "key": key,
                "held": night.control,
            },
        )
        .mappings()
        .one()
    )
    cap = audience.frequency_cap
    chosen = connection.execute(
        text(
            f"""
            insert into audience.exported (export_id, customer_id)
            select :e, m.customer_id
            from audience.membership as m
            where audience = :a and left_on is null and not is_control and not (:capped and m.customer_id in (
                select x.customer_id
                from audience.exported as x
                join audience.export_log as l using (export_id)
                where l.channel = :channel and l.as_of > cast(:as_of as date) - cast(:days as integer)
                  and l.as_of <= :as_of
                group by x.customer_id having count(*) >= :times
            ))
            and {allowed(audience.purpose, "m.customer_id")}
            """
        ),
        {
            "e": row["export_id"],
            "a": audience.code,
            "capped": cap is not None,
            "channel": audience.channel,
            "as_of": night.as_of,
            "days": cap.days if cap else 1,
            "times": cap.times if cap else 1,
        },
    ).rowcount
    counted = connection.execute(
        text(
            "update audience.export_log as l set customers = :n, capped ="
            " (select count(*) from audience.membership as m where m.audience = l.audience and left_on is null"
            "  and not is_control) - :n"
            " where export_id = :e returning *"
        ),
        {"n": chosen, "e": row["export_id"]},
    )
    return dict(counted.mappings().one())


def _send(settings: Settings, warehouse: Warehouse, audience: Audience, row: dict[str, Any]) -> None:
    export_id = row["export_id"]
    with warehouse.begin() as connection:
        customers = (
            connection.execute(
                text(
                    "select x.customer_id from audience.exported as x where export_id = :e order by customer_id"
                ),
                {"e": export_id},
            )
            .scalars()
            .all()
        )

    def note(batches: int, sent: int) -> None:
        warehouse.execute(
            "update audience.export_log set batches = :b, batches_sent = :s where export_id = :e",
            b=batches,
            s=sent,
            e=export_id,
        )

    # Before anything leaves: an export that nobody noted must not happen.
    warehouse.execute(
        "select privacy.note_access('export', :why, :n)",
        why=f"audience {audience.code} as of {row['as_of']} for {row['purpose']} to {row['target']}",
        n=len(customers),
    )
    batch = Batch(
        audience.code,
        row["as_of"],
        row["purpose"],
        row["channel"],
        row["idempotency_key"],
        list(customers),
        row["batches_sent"],
    )
    try:
        deliver(settings, warehouse, audience, export_id, batch, note)
    except Exception as error:
        warehouse.execute(
            "update audience.export_log set status = 'failed', finished_at = now(), error = :x where export_id = :e",
            x=str(error)[:2000],
            e=export_id,
        )
        raise
    warehouse.execute(
        "update audience.export_log set status = 'sent', finished_at = now(), error = null where export_id = :e",
        e=export_id,
    )
    log.info(
        "audience %s as of %s: %d customers to %s", audience.code, row["as_of"], len(customers), row["target"]
    )
