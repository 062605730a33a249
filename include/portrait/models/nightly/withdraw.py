"""Taking a champion out of service by hand: the one before it serves again."""

import logging

from sqlalchemy import Connection, text

from portrait.config import Settings
from portrait.errors import PortraitError
from portrait.models.nightly.registry.aliases import repoint
from portrait.warehouse import open_warehouse

log = logging.getLogger(__name__)

SLOTS = ("next", "new", "embedding")


def withdraw(settings: Settings, slot: str, reason: str) -> tuple[str, str]:
    """Put the version before the champion of a slot back into service; gives (withdrawn, serving).

    The withdrawn version is never judged or served again. The API takes the other one within a second; the
    published tables stay as they are until the next night is published, or `portrait rollback` shows an earlier one.

    Raises
    ------
    PortraitError : for an unknown slot, one without a champion, or where no earlier version is kept.
    """
    if slot not in SLOTS:
        raise PortraitError(f"there is no slot '{slot}'; name one of {', '.join(SLOTS)}")
    with open_warehouse(settings).begin() as connection:
        withdrawn, serving = _exchange(connection, slot, reason)
    log.warning("%s: %s was withdrawn (%s), %s serves again", slot, withdrawn, reason, serving)
    repoint(settings)
    return withdrawn, serving


def _exchange(connection: Connection, slot: str, reason: str) -> tuple[str, str]:
    champion = connection.execute(
        text(
            "select model_version from ops.model_version where slot = :s and status = 'champion' for update"
        ),
        {"s": slot},
    ).scalar()
    if champion is None:
        raise PortraitError(f"slot '{slot}' has no champion: nothing to withdraw")
    before = connection.execute(
        text(
            "select model_version from ops.model_version where slot = :s and status = 'retired' and path is not null "
            "order by trained_through desc, created_at desc limit 1"
        ),
        {"s": slot},
    ).scalar()
    if before is None:
        raise PortraitError(
            f"{champion} is the only version of slot '{slot}' whose files are kept: there is none to go back to"
        )
    connection.execute(
        text(
            "update ops.model_version set status = 'withdrawn', reason = reason || '; withdrawn: ' || :r "
            "where model_version = :v"
        ),
        {"v": champion, "r": reason},
    )
    connection.execute(
        text("update ops.model_version set status = 'champion' where model_version = :v"), {"v": before}
    )
    return str(champion), str(before)
