"""The kinds of identifier and the `raw` columns that hold them."""

from portrait.contracts import CONTRACTS

KIND_COLUMNS = {
    "card": "card_hash",
    "account": "account_id",
    "phone": "phone_hash",
    "email": "email_hash",
    "payment": "payment_hash",
    "device": "device_id",
}
"""Kind -> stored column."""

LOCK = 7_203_119
"""Advisory lock: one resolution at a time."""


def kinds_of(entity: str) -> dict[str, str]:
    """Kind -> column of the identifiers that a `raw` table holds; empty for products, stores and lines."""
    stored = {c.stored_as for c in CONTRACTS[entity].columns}
    return {kind: column for kind, column in KIND_COLUMNS.items() if column in stored}


ENTITIES = tuple(entity for entity in CONTRACTS if kinds_of(entity))
"""`raw` tables whose rows name a person or a device."""
