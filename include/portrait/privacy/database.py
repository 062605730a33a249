"""Erasing from PostgreSQL: rows found by index, in transactions that never wait long for a lock."""

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

from sqlalchemy import Connection, text

from portrait.config import Settings
from portrait.identity.kinds import LOCK as IDENTITY_LOCK
from portrait.identity.kinds import kinds_of
from portrait.identity.working import working_path
from portrait.ingest.seal import seal_of
from portrait.ingest.suppression import PURCHASE_EVENTS
from portrait.ingest.validate import CONTACT_KINDS, SEALED_ROW
from portrait.privacy.airflow import without
from portrait.privacy.customer import Person
from portrait.privacy.places import AUDIENCE_TABLES, PROFILE_TABLES, RAW_ENTITIES, owned_by, owner_columns
from portrait.privacy.traces import Tracer
from portrait.profiles.partitions import lock_pointer, when_free
from portrait.warehouse import Warehouse

AT_A_TIME = 50
"""Identifiers or ids a transaction: each is short, and writers of the same tables go in between."""
_WITH_THE_POINTER = 10
"""Ids a transaction where it keeps a night from being published."""
_PATIENCE_S = 60.0
_ORDER = "event_name in (" + ", ".join(f"'{e}'" for e in PURCHASE_EVENTS) + ")"

MESSAGES = (
    ("ops.batch", "batch_id", "error"),
    ("ops.run", "run_id", "error"),
    ("ops.alert", "alert_id", "message"),
    ("audience.export_log", "export_id", "error"),
)
"""Table, key, column of texts that may quote somebody."""


