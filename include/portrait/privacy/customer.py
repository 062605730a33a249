"""Everybody an erasure or an export is about: every id and identifier of a customer."""

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, text

from portrait.config import Settings
from portrait.errors import PortraitError
from portrait.identity.blocked import HASHED, stored_forms, stored_value
from portrait.identity.kinds import ENTITIES, KIND_COLUMNS, kinds_of
from portrait.ingest.keys import keyring
from portrait.ingest.suppression import CUSTOMER, read_suppression
from portrait.warehouse import Warehouse, open_warehouse

_CUSTOMER_ID = re.compile(r"C[0-9a-f]{16}")


@dataclass(frozen=True)
class Person:
    """A customer as the warehouse knows them.

    Attributes
    ----------
    ids : every customer id they have or had.
    identifiers : kind, stored value.
    members : (source, source_row_id) of their rows in `raw.member`.
    """

    ids: frozenset[str]
    identifiers: frozenset[tuple[str, str]]
    members: frozenset[tuple[str, str]]


class AlreadyErased(Exception):
    """The customer is on the suppression list and nothing of them is left."""


def subject_of(settings: Settings, asked: str) -> tuple[str, str]:
    """`customer` and an id, or a kind of identifier and its stored value.

    Raises
    ------
    PortraitError : for what is neither a customer id nor ``kind:value``.
    """
    kind, colon, value = asked.strip().partition(":")
    if not colon and _CUSTOMER_ID.fullmatch(kind):
        return CUSTOMER, kind
    if kind not in (CUSTOMER, *KIND_COLUMNS) or not value.strip():
        listed = ", ".join(KIND_COLUMNS)
        raise PortraitError(
            f"'{kind}' is no customer: write a customer id, or kind:value with one of {listed} (phone:13800138000)"
        )
    if kind == CUSTOMER:
        return kind, value.strip()
    stored = stored_value(settings, kind, value.strip())
    if stored is None:
        raise PortraitError(f"the value after '{kind}:' is no {kind}; correct it")
    if kind in HASHED and keyring(settings).former:
        # Whoever was erased before the key was changed is on the list in a former form.
        suppression = read_suppression(settings, open_warehouse(settings))
        stored = next(
            (f for f in stored_forms(settings, kind, value.strip()) if suppression.holds(kind, f)), stored
        )
    return kind, stored


def find_person(settings: Settings, warehouse: Warehouse, kind: str, value: str) -> Person:
    """Every alias of one customer, as `find_people` finds them.

    Raises
    ------
    AlreadyErased : when nothing is left of them but their entry in the suppression list.
    PortraitError : when nobody has this id or identifier, or too many have it.
    """
    (person,) = find_people(settings, warehouse, [(kind, value)])
    if person is None:
        raise AlreadyErased
    return person


def find_people(
    settings: Settings, warehouse: Warehouse, subjects: Sequence[tuple[str, str]]
) -> list[Person | None]:
    """Every alias of each customer, a person for each subject (kind, stored value) in their order.

    Identifiers that no night has resolved yet count when they are in a row with one of the customer's. One that
    another customer has, or that is shared by too many to belong to anybody, does not. A thousand customers are a few
    questions of the database, not a few for each of them. None stands for somebody of whom nothing is left but their
    entry in the suppression list.

    Raises
    ------
    PortraitError : when nobody has one of these ids or identifiers, or too many have it.
    """
    with warehouse.begin() as connection:
        search = _Search(connection, subjects)
        search.run()
    suppression = None
    people: list[Person | None] = []
    for number, (kind, value) in enumerate(subjects):
        if search.is_left(number):
            people.append(search.person(number))
            continue
        if suppression is None:
            suppression = read_suppression(settings, warehouse)
        if not suppression.holds(kind, value):
            which = f"customer {number + 1} of {len(subjects)}: " if len(subjects) > 1 else ""
            raise PortraitError(
                f"{which}nobody has this id or identifier; `select * from identity.customer_identifier` lists those "
                "there are"
            )
        people.append(None)
    return people


