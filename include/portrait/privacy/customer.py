"""Everybody an erasure or an export is about: every id and identifier of a customer."""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from portrait.config import Settings
from portrait.errors import PortraitError
from portrait.identity.blocked import stored_value
from portrait.identity.kinds import ENTITIES, KIND_COLUMNS, kinds_of
from portrait.ingest.suppression import CUSTOMER, read_suppression
from portrait.warehouse import Warehouse

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
    return kind, stored


def find_person(settings: Settings, warehouse: Warehouse, kind: str, value: str) -> Person:
    """Every alias of a customer.

    Identifiers that no night has resolved yet count when they are in a row with one of the customer's. One that
    another customer has, or that is shared by too many to belong to anybody, does not.

    Raises
    ------
    AlreadyErased : when nothing is left of them but their entry in the suppression list.
    PortraitError : when nobody has this id or identifier, or too many have it.
    """
    ids: set[str] = set()
    if kind == CUSTOMER:
        ids.add(value)
    else:
        owner = warehouse.scalar(
            "select customer_id from identity.customer_identifier where kind = :k and value = :v and valid_to is null",
            k=kind,
            v=value,
        )
        if owner is not None:
            ids.add(owner)
        elif warehouse.scalar(
            "select 1 from identity.identifier where kind = :k and value = :v", k=kind, v=value
        ):
            raise PortraitError(
                f"this {kind} belongs to nobody: it is blocked, or shared by too many to say whose it is; name the "
                "customer by their id, card or account"
            )
    ids = _all_ids(warehouse, ids)
    identifiers = {
        (r["kind"], r["value"])
        for r in warehouse.rows(
            "select kind, value from identity.customer_identifier where customer_id = any(:ids) and valid_to is null",
            ids=sorted(ids),
        )
    }
    if kind != CUSTOMER and not identifiers:
        identifiers = {(kind, value)}
    identifiers |= _not_resolved_yet(warehouse, identifiers)
    members = _members(warehouse, identifiers)
    known = ids if kind == CUSTOMER else identifiers
    left = bool(members) or (bool(ids) and _is_known(warehouse, ids)) or _is_seen(warehouse, identifiers)
    if not left or not known:
        if read_suppression(settings, warehouse).holds(kind, value):
            raise AlreadyErased
        raise PortraitError(
            "nobody has this id or identifier; `select * from identity.customer_identifier` lists those there are"
        )
    return Person(frozenset(ids), frozenset(identifiers), frozenset(members))


def _all_ids(warehouse: Warehouse, ids: set[str]) -> set[str]:
    """Today's ids, and all that were merged into them."""
    found = {
        r["id"]
        for r in warehouse.rows(
            "select coalesce(identity.current_id(id), id) as id from unnest(cast(:ids as text[])) as id",
            ids=sorted(ids),
        )
    }
    asked: set[str] = set()
    while found - asked:
        asked |= found
        found |= {
            r["id"]
            for r in warehouse.rows(
                "select other_customer_id as id from identity.id_change where change = 'merge' and customer_id = any(:ids)",
                ids=sorted(found),
            )
        }
    others = warehouse.rows(
        "select distinct customer_id as id from identity.assignment where customer_id = any(:ids) and valid_to is null",
        ids=sorted(found | ids),
    )
    current = {r["id"] for r in others}
    # An id that came back to somebody else after a split is not theirs.
    today = {
        r["id"]
        for r in warehouse.rows(
            "select coalesce(identity.current_id(id), id) as id from unnest(cast(:ids as text[])) as id",
            ids=sorted(ids),
        )
    }
    return (found | ids) - (current - today)


def _not_resolved_yet(warehouse: Warehouse, identifiers: set[tuple[str, str]]) -> set[tuple[str, str]]:
    found: set[tuple[str, str]] = set()
    for entity in ENTITIES:
        columns = kinds_of(entity)
        for kind, column in columns.items():
            values = sorted(v for k, v in identifiers if k == kind)
            if not values:
                continue
            others = ", ".join(f"('{k}', {c})" for k, c in columns.items() if k != kind)
            if not others:
                continue
            # No index finds a device in rows that have an account; those rows are found by the account.
            indexed = " and row.account_id is null" if (entity, kind) == ("online_event", "device") else ""
            found |= {
                (r["kind"], r["value"])
                for r in warehouse.rows(
                    f"select distinct met.kind, met.value from raw.{entity} as row "
                    f"cross join lateral (values {others}) as met (kind, value) "
                    f"where row.{column} = any(:v){indexed} and met.value <> '' and not exists ("
                    "select from identity.identifier as i where i.kind = met.kind and i.value = met.value)",
                    v=values,
                )
            }
    return found


def _members(warehouse: Warehouse, identifiers: Iterable[tuple[str, str]]) -> set[tuple[str, str]]:
    found: set[tuple[str, str]] = set()
    for kind, column in kinds_of("member").items():
        values = [v for k, v in identifiers if k == kind]
        if values:
            rows = warehouse.rows(
                f"select source, source_row_id from raw.member where {column} = any(:v)", v=values
            )
            found |= {(r["source"], r["source_row_id"]) for r in rows}
    return found


def _is_known(warehouse: Warehouse, ids: set[str]) -> bool:
    return bool(
        warehouse.scalar(
            "select exists (select from identity.assignment where customer_id = any(:ids)) "
            "or exists (select from identity.id_change where customer_id = any(:ids)) "
            "or exists (select from profile_store.customer_profile where customer_id = any(:ids))",
            ids=sorted(ids),
        )
    )


def _is_seen(warehouse: Warehouse, identifiers: Iterable[tuple[str, str]]) -> bool:
    for kind, value in identifiers:
        for entity in ENTITIES:
            column = kinds_of(entity).get(kind)
            if column and warehouse.scalar(
                f"select exists (select from raw.{entity} where {column} = :v)", v=value
            ):
                return True
    return False
