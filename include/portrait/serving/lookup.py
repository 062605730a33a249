"""From what a caller has in hand, a card number, an account, an old id, to today's customer id."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from portrait.ingest.keys import Keyring
from portrait.ingest.pii import normaliser
from portrait.serving.database import Database, statement

KINDS = ("customer", "card", "account", "phone", "email", "device")
_HASHED = {"card", "phone", "email"}
_CUSTOMER_ID = re.compile(r"C[0-9a-f]{16}")
LONGEST = 200


class NoCustomer(Exception):
    """Nobody has this id."""


class Ambiguous(Exception):
    """A bare id that is several customers': as a card one's, as an account another's."""


@dataclass(frozen=True)
class Hasher:
    """Identifiers as they are stored: what `ingest.pii.hash_column` makes of a column, for one value."""

    keys: Keyring
    region: str

    def stored(self, kind: str, value: str) -> tuple[str, ...]:
        """What the value may be stored as, a form for each key; nothing for what cannot be an identifier of the kind."""
        if kind not in _HASHED:
            return (value,)
        plain = normaliser(kind, self.region)(value)
        return self.keys.forms(plain) if plain is not None else ()


def is_customer_id(asked: str) -> bool:
    """Whether it looks like an id of Portrait's making."""
    return _CUSTOMER_ID.fullmatch(asked) is not None


def identifiers(asked: str, hasher: Hasher) -> tuple[str, list[tuple[str, str]]]:
    """The bare id that may be meant (or ""), and the identifiers (kind, stored value) that may.

    `kind:value` says which; a bare value may be a customer id, a card or an account.
    """
    kind, _, value = asked.partition(":")
    if value and kind in KINDS:
        if kind == "customer":
            return value, []
        return "", [(kind, form) for form in hasher.stored(kind, value)]
    return asked, [*(("card", form) for form in hasher.stored("card", asked)), ("account", asked)]


async def resolve(database: Database, hasher: Hasher, asked: Sequence[str]) -> list[str | Ambiguous | None]:
    """Today's customer id of each; None for nobody's, `Ambiguous` for several customers'."""
    bare: list[tuple[int, str]] = []
    given: list[tuple[int, str, str]] = []
    for n, one in enumerate(asked):
        # Postgres' text has no zero bytes: nobody has such an id.
        plain, named = identifiers(one.replace("\0", ""), hasher)
        if plain:
            bare.append((n, plain))
        given.extend((n, kind, value) for kind, value in named)
    found: list[set[str]] = [set() for _ in asked]
    for name, questions in (("ids", bare), ("owners", given)):
        if questions:
            for row in await database.rows(statement(name), *map(list, zip(*questions, strict=True))):
                if row["customer_id"] is not None:
                    found[row["n"]].add(row["customer_id"])
    return [Ambiguous() if len(ids) > 1 else next(iter(ids), None) for ids in found]


async def resolve_one(database: Database, hasher: Hasher, asked: str) -> str:
    """Today's customer id.

    Raises
    ------
    NoCustomer, Ambiguous
    """
    (answer,) = await resolve(database, hasher, [asked])
    if isinstance(answer, Ambiguous):
        raise answer
    if answer is None:
        raise NoCustomer
    return answer


async def impersonal(database: Database, customers: Sequence[str]) -> set[str]:
    """Those of them who do not allow personal recommendations at this moment."""
    if not customers:
        return set()
    rows = await database.rows(statement("impersonal"), list(customers))
    return {r["customer_id"] for r in rows}
