"""Changing the key while runs go on: hashes and sealed texts get the new one, identifier by identifier.

docs/decisions/0016 says why it is done so. Each step is a transaction of its own that takes some identifiers from their
former hash to the new one in every table, and notes how far it came. No pull, resolution or erasure is at work during a
step; a step waits for them, and they wait for a step, which takes a fraction of a second.
"""

import logging
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar
from zoneinfo import ZoneInfo

from sqlalchemy import Connection, Row, text

from portrait.config import Settings
from portrait.errors import PortraitError
from portrait.features.customer import CORRECTION
from portrait.identity.blocked import HASHED
from portrait.identity.kinds import LOCK as IDENTITY_LOCK
from portrait.identity.kinds import kinds_of
from portrait.identity.working import working_path
from portrait.ingest.hashing import GATE, check_fingerprint, hashing
from portrait.ingest.keys import Keyring, keyring
from portrait.ingest.pii import payload_print
from portrait.ingest.seal import seal_of
from portrait.ingest.validate import SEALED_DETAIL, SEALED_ROW
from portrait.privacy.noted import noted_batch
from portrait.privacy.places import RAW_ENTITIES
from portrait.privacy.rehash import Renewed, rehash, rehash_leftovers
from portrait.profiles.partitions import when_free
from portrait.warehouse import Warehouse, open_warehouse

log = logging.getLogger(__name__)
T = TypeVar("T")

SOURCE = "rotation"
"""Source of the batches by which a night learns that days of `raw` changed."""
AT_A_TIME = 50
"""Identifiers, or sealed texts, a step."""
PATIENCE_S = 3600.0
"""How long a pull or a night's first stages may keep a rotation waiting."""
_LOCK = 7_203_141
_KINDS = sorted(HASHED)


@dataclass
class Rotated:
    """What a rotation did; `held_back` identifiers stay under a former key, as no clear value of theirs is held."""

    from_version: str
    to_version: str
    identifiers: int = 0
    rows: int = 0
    sealed_again: int = 0
    held_back: int = 0

    @property
    def nothing(self) -> bool:
        return not (self.identifiers or self.sealed_again)


def rotate_keys(settings: Settings, at_a_time: int = AT_A_TIME, patience_s: float = PATIENCE_S) -> Rotated:
    """Bring everything to the key of the settings, of which the former one is still in PORTRAIT_PII_KEY_FORMER.

    One that was broken off goes on where it was. When everything has the key already, only what was held back and whose
    clear value has come meanwhile is rewritten.

    Raises
    ------
    PortraitError : when a key is missing or is another one than it was, when another rotation is at work, and when a pull or
        night did not end within `patience_s`.
    """
    warehouse, ring = open_warehouse(settings), keyring(settings)
    with warehouse.begin() as alone:
        if not alone.execute(text("select pg_try_advisory_xact_lock(:k)"), {"k": _LOCK}).scalar():
            raise PortraitError("another rotation of keys is at work; it does not need a second one")
        work = _Rotation(settings, warehouse, ring, at_a_time, patience_s)
        work.run()
    log.info("keys: %s", work.done)
    return work.done