class Eraser:
    """Erases these people from the database; `counts` says what went where."""

    def __init__(
        self, settings: Settings, warehouse: Warehouse, people: Sequence[Person], tracer: Tracer
    ) -> None:
        self.settings, self.warehouse, self.tracer = settings, warehouse, tracer
        self.ids = sorted({i for p in people for i in p.ids})
        self.identifiers = sorted({i for p in people for i in p.identifiers})
        self.members = sorted({m for p in people for m in p.members})
        self.counts: Counter[str] = Counter()

    def erase(self) -> None:
        """Everything but the identity record, by which a broken-off erasure finds them again."""
        self.erase_raw()
        self._working()
        self._personal()
        self._quarantine()
        self._profiles()
        self._audiences()
        self._messages()

    def erase_raw(self) -> None:
        """Events and statements go; purchases stay without anything that says whose they are."""
        for entity in RAW_ENTITIES:
            columns = kinds_of(entity)
            for kind, column, stronger in owner_columns(entity):
                for values in _some([v for k, v in self.identifiers if k == kind]):
                    self._raw(entity, columns, column, stronger, values)
        devices = [v for k, v in self.identifiers if k == "device"]
        for values in _some(devices):
            self._devices_of_others(values)

    def _raw(
        self, entity: str, columns: dict[str, str], column: str, stronger: list[str], values: list[str]
    ) -> None:
        table, shown, theirs = f"raw.{entity}", f"{column} = any(:v)", owned_by(column, stronger)
        emptied = ", ".join(f"{c} = null" for c in columns.values())
        if entity == "online_event":
            self._run(table, "deleted", f"delete from {table} where {theirs} and not {_ORDER}", v=values)
            self._run(
                table,
                "anonymous",
                f"update {table} set {emptied}, session_id = null where {theirs} and {_ORDER}",
                v=values,
            )
        elif entity == "pos_receipt":
            self._run(table, "anonymous", f"update {table} set {emptied} where {theirs}", v=values)
        else:
            self._run(table, "deleted", f"delete from {table} where {theirs}", v=values)
        if stronger and column != "device_id":
            # Somebody else's row that shows one of their identifiers.
            self._run(table, "anonymous", f"update {table} set {column} = null where {shown}", v=values)

    def _devices_of_others(self, devices: list[str]) -> None:
        """No index finds a device in rows that have an account: the accounts that it was seen with do."""
        met = self.warehouse.rows(
            "select value_b as v from identity.edge where kind_a = 'device' and value_a = any(:v) and kind_b = 'account' "
            "union select value_a from identity.edge where kind_b = 'device' and value_b = any(:v) and kind_a = 'account'",
            v=devices,
        )
        for accounts in _some(sorted(r["v"] for r in met)):
            self._run(
                "raw.online_event",
                "anonymous",
                "update raw.online_event set device_id = null where account_id = any(:a) and device_id = any(:v)",
                a=accounts,
                v=devices,
            )

    def _personal(self) -> None:
        for kind in CONTACT_KINDS:
            for values in _some([v for k, v in self.identifiers if k == kind]):
                self._run(
                    "pii.contact",
                    "deleted",
                    "delete from pii.contact where kind = :k and hash = any(:v)",
                    k=kind,
                    v=values,
                )
        for values in _some([v for _, v in self.identifiers]):
            changed = self.warehouse.scalar(
                "select privacy.forget_in_access_log(cast(:v as text[]))", v=values
            )
            self._note("privacy.access_log", "anonymous", int(changed))
        for rows in _some(self.members):
            self._run(
                "pii.member_detail",
                "deleted",
                "delete from pii.member_detail where (source, source_row_id) in "
                "(select * from unnest(cast(:s as text[]), cast(:r as text[])))",
                s=[s for s, _ in rows],
                r=[r for _, r in rows],
            )

    def _quarantine(self) -> None:
        """Refused rows are sealed: each is opened and read."""
        seal = seal_of(self.settings)
        rows = self.warehouse.rows(
            "select source, path, row_number, payload_md5, sealed, payload::text as payload "
            "from quarantine.rejected_row left join pii.open_rejected_payloads('erasure') "
            "using (source, path, row_number, payload_md5)"
        )
        for row in rows:
            shown = row["payload"] or ""
            if row["sealed"] is not None:
                shown += "\n" + seal.open(bytes(row["sealed"]), SEALED_ROW)
            if next(self.tracer.find(shown), None) is not None:
                self._run(
                    "quarantine.rejected_row",
                    "deleted",
                    "delete from quarantine.rejected_row where source = :s and path = :p and row_number = :n and payload_md5 = :m",
                    s=row["source"],
                    p=row["path"],
                    n=row["row_number"],
                    m=row["payload_md5"],
                )

    def _working(self) -> None:
        """The working state of identity, which the next night makes anew from `raw`."""
        path = working_path(self.settings)
        with self.warehouse.begin() as guard:
            guard.execute(text("select pg_advisory_xact_lock(:k)"), {"k": IDENTITY_LOCK})
            if self.identifiers and path.is_file():
                path.unlink()
                self.counts["file identity/working.duckdb deleted"] += 1

    def erase_identity(self) -> None:
        """The identity record."""
        with self.warehouse.begin() as guard:
            guard.execute(text("select pg_advisory_xact_lock(:k)"), {"k": IDENTITY_LOCK})
            for some in _some(self.identifiers):
                kinds, values = [k for k, _ in some], [v for _, v in some]
                found = self.warehouse.rows(
                    "select identifier_id as n from identity.identifier where (kind, value) in "
                    "(select * from unnest(cast(:k as text[]), cast(:v as text[])))",
                    k=kinds,
                    v=values,
                )
                numbers = [r["n"] for r in found]
                for table, where in (
                    ("edge_row", "identifier_a = any(:n) or identifier_b = any(:n)"),
                    ("earlier_owner", "identifier_id = any(:n)"),
                    ("assignment", "identifier_id = any(:n)"),
                    ("identifier", "identifier_id = any(:n)"),
                ):
                    self._run(
                        f"identity.{table}",
                        "deleted",
                        f"delete from identity.{table} where {where}",
                        n=numbers,
                    )
                for table in ("review_queue", "manual_rule"):
                    pairs = " or ".join(
                        f"(kind_{s}, value_{s}) in (select * from unnest(cast(:k as text[]), cast(:v as text[])))"
                        for s in "ab"
                    )
                    self._run(
                        f"identity.{table}",
                        "deleted",
                        f"delete from identity.{table} where {pairs}",
                        k=kinds,
                        v=values,
                    )
                self._run(
                    "identity.cardinality_audit",
                    "deleted",
                    "delete from identity.cardinality_audit where (kind, value) in "
                    "(select * from unnest(cast(:k as text[]), cast(:v as text[]))) "
                    "or exists (select from jsonb_array_elements(evidence) as e where e ->> 'value' = any(:v))",
                    k=kinds,
                    v=values,
                )
            for ids in _some(self.ids):
                for table, where in (
                    ("earlier_owner", "customer_id = any(:i)"),
                    ("id_change", "customer_id = any(:i) or other_customer_id = any(:i)"),
                    ("review_queue", "customer_a = any(:i) or customer_b = any(:i)"),
                ):
                    self._run(
                        f"identity.{table}", "deleted", f"delete from identity.{table} where {where}", i=ids
                    )
                # A number that was handed on keeps its turns; whose the first one was is forgotten.
                self._run(
                    "identity.assignment",
                    "anonymous",
                    "update identity.assignment set customer_id = 'erased' where customer_id = any(:i)",
                    i=ids,
                )

    def _profiles(self) -> None:
        """All kept nights, and tables that are being filled."""
        for ids in _some(self.ids, _WITH_THE_POINTER):
            when_free(self.warehouse, partial(self._of_customers, ids=ids), _PATIENCE_S)

    def _of_customers(self, connection: Connection, ids: list[str]) -> None:
        lock_pointer(connection)
        standing = connection.execute(
            text(
                "select relname from pg_class where relnamespace = 'profile_store'::regnamespace and relkind = 'r' "
                "and not relispartition and (relname like '%\\_\\_load' or relname like '%\\_\\_next') "
                "and exists (select from pg_attribute where attrelid = pg_class.oid and attname = 'customer_id')"
            )
        ).scalars()
        for table in [*PROFILE_TABLES, *standing]:
            done = connection.execute(
                text(f"delete from profile_store.{table} where customer_id = any(:i)"), {"i": ids}
            )
            self._note(f"profile_store.{table}", "deleted", done.rowcount)

    def _audiences(self) -> None:
        for ids in _some(self.ids):
            for table in AUDIENCE_TABLES:
                self._run(
                    f"audience.{table}",
                    "deleted",
                    f"delete from audience.{table} where customer_id = any(:i)",
                    i=ids,
                )

    def recipients(self) -> list[dict[str, str]]:
        """Exports that sent them on."""
        rows = self.warehouse.rows(
            "select distinct audience, channel, target, as_of::text as as_of from audience.exported "
            "join audience.export_log using (export_id) where customer_id = any(:i) order by 1, 4",
            i=self.ids,
        )
        return [dict(r) for r in rows]

    def _messages(self) -> None:
        for table, key, column in MESSAGES:
            for row in self.warehouse.rows(
                f"select {key} as key, {column} as said from {table} where {column} is not null"
            ):
                clean = without(row["said"], self.tracer)
                if clean != row["said"]:
                    self._run(
                        table,
                        "anonymous",
                        f"update {table} set {column} = :s where {key} = :k",
                        s=clean,
                        k=row["key"],
                    )
        for row in self.warehouse.rows("select run_id, stage, result::text as said from ops.stage_result"):
            clean = without(row["said"], self.tracer)
            if clean != row["said"]:
                json.loads(clean)
                self._run(
                    "ops.stage_result",
                    "anonymous",
                    "update ops.stage_result set result = cast(:s as jsonb) where run_id = :r and stage = :t",
                    s=clean,
                    r=row["run_id"],
                    t=row["stage"],
                )

    def _run(self, place: str, what: str, sql: str, **parameters: Any) -> None:
        def work(connection: Connection) -> int:
            return int(connection.execute(text(sql), parameters).rowcount)

        self._note(place, what, when_free(self.warehouse, work, _PATIENCE_S))

    def _note(self, place: str, what: str, rows: int) -> None:
        if rows:
            self.counts[f"{place} {what}"] += rows


def _some(values: Sequence[Any], at_a_time: int = AT_A_TIME) -> Iterator[list[Any]]:
    for start in range(0, len(values), at_a_time):
        yield list(values[start : start + at_a_time])
