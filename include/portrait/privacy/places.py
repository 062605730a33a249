"""Where rows of a customer are: one list for erasing them and for giving them out."""

from collections.abc import Iterator, Sequence

from portrait.identity.kinds import kinds_of
from portrait.ingest.suppression import PRIORITY
from portrait.profiles.tables import TABLES

RAW_ENTITIES = ("online_event", "pos_receipt", "consent_event", "member")
"""Tables of `raw` whose rows name somebody; statements of consent before the member they are of."""

PROFILE_TABLES = tuple(t.name for t in TABLES.values() if t.is_of_customers)
"""Of `profile_store`; the published night is under the same names in `profile`."""

AUDIENCE_TABLES = ("membership", "exported", "delivery")


def owner_columns(entity: str) -> Iterator[tuple[str, str, list[str]]]:
    """Kind and column of each identifier of a raw table, the strongest first, and the columns before it."""
    columns = kinds_of(entity)
    ordered = [kind for kind in PRIORITY if kind in columns]
    for place, kind in enumerate(ordered):
        yield kind, columns[kind], [columns[k] for k in ordered[:place]]


def owned_by(column: str, stronger: Sequence[str]) -> str:
    """SQL: the row's first identifier is in `column` and among the values ``:v``."""
    return " and ".join([f"{column} = any(:v)", *(f"{c} is null" for c in stronger)])
