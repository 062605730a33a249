"""Objections: a customer withdraws what they allowed, by a request and not by a delivery."""

import logging
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from sqlalchemy import Connection, text

from portrait.config import Settings
from portrait.errors import PortraitError
from portrait.identity.kinds import kinds_of
from portrait.privacy.customer import AlreadyErased, Person, find_person, subject_of
from portrait.privacy.noted import noted_batch
from portrait.purposes import CODES
from portrait.warehouse import open_warehouse
from portrait.warehouse.partitions import ensure_months, months_of

log = logging.getLogger(__name__)

SOURCE = "request"
"""Source of the statements in `raw.consent_event`."""
EVIDENCE = "objection, see privacy.request"
_ENTITY = "consent_event"
_LOCK = 7_203_132


@dataclass(frozen=True)
class Objection:
    """What was withdrawn, and by how many identifiers the withdrawal is known."""

    purpose: str
    identifiers: int
    stated_at: datetime


def object_to(settings: Settings, asked: str, purpose: str, by: str) -> Objection:
    """Withdraw a customer's consent to a purpose, from this moment on.

    One statement for each of their identifiers, so that it goes on to count when the identity record takes them apart,
    and none of them ties two together. A grant that is delivered later but was given earlier does not undo it.

    Raises
    ------
    PortraitError : for an unknown or erased customer, one of whom nothing is known that a consent could be tied to, and
        for what is no purpose.
    """
    if not by.strip():
        raise PortraitError("say who enters the objection")
    warehouse = open_warehouse(settings)
    purpose = purpose.strip()
    _check_purpose(purpose)
    try:
        person = find_person(settings, warehouse, *subject_of(settings, asked))
    except AlreadyErased:
        raise PortraitError("this customer was erased: nothing is worked out about them any more") from None
    columns = _tied(person)
    if not columns:
        listed = ", ".join(kinds_of(_ENTITY))
        raise PortraitError(f"consent is tied to a {listed}; this customer has none: erase them instead")
    stated_at = datetime.now(UTC)
    day = stated_at.astimezone(ZoneInfo(settings.sources.timezone)).date()
    ensure_months(warehouse, _ENTITY, months_of({day}))
    with warehouse.begin() as guard:
        guard.execute(text("select pg_advisory_xact_lock(:k)"), {"k": _LOCK})
        with noted_batch(warehouse, SOURCE, _ENTITY, day) as batch_id, warehouse.begin() as connection:
            values = {"b": batch_id, "p": purpose, "t": stated_at, "d": day, "e": EVIDENCE}
            for column, value in columns:
                _state(connection, column, {**values, "v": value, "r": f"objection-{uuid.uuid4()}"})
            _note(connection, by.strip(), len(columns), values)
    log.info("%s is withdrawn by %d identifiers", purpose, len(columns))
    return Objection(purpose, len(columns), stated_at)


def _check_purpose(purpose: str) -> None:
    """A word with a mistake in it would be written down and stop nothing."""
    if purpose not in CODES:
        raise PortraitError(f"--purpose '{purpose}': there is no such purpose; one of {', '.join(CODES)}")


def _tied(person: Person) -> list[tuple[str, str]]:
    """Column and value of the identifiers that a statement may hold."""
    columns = kinds_of(_ENTITY)
    return sorted((columns[kind], value) for kind, value in person.identifiers if kind in columns)


def _state(connection: Connection, column: str, values: dict[str, object]) -> None:
    connection.execute(
        text(
            f"insert into raw.{_ENTITY} (source, source_row_id, consent_id, {column}, purpose, granted, occurred_at, "
            f"business_date, batch_id, evidence) values ('{SOURCE}', :r, :r, :v, :p, false, :t, :d, :b, :e)"
        ),
        values,
    )


def _note(connection: Connection, by: str, rows: int, values: dict[str, object]) -> None:
    """What changed, for the next night; who entered it, without a word about whom."""
    connection.execute(
        text(f"insert into ops.batch_partition values (:b, '{_ENTITY}', :d, :n)"), {**values, "n": rows}
    )
    connection.execute(
        text("update ops.batch set rows_read = :n, rows_inserted = :n where batch_id = :b"),
        {**values, "n": rows},
    )
    connection.execute(
        text(
            "insert into privacy.request (kind, requested_by, status, finished_at, answer) "
            "values ('object', :by, 'done', now(), :a)"
        ),
        {"by": by, "a": f"{values['p']} withdrawn"},
    )
