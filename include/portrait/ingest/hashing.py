"""Which form of a value is stored: one key's hash, or during a rotation the former key's until it has been rewritten.

The database says it, not the settings: a new key in the settings changes nothing until `portrait privacy rotate-keys` has
begun, and from then on a value has the new form as soon as the rotation has passed it (docs/decisions/0016).
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from sqlalchemy import text

from portrait.config import Settings
from portrait.errors import PortraitError
from portrait.ingest.keys import Key, Keyring, keyring
from portrait.warehouse import Warehouse

GATE = 7_203_140
"""Advisory lock: shared by whoever stores or looks up hashes, held alone by each step of a rotation."""


@dataclass(frozen=True)
class Hashing:
    """How normalised values are stored now; holds as long as the gate is held.

    Attributes
    ----------
    active : the key of new values.
    to : the key that a rotation is changing to, None when there is no rotation.
    reached : kind and old hash up to which the rotation has rewritten everything.
    held_back : of hashes of a kind, those that are stored in a former form because their clear value was not known; None when
        there are none at all.
    """

    ring: Keyring
    active: Key
    to: Key | None = None
    reached: tuple[str, str] = ("", "")
    held_back: Callable[[str, list[str]], set[str]] | None = None

    def stored(self, kind: str, plain: Sequence[str]) -> list[str]:
        """What each normalised value is stored as."""
        found = [self._form(kind, p) for p in plain]
        if self.held_back is None:
            return found
        for key in self.ring:
            forms = [key.hash(p) for p in plain]
            kept = self.held_back(kind, forms)
            if kept:
                found = [form if form in kept else now for form, now in zip(forms, found, strict=True)]
        return found

    def _form(self, kind: str, plain: str) -> str:
        form = self.active.hash(plain)
        if self.to is not None and (kind, form) <= self.reached:
            return self.to.hash(plain)
        return form


def hashing(settings: Settings, warehouse: Warehouse) -> Hashing:
    """How values are stored in this warehouse. The first who asks makes the settings' key its key.

    Raises
    ------
    PortraitError : when a key that the warehouse needs is not in the settings, or is another one than it was.
    """
    ring = keyring(settings)
    _register_first(warehouse, ring.current)
    active: Key | None = None
    for row in warehouse.rows(
        "select version, fingerprint, active from privacy.key_version order by version"
    ):
        check_fingerprint(ring, row["version"], row["fingerprint"])
        if not row["fingerprint"] and (key := ring.find(row["version"])):
            warehouse.execute(
                "update privacy.key_version set fingerprint = :f where version = :v and fingerprint = ''",
                v=key.version,
                f=key.fingerprint,
            )
        if row["active"]:
            active = ring.get(row["version"], "the hashes of this warehouse are")
    assert active is not None
    rows = warehouse.rows(
        "select to_version, reached_kind, reached_hash from privacy.key_rotation where finished_at is null"
    )
    to, reached = None, ("", "")
    if rows:
        to = ring.get(rows[0]["to_version"], "a rotation of keys is under way: the new hashes are")
        reached = rows[0]["reached_kind"], rows[0]["reached_hash"]
    for row in warehouse.rows(
        "select distinct split_part(hash, ':', 1) as version from privacy.held_back_hash"
    ):
        ring.get(row["version"], "some identifiers, whose clear values are not held, are stored as hashes")
    return Hashing(ring, active, to, reached, _held_back(warehouse))


def check_fingerprint(ring: Keyring, version: str, fingerprint: str) -> None:
    """Raise PortraitError when the settings have another key under the name of this version.

    A warehouse that is older than the record of keys has an empty fingerprint: the first who asks gives it his.
    """
    key = ring.find(version)
    if key is not None and fingerprint and key.fingerprint != fingerprint:
        raise PortraitError(
            f"PORTRAIT_PII_KEY is not the key that {version} was (fingerprint {key.fingerprint}, not {fingerprint}): set the "
            f"key of {version} again; a new one gets a version of its own (PORTRAIT_PII_KEY=v2:…, "
            "PORTRAIT_PII_KEY_FORMER=v1:…) and `portrait privacy rotate-keys`"
        )


@contextmanager
def keys_stay(warehouse: Warehouse) -> Iterator[None]:
    """Until the end of the block no rotation changes what is stored; it goes with the connection."""
    with warehouse.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("select pg_advisory_lock_shared(:k)"), {"k": GATE})
        try:
            yield
        finally:
            connection.execute(text("select pg_advisory_unlock_shared(:k)"), {"k": GATE})


def _register_first(warehouse: Warehouse, key: Key) -> None:
    if warehouse.scalar("select 1 from privacy.key_version limit 1") is None:
        warehouse.execute(
            "insert into privacy.key_version (version, fingerprint, active) values (:v, :f, true) on conflict do nothing",
            v=key.version,
            f=key.fingerprint,
        )


def _held_back(warehouse: Warehouse) -> Callable[[str, list[str]], set[str]] | None:
    if warehouse.scalar("select 1 from privacy.held_back_hash limit 1") is None:
        return None

    def among(kind: str, hashes: list[str]) -> set[str]:
        rows = warehouse.rows(
            "select hash from privacy.held_back_hash where kind = :k and hash = any(:h)", k=kind, h=hashes
        )
        return {r["hash"] for r in rows}

    return among
