"""The keys that hold, kept in memory by each worker and looked at anew every second."""

import hmac
from datetime import UTC, datetime

from portrait.serving.database import Database
from portrait.serving.keys import ApiKey, digest, key_id_of

_KEYS = (
    "select key_id, name, secret_sha256, scopes, requests_per_second, expires_at from ops.api_key "
    "where revoked_at is null and (expires_at is null or expires_at > now())"
)


class Keyring:
    """Says which key a request carries. A key is known at the latest one refresh after it was made."""

    def __init__(self) -> None:
        self._keys: dict[str, ApiKey] = {}
        self._shown: dict[str, ApiKey] = {}

    async def refresh(self, database: Database) -> None:
        """Read the keys that hold."""
        rows = await database.rows(_KEYS)
        self._keys = {r["key_id"]: ApiKey(**{**r, "scopes": frozenset(r["scopes"])}) for r in rows}
        self._shown = {}

    def find(self, key: str) -> ApiKey | None:
        """The key with exactly this text; None when it is unknown, revoked or expired."""
        found = self._shown.get(key)
        if found is None:
            candidate = self._keys.get(key_id_of(key) or "")
            if candidate is None or not hmac.compare_digest(digest(key), candidate.secret_sha256):
                return None
            found = self._shown[key] = candidate
        return found if found.holds(datetime.now(UTC)) else None
