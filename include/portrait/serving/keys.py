"""API keys: made and revoked by the command line, known to the API by their hash only."""

import base64
import hashlib
import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from portrait.config import Settings
from portrait.errors import PortraitError
from portrait.serving.scopes import ROLES, Scope
from portrait.warehouse import open_warehouse

if TYPE_CHECKING:
    from rich.table import Table

PREFIX = "portrait"
_ID_BYTES, _SECRET_BYTES = 5, 20


@dataclass(frozen=True)
class ApiKey:
    """A key as the API knows it.

    Attributes
    ----------
    secret_sha256 : of the whole key. Its 160 random bits need no slow hash: they cannot be guessed.
    requests_per_second : None means that of `serving.yaml`.
    """

    key_id: str
    name: str
    secret_sha256: str
    scopes: frozenset[str]
    requests_per_second: float | None
    expires_at: datetime | None

    def holds(self, now: datetime) -> bool:
        """Whether it has not expired."""
        return self.expires_at is None or now < self.expires_at


def key_id_of(key: str) -> str | None:
    """The part by which a key is found: `portrait_<id>_<secret>`; None when it does not look like one."""
    parts = key.split("_")
    return parts[1] if len(parts) == 3 and parts[0] == PREFIX and len(parts[1]) == 8 else None


def digest(key: str) -> str:
    """SHA-256 of a key, hex."""
    return hashlib.sha256(key.encode()).hexdigest()


def scopes_of(role: str | None, scopes: Iterable[str]) -> tuple[Scope, ...]:
    """The scopes of a role and these further ones.

    Raises
    ------
    PortraitError : when a name is unknown, or there is none.
    """
    wanted = list(scopes)
    if role is not None:
        if role not in ROLES:
            raise PortraitError(f"no role '{role}'; choose one of {', '.join(ROLES)}, or name scopes")
        wanted += ROLES[role]
    if unknown := sorted(set(wanted) - {s.value for s in Scope}):
        raise PortraitError(f"no scope '{unknown[0]}'; choose from {', '.join(s.value for s in Scope)}")
    if not wanted:
        raise PortraitError("say what the key may ask: --role marketing, or --scope customers")
    return tuple(s for s in Scope if s in wanted)


def create_key(
    settings: Settings,
    name: str,
    scopes: Sequence[Scope],
    requests_per_second: float | None = None,
    days: int | None = None,
) -> str:
    """Make a key and give it: the only time it is seen.

    Parameters
    ----------
    days : it ends by itself after so many; None: never.
    """
    key_id, secret = _random(_ID_BYTES), _random(_SECRET_BYTES)
    key = f"{PREFIX}_{key_id}_{secret}"
    open_warehouse(settings).execute(
        "insert into ops.api_key (key_id, name, secret_sha256, scopes, requests_per_second, expires_at) "
        "values (:id, :name, :sha, :scopes, :rate, :expires)",
        id=key_id,
        name=name,
        sha=digest(key),
        scopes=[str(s) for s in scopes],
        rate=requests_per_second,
        expires=datetime.now(UTC) + timedelta(days=days) if days is not None else None,
    )
    return key


def revoke_key(settings: Settings, key_id: str) -> None:
    """It is refused from the API's next look at the keys on.

    Raises
    ------
    PortraitError : when there is no such key, or it was revoked before.
    """
    done = open_warehouse(settings).rows(
        "update ops.api_key set revoked_at = now() where key_id = :id and revoked_at is null returning key_id",
        id=key_id,
    )
    if not done:
        raise PortraitError(f"no key '{key_id}' that holds; `portrait api-key list` shows them")


def key_table(settings: Settings) -> "Table":
    """Every key ever made, the newest first."""
    from rich.table import Table

    table = Table("key", "name", "scopes", "requests/s", "made", "state", title="API keys")
    rows = open_warehouse(settings).rows(
        "select *, case when revoked_at is not null then 'revoked' when expires_at <= now() then 'expired' "
        "else 'holds' end as state from ops.api_key order by created_at desc, key_id"
    )
    for row in rows:
        rate = "" if row["requests_per_second"] is None else f"{row['requests_per_second']:g}"
        table.add_row(
            row["key_id"],
            row["name"],
            ", ".join(row["scopes"]),
            rate,
            f"{row['created_at']:%Y-%m-%d}",
            row["state"],
        )
    return table


def _random(size: int) -> str:
    """Random bytes as lower-case letters and the digits 2 to 7."""
    return base64.b32encode(secrets.token_bytes(size)).decode().lower()
