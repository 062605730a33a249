"""Who asked to be forgotten: keyed hashes of identifiers that must not come back.

The list holds no identifier and none of the hashes that other tables hold: HMAC-SHA-256, under a key of its own, of the
value as it was stored (for a phone that is its keyed hash already).
"""

import hashlib
import hmac
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import pyarrow as pa
import pyarrow.compute as pc

from portrait.config import Settings
from portrait.ingest.hashing import check_fingerprint
from portrait.ingest.keys import keyring
from portrait.warehouse import Warehouse

CUSTOMER, MEMBER, CODE = "customer", "member", "code"
"""Kinds that are no identifiers of a delivery: ids of Portrait's, of the member file, of the lake."""


def derived_key(settings: Settings, purpose: str) -> tuple[str, bytes]:
    """Version and a key that serves one purpose only, derived from the key of the hash."""
    current = keyring(settings).current
    return current.version, current.derived(purpose)


def list_forms(settings: Settings, value: str) -> list[str]:
    """What a stored value may be on the list as: a hash for each key of the settings."""
    return [_entry(key.derived("suppression"), value) for key in keyring(settings)]


def _entry(key: bytes, value: str) -> str:
    return hmac.digest(key, value.encode(), hashlib.sha256).hex()


@dataclass(frozen=True)
class Suppression:
    """The list as it was read: hash -> kinds, and the keys that make a hash of a stored value.

    Attributes
    ----------
    key : of new entries. `former` : of entries that were made before the key was changed.
    learned : stored values that were recognised by another form of theirs (`learn`), and as which kinds.
    """

    key: bytes
    hashes: Mapping[str, frozenset[str]] = field(default_factory=dict)
    former: tuple[bytes, ...] = ()
    learned: dict[str, frozenset[str]] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.hashes)

    def hash(self, value: str) -> str:
        """What a stored value is on the list from now on."""
        return _entry(self.key, value)

    def kinds(self, value: str) -> frozenset[str]:
        """As which kinds a stored value is on the list; empty when it is not."""
        found = self.hashes.get(self.hash(value)) or self.learned.get(value)
        for key in self.former if not found else ():
            found = found or self.hashes.get(_entry(key, value))
        return found or frozenset()

    def learn(self, kind: str, stored: str, forms: Iterable[str]) -> None:
        """A value is on the list when it was put there in any of its forms, each under another key."""
        if self.hashes and not self.holds(kind, stored) and any(self.holds(kind, form) for form in forms):
            self.learned[stored] = self.learned.get(stored, frozenset()) | {kind}

    def holds(self, kind: str, value: str) -> bool:
        return kind in self.kinds(value)

    def among(self, kind: str, values: Iterable[str]) -> set[str]:
        """Those of `values` that are on the list."""
        return {v for v in values if self.holds(kind, v)} if self.hashes else set()

    def mask(self, kind: str, values: pa.Array | pa.ChunkedArray) -> pa.Array:
        """Boolean, never null: which values are on the list; each distinct one is asked for once."""
        found = self.among(kind, pc.unique(values).drop_null().to_pylist())
        return pc.is_in(values, value_set=pa.array(sorted(found), pa.string()))


def read_suppression(settings: Settings, warehouse: Warehouse, receipt_id: int | None = None) -> Suppression:
    """The list, or what one receipt put on it.

    Raises
    ------
    PortraitError : when the settings lack a key with which an entry was made: it could not be recognised any more.
    """
    of = "where receipt_id = :r" if receipt_id is not None else ""
    rows = warehouse.rows(
        f"select hash, array_agg(kind) as kinds from privacy.suppression {of} group by hash",
        **({"r": receipt_id} if receipt_id is not None else {}),
    )
    if not rows:
        return Suppression(b"")
    ring = keyring(settings)
    for row in warehouse.rows(
        "select version, fingerprint from (select key_version as version from privacy.suppression "
        "union select value_version from privacy.suppression) as needed "
        "left join privacy.key_version using (version) where version is not null order by version"
    ):
        ring.get(
            row["version"],
            "erased customers could come back unseen: entries of privacy.suppression were made",
        )
        if row["fingerprint"] is not None:
            check_fingerprint(ring, row["version"], row["fingerprint"])
    return Suppression(
        ring.current.derived("suppression"),
        {r["hash"]: frozenset(r["kinds"]) for r in rows},
        tuple(key.derived("suppression") for key in ring.former),
    )


PRIORITY = ("card", "account", "phone", "email", "payment", "device")
"""The first of these that a row has says whose it is."""


def forget_rows(
    suppression: Suppression, columns: Mapping[str, str], rows: pa.Table
) -> tuple[pa.Table, pa.Array]:
    """What may be loaded of `rows`, and which rows may not be at all (boolean).

    A row whose first identifier (`PRIORITY`) is on the list is an erased customer's. A purchase is kept without its
    identifiers, as the books need it; any other row goes. An identifier of an erased customer in somebody else's row
    is blanked.

    Parameters
    ----------
    columns : kind -> column of `rows`, with stored values.
    """
    kinds = [k for k in PRIORITY if k in columns]
    masks = {k: suppression.mask(k, rows[columns[k]]) for k in kinds}
    if not any(pc.any(m).as_py() for m in masks.values()):
        return rows, pa.repeat(False, rows.num_rows)
    theirs = pc.coalesce(
        *[pc.if_else(pc.is_valid(rows[columns[k]]), masks[k], pa.scalar(None, pa.bool_())) for k in kinds],
        pa.scalar(False),
    )
    theirs = pc.fill_null(theirs, False)
    purchase = is_purchase(rows)
    for kind in kinds:
        name = columns[kind]
        blank = pc.or_(masks[kind], theirs)
        kept = pc.if_else(blank, pa.scalar(None, pa.string()), rows[name])
        rows = rows.set_column(rows.schema.get_field_index(name), name, kept)
    return rows, pc.and_(theirs, pc.invert(purchase))


def is_purchase(rows: pa.Table) -> pa.Array:
    """Boolean: receipts, and events of orders."""
    if "event_name" in rows.schema.names:
        return pc.is_in(rows["event_name"], value_set=pa.array(PURCHASE_EVENTS))
    return pa.repeat("sequence_number" in rows.schema.names, rows.num_rows)


PURCHASE_EVENTS = ("order_completed", "order_refunded")
