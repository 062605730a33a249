"""The versions of the key: the one that new values get, and former ones whose hashes and seals are still about."""

import hashlib
import hmac
import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from portrait.config import Settings
from portrait.errors import PortraitError
from portrait.ingest.pii import key_file, keyed_hash, pii_key, split_key

_FORMER = "PORTRAIT_PII_KEY_FORMER"


@dataclass(frozen=True)
class Key:
    """One version of the secret.

    Attributes
    ----------
    version : ``v1``, ``v2``, …, written in front of every hash.
    """

    version: str
    secret: bytes = field(repr=False)

    def hash(self, plain: str) -> str:
        """What a normalised value is stored as."""
        return keyed_hash(self.version, self.secret, plain)

    def derived(self, purpose: str) -> bytes:
        """A key that serves one purpose only."""
        return hmac.digest(self.secret, f"portrait {purpose}".encode(), hashlib.sha256)

    @property
    def fingerprint(self) -> str:
        """Tells two keys apart and gives neither away: sixteen hexadecimal digits."""
        return self.derived("fingerprint").hex()[:16]


@dataclass(frozen=True)
class Keyring:
    """The key of the settings and the former ones."""

    current: Key
    former: tuple[Key, ...] = ()

    def __iter__(self) -> Iterator[Key]:
        return iter((self.current, *self.former))

    def find(self, version: str) -> Key | None:
        return next((key for key in self if key.version == version), None)

    def get(self, version: str, what: str) -> Key:
        """The key of a version.

        Parameters
        ----------
        what : what cannot be read without it, for the error.

        Raises
        ------
        PortraitError : when the settings do not have it any more.
        """
        key = self.find(version)
        if key is None:
            held = ", ".join(k.version for k in self)
            raise PortraitError(
                f"{what} of key {version}, and the settings have {held} only: set {_FORMER}={version}:… (former keys, "
                "separated by commas) again. Without it they cannot be recognised"
            )
        return key

    def forms(self, plain: str) -> tuple[str, ...]:
        """What a normalised value is stored as under each key, the current one first."""
        return tuple(key.hash(plain) for key in self)


def keyring(settings: Settings) -> Keyring:
    """The keys of PORTRAIT_PII_KEY and PORTRAIT_PII_KEY_FORMER; of an embedded set-up, those of its file.

    Raises
    ------
    PortraitError : when there is none, one cannot be read, or two have the same version.
    """
    current = Key(*split_key(pii_key(settings)))
    if settings.pii_key:
        written = [part.strip() for part in (settings.former_pii_keys or "").split(",")]
        place = _FORMER
    else:
        path = key_file(settings)
        written, place = path.read_text().split()[1:], str(path)
    former = tuple(_former(part, place) for part in written if part)
    versions = [current.version, *(k.version for k in former)]
    if len(set(versions)) < len(versions):
        raise PortraitError(
            f"{place}: two keys are called {_twice(versions)}; write each with its own version in front: v2:…"
        )
    return Keyring(current, former)


def next_version(ring: Keyring) -> str:
    """The version of the next key."""
    return f"v{max(int(key.version[1:]) for key in ring) + 1}"


def _former(written: str, place: str) -> Key:
    if not re.fullmatch(r"v\d+:.+", written):
        raise PortraitError(f"{place}: a former key is written with its version in front: v1:…")
    return Key(*split_key(written.encode()))


def _twice(versions: list[str]) -> str:
    return next(v for v in versions if versions.count(v) > 1)
