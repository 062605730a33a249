"""Encryption of what must be kept in clear: contact data and refused rows (AES-256-GCM, library `cryptography`)."""

import os
from collections.abc import Iterable

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from portrait.config import Settings
from portrait.errors import PortraitError
from portrait.ingest.keys import keyring

_NONCE = 12


class Seal:
    """Encrypts and decrypts with a key derived from the secret of the keyed hash (HKDF, RFC 5869).

    `former` secrets open what was sealed before the key was changed; nothing is sealed with them any more.
    """

    def __init__(self, secret: bytes, former: Iterable[bytes] = ()) -> None:
        self._cipher = _cipher(secret)
        self._former = [_cipher(one) for one in former]

    def close(self, text: str, purpose: str) -> bytes:
        """Nonce and ciphertext; it opens only for the same `purpose`."""
        nonce = os.urandom(_NONCE)
        return nonce + self._cipher.encrypt(nonce, text.encode(), purpose.encode())

    def open(self, sealed: bytes, purpose: str) -> str:
        """The text. Raises PortraitError when the key is another one, or the bytes were changed."""
        for cipher in (self._cipher, *self._former):
            text = _opened(cipher, sealed, purpose)
            if text is not None:
                return text
        raise PortraitError(
            "cannot decrypt: PORTRAIT_PII_KEY is not the key with which the row was written, and PORTRAIT_PII_KEY_FORMER "
            "has none that is"
        )

    def is_current(self, sealed: bytes, purpose: str) -> bool:
        """Whether it opens with the key with which new texts are sealed."""
        return _opened(self._cipher, sealed, purpose) is not None


def seal_of(settings: Settings) -> Seal:
    """The seal of the settings' keys."""
    ring = keyring(settings)
    return Seal(ring.current.secret, [key.secret for key in ring.former])


def _cipher(secret: bytes) -> AESGCM:
    return AESGCM(HKDF(algorithm=hashes.SHA256(), length=32, salt=None, info=b"portrait seal").derive(secret))


def _opened(cipher: AESGCM, sealed: bytes, purpose: str) -> str | None:
    try:
        return cipher.decrypt(sealed[:_NONCE], sealed[_NONCE:], purpose.encode()).decode()
    except InvalidTag:
        return None
