"""Values that stand for nobody: zeros, `anonymous`, a store's own number."""

import pyarrow as pa

from portrait.config import Settings
from portrait.ingest.hashing import hashing
from portrait.ingest.keys import keyring
from portrait.ingest.pii import normaliser
from portrait.warehouse import open_warehouse

HASHED = ("card", "phone", "email", "payment")
"""Kinds that `raw` holds as keyed hashes."""


def stored_value(settings: Settings, kind: str, value: str) -> str | None:
    """A clear value as `raw` and `identity` hold it; None when it is no value of its kind.

    What is hashed already (``v1:…``) is taken as it is.
    """
    if kind not in HASHED or (value.startswith("v") and ":" in value):
        return value
    plain = normaliser(kind, settings.sources.phone_region)(value)
    if plain is None:
        return None
    ring = keyring(settings)
    if not ring.former:
        return ring.current.hash(plain)
    return hashing(settings, open_warehouse(settings)).stored(kind, [plain])[0]


def stored_forms(settings: Settings, kind: str, value: str) -> tuple[str, ...]:
    """What a clear value is, or was, stored as: a form for each key of the settings; none when it is no value."""
    if kind not in HASHED or (value.startswith("v") and ":" in value):
        return (value,)
    plain = normaliser(kind, settings.sources.phone_region)(value)
    return () if plain is None else keyring(settings).forms(plain)


def blocked_values(settings: Settings) -> pa.Table:
    """kind, value of everything that `identity.yaml` blocks, as stored."""
    found = [
        (kind, stored)
        for kind, values in settings.identity.blocked.items()
        for value in values
        for stored in stored_forms(settings, kind, value)
    ]
    return pa.table({"kind": [k for k, _ in found], "value": [v for _, v in found]}, schema=_SCHEMA)


_SCHEMA = pa.schema({"kind": pa.string(), "value": pa.string()})
