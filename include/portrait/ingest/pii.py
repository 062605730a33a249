"""Personal identifiers become keyed hashes before they reach any table.

HMAC-SHA-256 over the normalised value (phone in E.164, e-mail in lower case, card without separators), with
the key's version in front: ``v1:<64 hex>``. Without the key nobody can test a guessed phone number.
"""

import hashlib
import hmac
import logging
import os
import re
import secrets
import tempfile
import unicodedata
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Protocol

import pyarrow as pa
import pyarrow.compute as pc

from portrait.config import Settings
from portrait.contracts import Pii
from portrait.errors import PortraitError

log = logging.getLogger(__name__)

_VERSIONED = re.compile(rb"(v\d+):(.+)", re.DOTALL)
_EMAIL = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s]+")
_SEPARATORS = re.compile(r"[\s\-./()]+")
_NOT_CARD = re.compile(r"[\W_]+")
# Chinese mobile numbers are most of the traffic; the library takes 30 microseconds a number.
_CHINA_MOBILE = re.compile(r"(?:\+?86)?(1[3-9]\d{9})")


def pii_key(settings: Settings) -> bytes:
    """The secret of the hash: PORTRAIT_PII_KEY, else one made once and kept in `home` (mode 600).

    Raises
    ------
    PortraitError : with a database of one's own and no key; a key lost with a container would orphan every
        stored hash.
    """
    if settings.pii_key:
        return settings.pii_key.encode()
    if settings.database_url:
        raise PortraitError(
            "PORTRAIT_PII_KEY is not set; make one with `openssl rand -hex 32` and keep it safe"
        )
    path = key_file(settings)
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        _create_once(path)
    return path.read_text().split()[0].encode()


def key_file(settings: Settings) -> Path:
    """Where an embedded set-up keeps its key, and below it, a line each, the former ones."""
    return settings.home / "pii.key"


def split_key(key: bytes) -> tuple[str, bytes]:
    """Version and secret: a key may carry its version in front (``v2:…``), without one it is v1."""
    match = _VERSIONED.fullmatch(key)
    return (match.group(1).decode(), match.group(2)) if match else ("v1", key)


def _create_once(path: Path) -> None:
    """Write a new key, complete or not at all; the first of two starters wins."""
    handle, name = tempfile.mkstemp(prefix=".pii.key.", dir=path.parent)  # mode 600
    draft = Path(name)
    with os.fdopen(handle, "w") as file:
        file.write(secrets.token_hex(32))
    try:
        os.link(draft, path)
    except FileExistsError:
        log.debug("another starter made the key first")
    finally:
        draft.unlink()


def normalise_card(value: str) -> str | None:
    """Letters and digits only, upper case; None without a digit other than zero (``N/A``, ``0000``)."""
    card = _NOT_CARD.sub("", _plain(value)).upper()
    return card if re.search("[1-9]", card) else None


def normalise_payment(value: str) -> str | None:
    """A payment token as it is, without blanks around it; None without a letter or a digit other than zero."""
    token = _plain(value)
    return token if re.search("[A-Za-z1-9]", token) else None


def normalise_email(value: str) -> str | None:
    """Lower case, no blanks; None when it is no address."""
    email = _plain(value).lower()
    return email if _EMAIL.fullmatch(email) else None


def normalise_phone(value: str, region: str) -> str | None:
    """E.164 (``+8613800138000``), numbers without a country code read as `region`'s; None when impossible."""
    value = _plain(value)
    digits = _SEPARATORS.sub("", value)
    if region == "CN" and (mobile := _CHINA_MOBILE.fullmatch(digits)):
        return "+86" + mobile.group(1)
    import phonenumbers

    try:
        number = phonenumbers.parse(value, region)
    except phonenumbers.NumberParseException:
        return None
    if not phonenumbers.is_possible_number(number):
        return None
    return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)


def _plain(value: str) -> str:
    """Full-width characters made plain; without the ``.0`` of a number that went through a spreadsheet."""
    return unicodedata.normalize("NFKC", value).strip().removesuffix(".0")


def normaliser(kind: str, region: str) -> Callable[[str], str | None]:
    """What makes equal what was written in several ways; phone numbers without a country code are `region`'s."""
    normalisers: dict[str, Callable[[str], str | None]] = {
        "card": normalise_card,
        "email": normalise_email,
        "phone": partial(normalise_phone, region=region),
        "payment": normalise_payment,
    }
    return normalisers[kind]


class Hasher(Protocol):
    """Knows what normalised values are stored as."""

    def stored(self, kind: str, plain: Sequence[str]) -> list[str]: ...


def keyed_hash(version: str, secret: bytes, plain: str) -> str:
    """What a normalised value is stored as under this version of the key."""
    return f"{version}:{hmac.digest(secret, plain.encode(), hashlib.sha256).hex()}"


def payload_print(secret: bytes, payload: str) -> str:
    """Fingerprint of a delivered row, keyed: a phone in the row could be guessed from a plain one."""
    return hmac.digest(secret, payload.encode(), "md5").hex()


class OneKey:
    """Every value under the same key."""

    def __init__(self, key: bytes) -> None:
        self._version, self._secret = split_key(key)

    def stored(self, kind: str, plain: Sequence[str]) -> list[str]:
        return [keyed_hash(self._version, self._secret, p) for p in plain]


def hash_column(
    values: pa.Array | pa.ChunkedArray,
    kind: Pii,
    key: bytes | Hasher,
    region: str,
    found: Callable[[Pii, str, str], None] | None = None,
) -> pa.Array:
    """Normalise and hash a text column, each distinct value once; what cannot be normalised becomes null.

    `found` is called with kind, hash and normalised value, once a distinct value.
    """
    hasher = OneKey(key) if isinstance(key, bytes) else key
    normalise = normaliser(kind, region)
    combined = values.combine_chunks() if isinstance(values, pa.ChunkedArray) else values
    encoded = combined.dictionary_encode()
    plain = [None if v is None else normalise(v) for v in encoded.dictionary.to_pylist()]
    digests = iter(hasher.stored(kind, [p for p in plain if p is not None]))
    hashed = [None if p is None else next(digests) for p in plain]
    if found is not None:
        for value, digest in zip(plain, hashed, strict=True):
            if value is not None and digest is not None:
                found(kind, digest, value)
    return pc.take(pa.array(hashed, pa.string()), encoded.indices)
