"""Corrections: what a customer says about themselves counts, whatever a source delivers."""

import logging
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

from sqlalchemy import text

from portrait.config import Settings
from portrait.errors import PortraitError
from portrait.features.customer import CORRECTION, DECLARED
from portrait.identity.kinds import kinds_of
from portrait.ingest.suppression import PRIORITY
from portrait.privacy.customer import AlreadyErased, Person, find_person, subject_of
from portrait.privacy.noted import noted_batch
from portrait.warehouse import Warehouse, open_warehouse
from portrait.warehouse.grants import PRIVACY

log = logging.getLogger(__name__)

CORRECTABLE = tuple(name for name in DECLARED if name != "member_level")
"""What customers declare; the level is the retailer's to give."""
_LOCK = 7_203_133


@dataclass(frozen=True)
class Correction:
    """What was corrected, and the first business date whose night takes it."""

    attributes: tuple[str, ...]
    counts_from: date


def correct(settings: Settings, asked: str, changes: Sequence[str], by: str) -> Correction:
    """Correct declared attributes of a customer, each change written ``attribute=value``.

    Each correction is a row of `raw.member` of its own, so that the former ones stay; profiles take the last that has
    the attribute before anything that was delivered.

    It is written as `portrait_privacy`.

    Raises
    ------
    PortraitError : for an unknown or erased customer, one without a card, account, phone or e-mail, and a change that
        is none, is of an attribute that cannot be corrected, or whose value nobody can have.
    """
    if not by.strip():
        raise PortraitError("say who enters the correction")
    settings = settings.acting_as(PRIVACY)
    warehouse = open_warehouse(settings)
    values = dict(_change(settings, warehouse, change) for change in changes)
    if not values:
        raise PortraitError(f"--set: say what to correct, one of {', '.join(CORRECTABLE)}: city=Wuhan")
    try:
        person = find_person(settings, warehouse, *subject_of(settings, asked))
    except AlreadyErased:
        raise PortraitError("this customer was erased: nothing is held that could be corrected") from None
    column, identifier = _strongest(person)
    day = _next_night(settings, warehouse)
    with warehouse.begin() as guard:
        guard.execute(text("select pg_advisory_xact_lock(:k)"), {"k": _LOCK})
        row = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%S.%f}-{uuid.uuid4().hex[:8]}"
        with noted_batch(warehouse, CORRECTION, "member", day) as batch_id, warehouse.begin() as connection:
            stored = {DECLARED[name]: value for name, value in values.items()}
            connection.execute(
                text(
                    f"insert into raw.member (source, source_row_id, member_id, {column}, {', '.join(stored)}, business_date,"
                    f" batch_id) values ('{CORRECTION}', :row, :row, :identifier,"
                    f" {', '.join(f':{c}' for c in stored)}, :day, :batch)"
                ),
                {**stored, "row": row, "identifier": identifier, "day": day, "batch": batch_id},
            )
            connection.execute(
                text("update ops.batch set rows_read = 1, rows_inserted = 1 where batch_id = :b"),
                {"b": batch_id},
            )
            connection.execute(
                text(
                    "insert into privacy.request (kind, requested_by, status, finished_at, answer) "
                    "values ('correct', :by, 'done', now(), :a)"
                ),
                {"by": by.strip(), "a": f"{', '.join(values)} corrected"},
            )
    log.info("corrected: %s", ", ".join(values))
    return Correction(tuple(values), day)


def _change(settings: Settings, warehouse: Warehouse, change: str) -> tuple[str, str | date]:
    name, equals, said = (part.strip() for part in change.partition("="))
    if not equals or not said:
        raise PortraitError(f"--set '{change}': write attribute=value (city=Wuhan)")
    if name not in CORRECTABLE:
        raise PortraitError(
            f"--set '{name}': one of {', '.join(CORRECTABLE)}; card, phone, e-mail, name and address are corrected where "
            "they are delivered from"
        )
    if name == "birth_date":
        return name, _birth_date(said)
    if name == "region" and settings.features.regions is not None and said not in settings.features.regions:
        raise PortraitError(f"--set region={said}: features.yaml does not list this region")
    known = {
        "gender": "select distinct gender from raw.member where gender is not null",
        "home_store": "select store_id from raw.store",
    }
    if name in known:
        found = {next(iter(row.values())) for row in warehouse.rows(known[name])}
        if found and said not in found:
            some = ", ".join(sorted(found)[:10])
            raise PortraitError(f"--set {name}={said}: nothing delivered has this value; for example {some}")
    return name, said


def _birth_date(said: str) -> date:
    try:
        born = date.fromisoformat(said)
    except ValueError:
        raise PortraitError(f"--set birth_date={said}: is no date; write YYYY-MM-DD") from None
    if not date(1900, 1, 1) <= born <= datetime.now(UTC).date():
        raise PortraitError(f"--set birth_date={said}: nobody was born then")
    return born


def _strongest(person: Person) -> tuple[str, str]:
    """Column and value of one identifier: more would tie what the identity record may take apart."""
    columns = kinds_of("member")
    for kind in PRIORITY:
        held = sorted(value for k, value in person.identifiers if k == kind and kind in columns)
        if held:
            return columns[kind], held[0]
    raise PortraitError(
        f"what is declared is tied to a {', '.join(columns)}; this customer has none: nothing is declared of them"
    )


def _next_night(settings: Settings, warehouse: Warehouse) -> date:
    """Today, or the day after the published night where that is earlier: history that is worked off."""
    today = datetime.now(ZoneInfo(settings.sources.timezone)).date()
    last = warehouse.scalar("select as_of from ops.run join ops.published_run using (run_id)")
    return min(today, last + timedelta(days=1)) if last else today