class _Search:
    """The search for all subjects at once: what is found is kept by the subject's place in the list."""

    def __init__(self, connection: Connection, subjects: Sequence[tuple[str, str]]) -> None:
        self.connection, self.subjects = connection, subjects
        self.ids: dict[int, set[str]] = defaultdict(set)
        self.identifiers: dict[int, set[tuple[str, str]]] = defaultdict(set)
        self.members: dict[int, set[tuple[str, str]]] = defaultdict(set)
        self.seen: set[int] = set()

    def run(self) -> None:
        self._owners()
        self._all_ids()
        self._resolved()
        self._former_forms()
        for number, (kind, value) in enumerate(self.subjects):
            if kind != CUSTOMER and not self.identifiers[number]:
                self.identifiers[number] = {(kind, value)}
        self._not_resolved_yet()
        self._members()
        self._left()

    def person(self, number: int) -> Person:
        return Person(
            frozenset(self.ids[number]),
            frozenset(self.identifiers[number]),
            frozenset(self.members[number]),
        )

    def is_left(self, number: int) -> bool:
        """Whether anything is held on the subject."""
        return bool(self.members[number]) or number in self.seen

    def _owners(self) -> None:
        """Whose each named identifier is."""
        asked = [(n, k, v) for n, (k, v) in enumerate(self.subjects) if k != CUSTOMER]
        self.ids.update({n: {v} for n, (k, v) in enumerate(self.subjects) if k == CUSTOMER})
        rows = self._rows(
            "select asked.n, asked.kind, owner.customer_id "
            "from unnest(cast(:n as integer[]), cast(:k as text[]), cast(:v as text[])) as asked (n, kind, value) "
            "join identity.identifier as known using (kind, value) "
            "left join identity.assignment as owner "
            "on owner.identifier_id = known.identifier_id and owner.valid_to is null",
            n=[n for n, _, _ in asked],
            k=[k for _, k, _ in asked],
            v=[v for _, _, v in asked],
        )
        for number, kind, owner in rows:
            if owner is None:
                raise PortraitError(
                    f"this {kind} belongs to nobody: it is blocked, or shared by too many to say whose it is; name the "
                    "customer by their id, card or account"
                )
            self.ids[number].add(owner)

    def _all_ids(self) -> None:
        """Today's ids, and all that were merged into them."""
        today = self._current(self.ids)
        found = {number: set(ids) for number, ids in today.items()}
        fresh = today
        while fresh:
            merged = self._by_id(
                fresh,
                "select asked.n, change.other_customer_id from {asked} "
                "join identity.id_change as change on change.customer_id = asked.id and change.change = 'merge'",
            )
            fresh = {n: left for n, ids in merged.items() if (left := ids - found[n])}
            for number, ids in fresh.items():
                found[number] |= ids
        everybody = {n: found[n] | self.ids[n] for n in found}
        held = self._by_id(
            everybody,
            "select distinct asked.n, held.customer_id from {asked} "
            "join identity.assignment as held on held.customer_id = asked.id and held.valid_to is null",
        )
        for number, ids in everybody.items():
            # An id that came back to somebody else after a split is not theirs.
            self.ids[number] = ids - (held.get(number, set()) - today[number])

    def _current(self, ids: dict[int, set[str]]) -> dict[int, set[str]]:
        return self._by_id(
            ids, "select asked.n, coalesce(identity.current_id(asked.id), asked.id) from {asked}"
        )

    def _by_id(self, ids: dict[int, set[str]], sql: str) -> dict[int, set[str]]:
        """`sql` about (n, id) in the relation ``{asked}``; what it gives, by n."""
        pairs = [(n, one) for n, held in ids.items() for one in sorted(held)]
        found: dict[int, set[str]] = defaultdict(set)
        if pairs:
            asked = "unnest(cast(:n as integer[]), cast(:i as text[])) as asked (n, id)"
            rows = self._rows(sql.format(asked=asked), n=[n for n, _ in pairs], i=[i for _, i in pairs])
            for number, one in rows:
                found[number].add(one)
        return found

    def _resolved(self) -> None:
        """Every identifier that the identity record assigns to them."""
        pairs = [(n, one) for n, held in self.ids.items() for one in sorted(held)]
        rows = self._rows(
            "select asked.n, known.kind, known.value "
            "from unnest(cast(:n as integer[]), cast(:i as text[])) as asked (n, id) "
            "join identity.assignment as held on held.customer_id = asked.id and held.valid_to is null "
            "join identity.identifier as known using (identifier_id)",
            n=[n for n, _ in pairs],
            i=[i for _, i in pairs],
        )
        for number, kind, value in rows:
            self.identifiers[number].add((kind, value))

    def _former_forms(self) -> None:
        """While the key is changed, what has been rewritten is still called by its former hash in some places."""
        whose = self._whose()
        rows = self._rows(
            "select kind, new_hash, old_hash from privacy.rehashed where (kind, new_hash) in "
            "(select * from unnest(cast(:k as text[]), cast(:v as text[])))",
            k=[k for k, _ in whose],
            v=[v for _, v in whose],
        )
        for kind, new, old in rows:
            for number in whose[kind, new]:
                self.identifiers[number].add((kind, old))

    def _not_resolved_yet(self) -> None:
        """What is in a row with one of theirs and in no night's record."""
        whose = self._whose()
        for entity in ENTITIES:
            columns = kinds_of(entity)
            for kind, column in columns.items():
                others = ", ".join(f"('{k}', {c})" for k, c in columns.items() if k != kind)
                values = _values(whose, kind)
                if not values or not others:
                    continue
                # No index finds a device in rows that have an account; those rows are found by the account.
                indexed = (
                    " and row.account_id is null" if (entity, kind) == ("online_event", "device") else ""
                )
                rows = self._rows(
                    f"select mine, kind, value from (select distinct row.{column} as mine, met.kind, met.value "
                    f"from raw.{entity} as row cross join lateral (values {others}) as met (kind, value) "
                    f"where row.{column} = any(:v){indexed} and met.value <> '') as met where not exists ("
                    "select from identity.identifier as i where i.kind = met.kind and i.value = met.value)",
                    v=values,
                )
                for mine, other, value in rows:
                    for number in whose[kind, mine]:
                        self.identifiers[number].add((other, value))

    def _members(self) -> None:
        whose = self._whose()
        for kind, column in kinds_of("member").items():
            values = _values(whose, kind)
            if not values:
                continue
            rows = self._rows(
                f"select {column}, source, source_row_id from raw.member where {column} = any(:v)", v=values
            )
            for value, source, source_row_id in rows:
                for number in whose[kind, value]:
                    self.members[number].add((source, source_row_id))

    def _left(self) -> None:
        """Subjects of whom there is more than a row of the member table, asked for those without one."""
        without = {n: self.ids[n] for n in range(len(self.subjects)) if not self.members[n]}
        for source in (
            "identity.assignment as row on row.customer_id",
            "identity.id_change as row on row.customer_id",
            "profile_store.customer_profile as row on row.customer_id",
        ):
            self.seen |= set(
                self._by_id(without, f"select distinct asked.n, 'x' from {{asked}} join {source} = asked.id")
            )
        whose = {
            pair: left
            for pair, numbers in self._whose().items()
            if (left := {n for n in numbers if n in without and n not in self.seen})
        }
        for entity in ENTITIES:
            for kind, column in kinds_of(entity).items():
                if values := _values(whose, kind):
                    rows = self._rows(
                        f"select distinct {column} from raw.{entity} where {column} = any(:v)", v=values
                    )
                    self.seen |= {n for (value,) in rows for n in whose[kind, value]}

    def _whose(self) -> dict[tuple[str, str], set[int]]:
        """Identifier -> the subjects that have it."""
        found: dict[tuple[str, str], set[int]] = defaultdict(set)
        for number, identifiers in self.identifiers.items():
            for pair in identifiers:
                found[pair].add(number)
        return found

    def _rows(self, sql: str, **parameters: object) -> list[tuple[Any, ...]]:
        return [tuple(row) for row in self.connection.execute(text(sql), parameters)]


def _values(whose: Iterable[tuple[str, str]], kind: str) -> list[str]:
    return sorted(v for k, v in whose if k == kind)
