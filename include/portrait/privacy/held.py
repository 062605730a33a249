"""All that is held on a customer, table by table."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

import pyarrow.compute as pc
import pyarrow.parquet as pq
from sqlalchemy import Connection, text

from portrait.config import Settings
from portrait.ingest.seal import Seal, seal_of
from portrait.ingest.validate import CONTACT_KINDS, SEALED_DETAIL
from portrait.privacy.customer import Person
from portrait.privacy.places import AUDIENCE_TABLES, PROFILE_TABLES, RAW_ENTITIES, owned_by, owner_columns
from portrait.profiles.archive_files import archives_dir
from portrait.warehouse import Warehouse

Rows = list[dict[str, Any]]

_IN = "(select * from unnest(cast(:a as text[]), cast(:b as text[])))"
_AUDIENCES = {
    "membership": "select * from audience.membership where customer_id = any(:i) order by audience, entered_on",
    "exported": "select x.*, l.audience, l.as_of, l.purpose, l.channel, l.target from audience.exported as x "
    "join audience.export_log as l using (export_id) where x.customer_id = any(:i) order by x.export_id",
    "delivery": "select * from audience.delivery where customer_id = any(:i) order by audience, as_of",
}


def held_on(settings: Settings, warehouse: Warehouse, person: Person, reason: str) -> dict[str, Rows]:
    """Table -> the customer's rows, an empty list where there are none; one state of the database throughout.

    Contact data is opened by the functions of `pii` that write `reason` in `privacy.access_log`.

    Raises
    ------
    PortraitError : when contact data is held and PORTRAIT_PII_KEY is not the key it was sealed with.
    """
    found = dict(_opened(settings, warehouse, person, reason))
    with warehouse.engine.connect().execution_options(isolation_level="REPEATABLE READ") as connection:
        found.update(_raw(connection, person))
        found.update(_identity(connection, person))
        ids = sorted(person.ids)
        for table in PROFILE_TABLES:
            found[f"profile.{table}"] = _rows(
                connection, f"select * from profile.{table} where customer_id = any(:i)", i=ids
            )
        found.update(_earlier_nights(settings, connection, ids))
        for table in AUDIENCE_TABLES:
            found[f"audience.{table}"] = _rows(connection, _AUDIENCES[table], i=ids)
        found.update(_privacy(connection, person))
    return found


def _earlier_nights(settings: Settings, connection: Connection, ids: list[str]) -> Iterator[tuple[str, Rows]]:
    """Of the nights whose tables are kept, and of those that are archived; `run_id` says which."""
    kept = {
        table: _rows(
            connection,
            f"select * from profile_store.{table} where customer_id = any(:i) "
            "and run_id is distinct from (select run_id from ops.published_run) order by run_id",
            i=ids,
        )
        for table in PROFILE_TABLES
    }
    there = {row["run_id"] for rows in kept.values() for row in rows}
    published = _rows(connection, "select run_id from ops.published_run")
    there |= {row["run_id"] for row in published}
    # A restored night is in both places.
    folders = [f for f in sorted(archives_dir(settings).glob("[!.]*")) if f.is_dir() and f.name not in there]
    for table, rows in kept.items():
        for folder in folders:
            for file in sorted((folder / table).glob("*.parquet")):
                found = pq.read_table(file, filters=pc.field("customer_id").isin(ids)).to_pylist()
                rows += [{"run_id": folder.name, **row} for row in found]
        yield f"profile_store.{table}", rows


def _raw(connection: Connection, person: Person) -> Iterator[tuple[str, Rows]]:
    """A row is theirs when its first identifier is: one that only shows theirs beside is somebody else's."""
    for entity in RAW_ENTITIES:
        rows: Rows = []
        for kind, column, stronger in owner_columns(entity):
            values = [v for k, v in person.identifiers if k == kind]
            if values:
                where = owned_by(column, stronger)
                rows += _rows(connection, f"select * from raw.{entity} where {where}", v=values)
        yield (
            f"raw.{entity}",
            sorted(rows, key=lambda r: (r["business_date"], r["source"], r["source_row_id"])),
        )
        if entity == "pos_receipt":
            yield "raw.pos_receipt_line", _lines(connection, rows)


