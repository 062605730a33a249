"""Forgetting customers: everywhere, for good, with a receipt."""

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

from sqlalchemy import create_engine, text

from portrait.config import Settings
from portrait.errors import PortraitError
from portrait.ingest.suppression import CODE, CUSTOMER, MEMBER, Suppression, derived_key
from portrait.privacy.customer import AlreadyErased, Person, find_person, subject_of
from portrait.privacy.database import Eraser
from portrait.privacy.files import FileEraser, codes_of
from portrait.privacy.receipt import write_receipt
from portrait.privacy.traces import Tracer
from portrait.warehouse import Warehouse, open_warehouse

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

    First they go on the suppression list, so that nothing lets them in again, then everything that is stored goes.
    Erasing somebody again finds nothing and gives a receipt that says so.

    Raises
    ------
    PortraitError : when one of them is unknown (nobody is erased then), or a pull that began before goes on too long.
    """
    started = time.monotonic()
    if not by.strip():
        raise PortraitError("say who asks for the erasure")
    warehouse = _kept_open(open_warehouse(settings))
    people: list[Person] = []
    again = 0
    for one in asked:
        try:
            people.append(find_person(settings, warehouse, *subject_of(settings, one)))
        except AlreadyErased:
            again += 1
    hashes = _suppress(settings, warehouse, people)
    _, key = derived_key(settings, "suppression")
    eraser = Eraser(settings, warehouse, people, Tracer(settings, Suppression(key, hashes)))
    recipients = eraser.recipients()
    open_pulls = _open_pulls(warehouse)
    if people:
        eraser.erase()
        if _wait_for(warehouse, open_pulls):
            eraser.erase()
        files = FileEraser(settings, warehouse, eraser.ids, eraser.identifiers, eraser.members)
        files.erase()
        eraser.erase_identity()
        eraser.counts.update(files.counts)
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
    warehouse.engine.dispose()
    log.info("receipt %d: %d customers in %.1f s", receipt, len(asked), time.monotonic() - started)
    return Erasure(receipt, len(asked), again, dict(eraser.counts))


def _kept_open(warehouse: Warehouse) -> Warehouse:
    """The same with connections that are used again: a thousand customers are many small questions."""
    pooled = replace(warehouse)
    pooled.__dict__["engine"] = create_engine(
        warehouse.url,
        pool_size=3,
        connect_args={"options": "-c timezone=UTC", "application_name": "portrait erase"},
    )
    return pooled


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
    found: dict[str, set[str]] = {}
    for kind, value in entries:
        found.setdefault(listed.hash(value), set()).add(kind)
    if found:
        with warehouse.begin() as connection:
            connection.execute(
                text(
                    "insert into privacy.suppression (hash, kind, key_version) values (:h, :k, :v) "
                    "on conflict (hash, kind) do nothing"
                ),
                [{"h": h, "k": k, "v": version} for h, kinds in found.items() for k in kinds],
            )
    return {h: frozenset(kinds) for h, kinds in found.items()}


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
