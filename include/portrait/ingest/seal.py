"""Encryption of what must be kept in clear: contact data and refused rows (AES-256-GCM, library `cryptography`)."""

import os

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from portrait.errors import PortraitError

_NONCE = 12


class Seal:
    """Encrypts and decrypts with a key derived from the secret of the keyed hash (HKDF, RFC 5869)."""

    def __init__(self, secret: bytes) -> None:
        derived = HKDF(algorithm=hashes.SHA256(), length=32, salt=None, info=b"portrait seal").derive(secret)
        self._cipher = AESGCM(derived)

    def close(self, text: str, purpose: str) -> bytes:
        """Nonce and ciphertext; it opens only for the same `purpose`."""
        nonce = os.urandom(_NONCE)
        return nonce + self._cipher.encrypt(nonce, text.encode(), purpose.encode())

    def open(self, sealed: bytes, purpose: str) -> str:
        """The text. Raises PortraitError when the key is another one, or the bytes were changed."""
        try:
            plain = self._cipher.decrypt(sealed[:_NONCE], sealed[_NONCE:], purpose.encode())
        except InvalidTag:
            raise PortraitError(
                "cannot decrypt: PORTRAIT_PII_KEY is not the key with which the row was written"
            ) from None
        return plain.decode()