def _lines(connection: Connection, receipts: Rows) -> Rows:
    """The lines of these receipts; a receipt is numbered within its till and day."""
    return _rows(
        connection,
        "select l.* from raw.pos_receipt_line as l where (l.store_id, l.workstation_id, l.sequence_number, l.business_date)"
        " in (select * from unnest(cast(:s as text[]), cast(:w as text[]), cast(:n as bigint[]), cast(:d as date[])))"
        " order by l.business_date, l.store_id, l.workstation_id, l.sequence_number, l.line_number",
        s=[r["store_id"] for r in receipts],
        w=[r["workstation_id"] for r in receipts],
        n=[r["sequence_number"] for r in receipts],
        d=[r["business_date"] for r in receipts],
    )


def _identity(connection: Connection, person: Person) -> Iterator[tuple[str, Rows]]:
    """Not the review queue and the audits: they show other customers, too."""
    ids = sorted(person.ids)
    yield (
        "identity.customer_identifier",
        _rows(
            connection,
            "select * from identity.customer_identifier where customer_id = any(:i) order by kind, value, valid_from",
            i=ids,
        ),
    )
    yield (
        "identity.id_change",
        _rows(
            connection,
            "select * from identity.id_change where customer_id = any(:i) "
            "and (other_customer_id = '' or other_customer_id = any(:i)) order by as_of, change",
            i=ids,
        ),
    )
    kinds, values = [k for k, _ in person.identifiers], [v for _, v in person.identifiers]
    yield (
        "identity.edge",
        _rows(
            connection,
            f"select * from identity.edge where (kind_a, value_a) in {_IN} and (kind_b, value_b) in {_IN} "
            "order by first_seen, kind_a, value_a",
            a=kinds,
            b=values,
        ),
    )


def _privacy(connection: Connection, person: Person) -> Iterator[tuple[str, Rows]]:
    yield (
        "privacy.consent",
        _rows(
            connection,
            "select * from privacy.consent where customer_id = any(:i) order by purpose",
            i=sorted(person.ids),
        ),
    )
    yield (
        "privacy.access_log",
        _rows(
            connection,
            "select at, what, reason, records from privacy.access_log where subjects && cast(:v as text[]) order by at",
            v=[v for _, v in person.identifiers],
        ),
    )


def _opened(
    settings: Settings, warehouse: Warehouse, person: Person, reason: str
) -> Iterator[tuple[str, Rows]]:
    """Contact data in clear. The functions write the log: these are transactions of their own."""
    hashes = sorted(v for k, v in person.identifiers if k in CONTACT_KINDS)
    contacts = warehouse.rows(
        "select * from pii.open_contact(:h, :r) order by kind, hash", h=hashes, r=reason
    )
    members = sorted(person.members)
    details = warehouse.rows(
        "select * from pii.open_member_detail(:s, :n, :r) order by source, source_row_id",
        s=[s for s, _ in members],
        n=[n for _, n in members],
        r=reason,
    )
    seal = seal_of(settings) if contacts or details else None
    yield "pii.contact", [_contact(seal, row) for row in contacts if seal]
    yield "pii.member_detail", [_detail(seal, row) for row in details if seal]


def _contact(seal: Seal, row: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "kind": row["kind"],
        "value": seal.open(bytes(row["sealed"]), row["kind"]),
        "stored_as": row["hash"],
    }


def _detail(seal: Seal, row: Mapping[str, Any]) -> dict[str, Any]:
    said = json.loads(seal.open(bytes(row["sealed"]), SEALED_DETAIL))
    return {"source": row["source"], "source_row_id": row["source_row_id"], **said}


def _rows(connection: Connection, sql: str, **parameters: Any) -> Rows:
    return [dict(r) for r in connection.execute(text(sql), parameters).mappings()]
