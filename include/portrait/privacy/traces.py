"""Recognising an erased customer in any text: by identifiers in clear, as stored, and by their ids."""

import re
from collections.abc import Iterator

from portrait.config import Settings
from portrait.identity.blocked import HASHED
from portrait.ingest.keys import keyring
from portrait.ingest.pii import normaliser
from portrait.ingest.suppression import CODE, Suppression

_TOKEN = re.compile(r"v\d+:[0-9a-f]{64}|[\w@.+\-]+")
_PHONE = re.compile(r"\+?\d[\d\s\-().]{5,18}\d")
_HEX = re.compile(r"v\d+:[0-9a-f]{64}")
_REMEMBERED = 1_000_000


class Tracer:
    """Finds what is on a suppression list. Each distinct token is asked for once."""

    def __init__(self, settings: Settings, suppression: Suppression) -> None:
        self._suppression = suppression
        self._ring, region = keyring(settings), settings.sources.phone_region
        kinds = {k for of in suppression.hashes.values() for k in of}
        self._normalise = {k: normaliser(k, region) for k in HASHED if k in kinds}
        self._met: dict[str, str | None] = {}

    def kind(self, token: str) -> str | None:
        """What a whole value is of an erased customer; None when it is nothing."""
        if token in self._met:
            return self._met[token]
        if len(self._met) > _REMEMBERED:
            self._met.clear()
        found = self._kind(token)
        self._met[token] = found
        return found

    def code(self, number: int) -> str | None:
        """The same for the number of an identifier in the lake."""
        return CODE if self._suppression.holds(CODE, str(number)) else None

    def find(self, text: str, named: bool = True) -> Iterator[tuple[str, str]]:
        """Kind and token of each trace in a text.

        Parameters
        ----------
        named : whether the field is meant for identifiers. Elsewhere a short number (``10023``) may be anything and
            does not count.
        """
        tokens = {text} if _TOKEN.fullmatch(text) else {text.strip(), *_TOKEN.findall(text)}
        if "phone" in self._normalise and not _HEX.fullmatch(text):
            tokens.update(_PHONE.findall(text))
        for token in sorted(tokens) if len(tokens) > 1 else tokens:
            kind = self.kind(token) if token else None
            if kind is not None and (named or distinctive(token)):
                yield kind, token

    def _kind(self, token: str) -> str | None:
        for kind in sorted(self._suppression.kinds(token) - {CODE}):
            return kind
        for kind, normalise in self._normalise.items():
            if (kind == "email") != ("@" in token) or (kind == "phone" and not _PHONE.fullmatch(token)):
                continue
            plain = normalise(token)
            if plain is None:
                continue
            if any(self._suppression.holds(kind, form) for form in self._ring.forms(plain)):
                return kind
        return None


def distinctive(token: str) -> bool:
    """Whether it is unlikely to be anything but an identifier: not a short word, nor a short number."""
    return len(token) >= (9 if token.isdigit() else 6)
