"""Forgetting customers: everywhere, for good, with a receipt."""

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import text

from portrait.config import Settings
from portrait.errors import PortraitError
from portrait.identity.blocked import HASHED
from portrait.ingest.hashing import keys_stay
from portrait.ingest.keys import keyring
from portrait.ingest.seal import seal_of
from portrait.ingest.suppression import CODE, CUSTOMER, MEMBER, Suppression, derived_key
from portrait.privacy.airflow import erase_from_airflow
from portrait.privacy.customer import Person, find_people, subject_of
from portrait.privacy.database import Eraser
from portrait.privacy.files import FileEraser, codes_of
from portrait.privacy.kept_rows import erase_from_models
from portrait.privacy.receipt import write_receipt
from portrait.privacy.traces import Tracer
from portrait.warehouse import Warehouse, open_warehouse
from portrait.warehouse.grants import PRIVACY

log = logging.getLogger(__name__)

PATIENCE_S = 600.0


@dataclass(frozen=True)
class Erasure:
    """What an erasure did: rows by place; `already_erased` customers had nothing left."""

    receipt_id: int
    customers: int
    already_erased: int
    counts: dict[str, int]


def erase(settings: Settings, asked: Sequence[str], by: str) -> Erasure:
    """Forget customers, each named by an id or ``kind:value``.

    The database is changed as `portrait_privacy`. First they go on the suppression list, so that nothing lets them in again, then everything that is stored goes.
    Erasing somebody again finds nothing and gives a receipt that says so.

    Raises
    ------
    PortraitError : when one of them is unknown (nobody is erased then), or a pull that began before goes on too long.
    """
    started = time.monotonic()
    if not by.strip():
        raise PortraitError("say who asks for the erasure")
    settings = settings.acting_as(PRIVACY)
    warehouse = open_warehouse(settings)
    with keys_stay(warehouse):
        done = _erase(settings, warehouse, asked, by)
    log.info("receipt %d: %d customers in %.1f s", done.receipt_id, len(asked), time.monotonic() - started)
    return done


def _erase(settings: Settings, warehouse: Warehouse, asked: Sequence[str], by: str) -> Erasure:
    clock = time.monotonic()
    found = find_people(settings, warehouse, [subject_of(settings, one) for one in asked])
    people = [person for person in found if person is not None]
    again = len(found) - len(people)
    hashes = _suppress(settings, warehouse, people)
    _, key = derived_key(settings, "suppression")
    tracer = Tracer(settings, Suppression(key, hashes))
    eraser = Eraser(settings, warehouse, people, tracer)
    recipients = eraser.recipients()
    open_pulls = _open_pulls(warehouse)
    if people:
        log.info("found %d customers in %.1f s", len(people), time.monotonic() - clock)
        clock = time.monotonic()
        eraser.erase()
        if _wait_for(warehouse, open_pulls):
            eraser.erase()
        log.info("the database is done in %.1f s", time.monotonic() - clock)
        clock = time.monotonic()
        files = FileEraser(settings, warehouse, eraser.ids, eraser.identifiers, eraser.members)
        files.erase()
        log.info("the files are done in %.1f s", time.monotonic() - clock)
        eraser.erase_identity()
        eraser.counts.update(files.counts)
        eraser.counts.update(erase_from_models(settings, warehouse, files.positions))
        eraser.counts.update(erase_from_airflow(settings, tracer))
        _tell_the_api(settings)
    with warehouse.begin() as connection:
        receipt = write_receipt(
            connection,
            settings,
            by.strip(),
            len(asked),
            again,
            dict(sorted(eraser.counts.items())),
            recipients,
        )
        connection.execute(
            text(
                "update privacy.suppression set receipt_id = :r where receipt_id is null and hash = any(:h)"
            ),
            {"r": receipt, "h": list(hashes)},
        )
    return Erasure(receipt, len(asked), again, dict(eraser.counts))


def _tell_the_api(settings: Settings) -> None:
    """Its workers open their files anew when this one is newer than when they looked last."""
    marker = settings.workspace_dir / "serving" / "erased"
    if marker.parent.is_dir():
        marker.touch()