class _Rotation:
    def __init__(
        self, settings: Settings, warehouse: Warehouse, ring: Keyring, at_a_time: int, patience_s: float
    ) -> None:
        self.settings, self.warehouse, self.ring = settings, warehouse, ring
        self.at_a_time, self.patience_s = at_a_time, patience_s
        self.seal = seal_of(settings)
        now = hashing(settings, warehouse)
        self.old, self.new = now.active, now.to or ring.current
        self.under_way = now.to is not None
        self.reached = now.reached
        self.batches: dict[str, int] = {}
        self.done = Rotated(self.old.version, self.new.version)

    def run(self) -> None:
        if self.new.version != self.old.version:
            self._check_opens()
            if not self.under_way:
                self._begin()
        with ExitStack() as noted:
            if self._has_identifiers():
                day = datetime.now(ZoneInfo(self.settings.sources.timezone)).date()
                self.batches = {
                    entity: noted.enter_context(noted_batch(self.warehouse, SOURCE, entity, day))
                    for entity in RAW_ENTITIES
                }
                if self.new.version != self.old.version:
                    for kind in _KINDS:
                        self._identifiers(kind)
                self._held_back()
        self._seal_again("pii.member_detail", SEALED_DETAIL, self._detail)
        self._seal_again("pii.rejected_payload", SEALED_ROW, self._payload)
        if self.batches:
            self._step(self._finish)
        self.done.held_back = self.warehouse.scalar("select count(*) from privacy.held_back_hash")

    def _has_identifiers(self) -> bool:
        return self.new.version != self.old.version or bool(
            self.warehouse.scalar(
                "select exists (select from privacy.held_back_hash join pii.contact using (kind, hash))"
            )
        )

    def _check_opens(self) -> None:
        """The former key must be the one that sealed what is stored: a mistyped one would hash everything anew."""
        row = self.warehouse.rows("select kind, sealed from pii.contact order by first_seen_at limit 1")
        if row:
            self.seal.open(bytes(row[0]["sealed"]), row[0]["kind"])
        known = self.warehouse.rows(
            "select fingerprint, active from privacy.key_version where version = :v", v=self.new.version
        )
        if known:
            check_fingerprint(self.ring, self.new.version, known[0]["fingerprint"])
        if known and not self.under_way:
            raise PortraitError(
                f"PORTRAIT_PII_KEY is {self.new.version}, which was this warehouse's key before {self.old.version}: a new key "
                "gets a version that was never used"
            )

    def _begin(self) -> None:
        """Note what has no clear value, then let the new key count from the next pull on."""
        for kind in _KINDS:
            for sql in _held_back_sql(kind):
                self.warehouse.execute(sql, k=kind, p=f"{self.old.version}:")

        def begin(connection: Connection) -> None:
            connection.execute(
                text("insert into privacy.key_version (version, fingerprint) values (:v, :f)"),
                {"v": self.new.version, "f": self.new.fingerprint},
            )
            connection.execute(
                text("insert into privacy.key_rotation (from_version, to_version) values (:o, :n)"),
                {"o": self.old.version, "n": self.new.version},
            )

        self._step(begin)

    def _identifiers(self, kind: str) -> None:
        """All identifiers of a kind whose clear value is held, in the order of their former hashes."""
        if kind < self.reached[0]:
            return
        after = self.reached[1] if kind == self.reached[0] else ""

        def work(connection: Connection) -> str:
            rows = connection.execute(
                text(
                    "select hash, sealed from pii.contact where kind = :k and hash > :a and starts_with(hash, :p) "
                    "order by hash limit :n"
                ),
                {"k": kind, "a": after, "p": f"{self.old.version}:", "n": self.at_a_time},
            ).all()
            self._renew(connection, kind, rows)
            # Beyond every hash of the version when there are no more.
            reached = str(rows[-1].hash) if rows else f"{self.old.version};"
            connection.execute(
                text(
                    "update privacy.key_rotation set reached_kind = :k, reached_hash = :h where finished_at is null"
                ),
                {"k": kind, "h": reached},
            )
            return reached

        while not after.endswith(";"):
            after = self._step(work)

    def _held_back(self) -> None:
        """Identifiers that had no clear value and were delivered again since."""
        for kind in _KINDS:

            def work(connection: Connection, kind: str = kind) -> int:
                rows = connection.execute(
                    text(
                        "select hash, sealed from privacy.held_back_hash as held join pii.contact as known using (kind, hash) "
                        "where kind = :k order by hash limit :n"
                    ),
                    {"k": kind, "n": self.at_a_time},
                ).all()
                self._renew(connection, kind, rows)
                return len(rows)

            while self._step(work):
                continue

    def _renew(self, connection: Connection, kind: str, rows: Sequence[Row[Any]]) -> None:
        """These contacts, and all that is stored under their hashes."""
        if not rows:
            return
        plain = {row.hash: self.seal.open(bytes(row.sealed), kind) for row in rows}
        renewed = [Renewed(old, self.new.hash(p)) for old, p in plain.items()]
        changed = rehash(connection, kind, renewed, self.batches)
        self._contacts(connection, kind, plain)
        self._count(connection, len(renewed), changed, len(renewed))

    def _contacts(self, connection: Connection, kind: str, plain: dict[str, str]) -> None:
        values = [
            {"k": kind, "o": h, "n": self.new.hash(p), "s": self.seal.close(p, kind)}
            for h, p in plain.items()
        ]
        if values:
            connection.execute(
                text(
                    "insert into pii.contact (kind, hash, sealed, first_seen_at) "
                    "select :k, :n, :s, first_seen_at from pii.contact where kind = :k and hash = :o "
                    "on conflict (kind, hash) do update set sealed = excluded.sealed"
                ),
                values,
            )
            connection.execute(
                text("delete from pii.contact where kind = :k and hash = any(:h)"),
                {"k": kind, "h": [v["o"] for v in values]},
            )

    def _count(self, connection: Connection, identifiers: int, rows: int, sealed: int) -> None:
        connection.execute(
            text(
                "update privacy.key_rotation set identifiers = identifiers + :i, rows_changed = rows_changed + :r, "
                "sealed_again = sealed_again + :s where finished_at is null"
            ),
            {"i": identifiers, "r": rows, "s": sealed},
        )
        self.done.identifiers += identifiers
        self.done.rows += rows
        self.done.sealed_again += sealed

    def _seal_again(
        self, table: str, purpose: str, write: Callable[[Connection, tuple[object, ...], str], None]
    ) -> None:
        """Texts that the new key does not open yet, in the order of their place in the table."""
        keys = {"pii.member_detail": "source, source_row_id"}.get(
            table, "source, path, row_number, payload_md5"
        )
        places = ", ".join(f":k{n}" for n in range(len(keys.split(", "))))
        after: tuple[object, ...] | None = None
        while True:
            where = f"where ({keys}) > ({places})" if after else ""
            rows = self.warehouse.rows(
                f"select {keys}, sealed from {table} {where} order by {keys} limit {10 * self.at_a_time}",
                **{f"k{n}": value for n, value in enumerate(after or ())},
            )
            if not rows:
                return
            after = tuple(list(rows[-1].values())[:-1])
            todo = [r for r in rows if not self.seal.is_current(bytes(r["sealed"]), purpose)]

            def work(connection: Connection, todo: list[dict[str, object]] = todo) -> None:
                for row in todo:
                    *place, sealed = row.values()
                    write(connection, tuple(place), self.seal.open(bytes(sealed), purpose))  # type: ignore[call-overload]
                self._count(connection, 0, 0, len(todo))

            if todo:
                self._step(work)

    def _detail(self, connection: Connection, place: tuple[object, ...], said: str) -> None:
        connection.execute(
            text(
                "update pii.member_detail set sealed = :s, print_md5 = :m where source = :a and source_row_id = :b"
            ),
            {
                "s": self.seal.close(said, SEALED_DETAIL),
                "m": payload_print(self.ring.current.secret, said),
                **dict(zip("ab", place, strict=True)),
            },
        )

    def _payload(self, connection: Connection, place: tuple[object, ...], said: str) -> None:
        named = dict(zip("abcd", place, strict=True))
        where = "source = :a and path = :b and row_number = :c and payload_md5 = :d"
        connection.execute(
            text(f"update pii.rejected_payload set sealed = :s where {where}"),
            {**named, "s": self.seal.close(said, SEALED_ROW)},
        )
        connection.execute(
            text(
                f"update quarantine.rejected_row as row set payload_md5 = :m where {where} and not exists ("
                "select from quarantine.rejected_row as other where other.source = :a and other.path = :b "
                "and other.row_number = :c and other.payload_md5 = :m)"
            ),
            {**named, "m": payload_print(self.ring.current.secret, said)},
        )

    def _finish(self, connection: Connection) -> None:
        rehash_leftovers(connection, ["request", CORRECTION])
        connection.execute(text("truncate privacy.rehashed"))
        if self.new.version != self.old.version:
            connection.execute(text("update privacy.key_version set active = false where active"))
            connection.execute(
                text("update privacy.key_version set active = true where version = :v"),
                {"v": self.new.version},
            )
            connection.execute(
                text(
                    "update privacy.key_rotation set finished_at = clock_timestamp() where finished_at is null"
                )
            )

    def _step(self, work: Callable[[Connection], T]) -> T:
        """A transaction at a moment when nobody else stores or looks up hashes."""
        deadline = time.monotonic() + self.patience_s
        while True:
            done = when_free(self.warehouse, lambda connection: self._if_alone(connection, work), 60.0)
            if done:
                return done[0]
            if time.monotonic() > deadline:
                raise PortraitError(
                    f"a pull, an erasure or the first stages of a night have been at work for {self.patience_s:g} s; the rotation "
                    "has noted how far it came: run `portrait privacy rotate-keys` again"
                )
            time.sleep(0.2)

    def _if_alone(self, connection: Connection, work: Callable[[Connection], T]) -> list[T]:
        for lock in (GATE, IDENTITY_LOCK):
            if not connection.execute(text("select pg_try_advisory_xact_lock(:k)"), {"k": lock}).scalar():
                return []
        if connection.execute(text(_BETWEEN)).scalar():
            return []
        # It knows the identifiers by their former hashes; the next night makes it anew.
        working_path(self.settings).unlink(missing_ok=True)
        return [work(connection)]


_BETWEEN = """
select exists (
    select from ops.run as run
    where status = 'running' and started_at > now() - interval '1 day'
        and exists (select from ops.stage_result as s where s.run_id = run.run_id and s.stage in ('identity', 'snapshot'))
        and not exists (select from ops.stage_result as s where s.run_id = run.run_id and s.stage = 'features'))
"""
"""A night whose map of identities and copy of `raw` were not yet put together: they must know the same hashes."""


def _held_back_sql(kind: str) -> list[str]:
    """Statements that note stored values of a kind, with the former key, whose clear value is not held."""
    unknown = (
        "not exists (select from pii.contact as known where known.kind = :k and known.hash = seen.value)"
    )
    into = "insert into privacy.held_back_hash (kind, hash) select distinct :k, seen.value from"
    places = ["identity.identifier as seen where seen.kind = :k"]
    for entity in RAW_ENTITIES:
        if column := kinds_of(entity).get(kind):
            places.append(
                f"(select {column} as value from raw.{entity} where {column} is not null) as seen where true"
            )
    return [
        f"{into} {p} and starts_with(seen.value, :p) and {unknown} on conflict do nothing" for p in places
    ]
