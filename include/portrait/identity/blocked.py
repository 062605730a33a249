"""Values that stand for nobody: zeros, `anonymous`, a store's own number."""

import pyarrow as pa

from portrait.config import Settings
from portrait.ingest.pii import hash_column, pii_key

HASHED = ("card", "phone", "email", "payment")
"""Kinds that `raw` holds as keyed hashes."""


def stored_value(settings: Settings, kind: str, value: str) -> str | None:
    """A clear value as `raw` and `identity` hold it; None when it is no value of its kind.

    What is hashed already (``v1:…``) is taken as it is.
    """
    if kind not in HASHED or (value.startswith("v") and ":" in value):
        return value
    region = settings.sources.phone_region
    hashed = hash_column(pa.array([value]), kind, pii_key(settings), region)  # type: ignore[arg-type]
    found: str | None = hashed[0].as_py()
    return found


def blocked_values(settings: Settings) -> pa.Table:
    """kind, value of everything that `identity.yaml` blocks, as stored."""
    found = [
        (kind, stored)
        for kind, values in settings.identity.blocked.items()
        for value in values
        if (stored := stored_value(settings, kind, value)) is not None
    ]
    return pa.table({"kind": [k for k, _ in found], "value": [v for _, v in found]}, schema=_SCHEMA)


_SCHEMA = pa.schema({"kind": pa.string(), "value": pa.string()})