def _suppress(
    settings: Settings, warehouse: Warehouse, people: Sequence[Person]
) -> dict[str, frozenset[str]]:
    """Put them on the list, committed before anything is deleted; gives the entries."""
    version, key = derived_key(settings, "suppression")
    listed = Suppression(key)
    entries: set[tuple[str, str]] = set()
    for person in people:
        entries |= {(CUSTOMER, i) for i in person.ids} | set(person.identifiers)
        entries |= {(MEMBER, row) for _, row in person.members}
    identifiers = sorted({i for p in people for i in p.identifiers})
    entries |= {(CODE, str(c)) for codes in codes_of(identifiers).values() for c in codes}
    under = _forms_needed(settings, warehouse, identifiers)
    entries |= set(under)
    found: dict[str, set[str]] = {}
    rows = []
    for kind, value in sorted(entries):
        hashed = listed.hash(value)
        found.setdefault(hashed, set()).add(kind)
        rows.append({"h": hashed, "k": kind, "v": version, "f": under.get((kind, value))})
    if rows:
        with warehouse.begin() as connection:
            connection.execute(
                text(
                    "insert into privacy.suppression (hash, kind, key_version, value_version) "
                    "select * from unnest(cast(:h as text[]), cast(:k as text[]), cast(:v as text[]), cast(:f as text[])) "
                    "on conflict (hash, kind) do nothing"
                ),
                {name: [row[name] for row in rows] for name in "hkvf"},
            )
    return {h: frozenset(kinds) for h, kinds in found.items()}


def _forms_needed(
    settings: Settings, warehouse: Warehouse, identifiers: Sequence[tuple[str, str]]
) -> dict[tuple[str, str], str | None]:
    """What of hashed identifiers goes on the list, with the version of the key without which it is not recognised.

    One that is stored under a former key is listed in its new form, too, where its clear value is held: then the former
    key is not needed for it.
    """
    current = keyring(settings).current
    needed: dict[tuple[str, str], str | None] = {
        (k, v): v.split(":", 1)[0] for k, v in identifiers if k in HASHED and ":" in v
    }
    old = [pair for pair, version in needed.items() if version != current.version]
    if not old:
        return needed
    seal = seal_of(settings)
    for row in warehouse.rows(
        "select kind, hash, sealed from pii.open_contact(:h, 'erasure')", h=[v for _, v in old]
    ):
        kind, stored = row["kind"], row["hash"]
        needed[kind, stored] = None
        needed[kind, current.hash(seal.open(bytes(row["sealed"]), kind))] = current.version
    for row in warehouse.rows(
        "select kind, old_hash from privacy.rehashed where (kind, old_hash) in "
        "(select * from unnest(cast(:k as text[]), cast(:v as text[])))",
        k=[k for k, _ in old],
        v=[v for _, v in old],
    ):
        needed[row["kind"], row["old_hash"]] = None  # listed by its new form
    return needed


def _open_pulls(warehouse: Warehouse) -> list[tuple[int, str]]:
    rows = warehouse.rows("select batch_id, source from ops.batch where status = 'loading'")
    return [(r["batch_id"], r["source"]) for r in rows]


def _wait_for(warehouse: Warehouse, pulls: list[tuple[int, str]]) -> bool:
    """Wait until batches that did not know of the erasure have ended; whether there were any at work."""
    waited, deadline = False, time.monotonic() + PATIENCE_S
    for batch_id, source in pulls:
        while _at_work(warehouse, batch_id, source):
            waited = True
            if time.monotonic() > deadline:
                raise PortraitError(
                    f"a pull of {source} that began before the erasure is still at work; erase again when it has ended"
                )
            time.sleep(0.5)
        waited = True
    return waited


def _at_work(warehouse: Warehouse, batch_id: int, source: str) -> bool:
    """A batch that is loading and whose pull holds the source's lock; a killed one holds none."""
    loading = warehouse.scalar("select status = 'loading' from ops.batch where batch_id = :b", b=batch_id)
    free = warehouse.scalar("select pg_try_advisory_xact_lock(hashtext(:n))", n=f"pull {source}")
    return bool(loading) and not free
