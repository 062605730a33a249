"""What each role may do, given after every migration, and documented from the same list (docs/access-matrix.md).

Every privilege of our roles on our tables that is not on the list is taken away, and PUBLIC has none.
"""

import hashlib
import logging
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

from psycopg2.errors import InsufficientPrivilege
from sqlalchemy import Connection, text
from sqlalchemy.exc import ProgrammingError

log = logging.getLogger(__name__)

LOADER, MODEL, PRIVACY, ADMIN = "portrait_loader", "portrait_model", "portrait_privacy", "portrait_admin"
MARKETING, SERVICE, INVENTORY = "portrait_marketing", "portrait_service", "portrait_inventory"
API, READER, AUDIENCE = "portrait_api", "portrait_reader", "portrait_audience"
ROLES = (LOADER, MODEL, MARKETING, SERVICE, INVENTORY, API, PRIVACY, ADMIN, READER, AUDIENCE)
SCHEMAS = (
    *("raw", "quarantine", "pii", "identity", "profile_store", "profile", "audience", "privacy", "ops"),
    *("mart_marketing", "mart_service", "mart_inventory"),
)
PRIVILEGES = ("select", "insert", "update", "delete")
READ, WRITE = ("select",), PRIVILEGES


@dataclass(frozen=True)
class Grant:
    """Privileges of a role on relations: ``raw.*`` is every table of a schema (not the partitions), to read its views too.

    Attributes
    ----------
    columns : the privilege is on these columns only.
    """

    role: str
    privileges: tuple[str, ...]
    on: tuple[str, ...]
    columns: tuple[str, ...] = ()


OWNED = {MODEL: ("identity", "profile_store")}
"""A night drops constraints for COPY, attaches partitions and analyses: only a table's owner may do that."""

_ALLOWED = ("privacy.permission", "privacy.unstated", "privacy.purpose")
"""What customers allow at this moment, without a date or a source."""
_CONSENT = (*_ALLOWED, "privacy.consent", "privacy.consent_history")

GRANTS = (
    Grant(LOADER, WRITE, ("raw.*", "quarantine.*")),
    Grant(LOADER, ("insert",), ("pii.contact", "pii.member_detail", "pii.rejected_payload")),
    Grant(LOADER, ("delete",), ("pii.member_detail",)),
    Grant(LOADER, READ, ("pii.member_detail",), ("source", "source_row_id", "updated_at", "print_md5")),
    Grant(LOADER, READ, ("pii.rejected_payload",)),
    Grant(
        LOADER,
        WRITE,
        (
            "ops.batch",
            "ops.batch_file",
            "ops.batch_partition",
            "ops.source_state",
            "ops.source_column",
            "ops.alert",
        ),
    ),
    Grant(LOADER, READ, ("privacy.suppression", "privacy.key_rotation", "privacy.held_back_hash")),
    Grant(LOADER, ("select", "insert"), ("privacy.key_version",)),
    *(Grant(r, ("update",), ("privacy.key_version",), ("fingerprint",)) for r in (LOADER, MODEL, PRIVACY)),
    Grant(MODEL, READ, ("privacy.suppression", "privacy.key_version", "privacy.key_rotation")),
    Grant(MODEL, READ, ("privacy.held_back_hash",)),
    Grant(MODEL, ("insert",), ("privacy.key_version",)),
    Grant(MODEL, WRITE, ("identity.*", "profile_store.*")),
    Grant(MODEL, READ, ("raw.*", "profile.*", *_CONSENT, "privacy.suppression", "ops.*")),
    Grant(
        MODEL,
        WRITE,
        (
            *("ops.run", "ops.stage_result", "ops.published_run", "ops.publication", "ops.model_version"),
            *(
                "ops.evaluation",
                "ops.evaluation_group",
                "ops.head_evaluation",
                "ops.data_quality",
                "ops.tag_coverage",
                "ops.tag_distribution",
                "ops.value_model",
            ),
            *("ops.profile_drift", "ops.alert", "ops.archive"),
        ),
    ),
    Grant(MODEL, WRITE, ("audience.*",)),
    # Views of `audience` that read with the asker's rights look at what each member allows.
    Grant(MARKETING, READ, ("mart_marketing.*", "audience.*", *_ALLOWED)),
    Grant(SERVICE, READ, ("mart_service.*", "audience.*", *_ALLOWED)),
    Grant(SERVICE, WRITE, ("mart_service.care_hint",)),
    Grant(INVENTORY, READ, ("mart_inventory.*",)),
    # Not profile.customer_profile and profile.customer_tag: they say how much a price matters to somebody.
    Grant(
        API,
        READ,
        (
            *("profile.served_customer", "profile.served_tag", "profile.tag_definition", "profile.rfm"),
            *("profile.affinity", "profile.segment", "profile.embedding", "profile.recommendation"),
            *("profile.popular", "profile.customer_value", "profile.repurchase", "profile.search_interest"),
            *_ALLOWED,
            "ops.*",
        ),
    ),
    Grant(
        API,
        READ,
        (
            *("identity.identifier", "identity.assignment", "identity.id_change", "identity.edge_row"),
            *(
                "identity.manual_rule",
                "raw.online_event",
                "raw.pos_receipt",
                "raw.pos_receipt_line",
                "raw.product",
            ),
            *("audience.definition", "audience.membership", "audience.member", "audience.size_daily"),
            "audience.overlap",
        ),
    ),
    Grant(
        READER,
        READ,
        (
            *("profile.*", "ops.*", "audience.*", "mart_marketing.*", "mart_service.*", "mart_inventory.*"),
            *_ALLOWED,
        ),
    ),
    Grant(AUDIENCE, READ, ("profile.*", "profile_store.*", *_ALLOWED)),
    Grant(
        PRIVACY,
        ("select", "update", "delete"),
        ("raw.*", "quarantine.*", "identity.*", "profile_store.*", "audience.*"),
    ),
    Grant(PRIVACY, READ, ("profile.*", "ops.*", "privacy.*")),
    Grant(
        PRIVACY, ("insert", "update"), ("privacy.erasure_receipt", "privacy.suppression", "privacy.request")
    ),
    Grant(PRIVACY, ("insert",), ("privacy.key_version", "privacy.file_sweep")),
    # Texts that may quote somebody, and models that hold somebody's rows.
    Grant(PRIVACY, ("update",), ("ops.run",), ("error",)),
    Grant(PRIVACY, ("update",), ("ops.alert",), ("message",)),
    Grant(PRIVACY, ("update",), ("ops.stage_result",), ("result",)),
    Grant(PRIVACY, ("update",), ("ops.model_version",), ("path", "status", "reason")),
    # Corrections and objections are rows of their own, in batches that the next night reads.
    Grant(PRIVACY, ("insert",), ("raw.member", "raw.consent_event", "ops.batch", "ops.batch_partition")),
    Grant(
        PRIVACY,
        ("update",),
        ("ops.batch",),
        ("error", "status", "finished_at", "rows_read", "rows_inserted"),
    ),
    Grant(PRIVACY, ("delete",), ("pii.*",)),
    Grant(PRIVACY, READ, ("pii.contact",), ("kind", "hash", "first_seen_at")),
    Grant(PRIVACY, READ, ("pii.member_detail",), ("source", "source_row_id", "updated_at")),
    Grant(PRIVACY, READ, ("pii.rejected_payload",), ("source", "path", "row_number", "payload_md5")),
)

FUNCTIONS = {
    LOADER: ("raw",),
    MODEL: ("identity", "audience", "profile"),
    API: ("identity", "audience"),
    MARKETING: ("audience",),
    SERVICE: ("audience",),
    READER: ("profile", "audience"),
    PRIVACY: ("identity", "pii", "audience", "privacy", "raw"),
}
"""Role -> schemas whose functions it may call. `privacy.note_access` is given to whoever runs stages."""
NOTING = (LOADER, MODEL, PRIVACY)


def expected(relations: dict[str, bool]) -> dict[tuple[str, str], set[str]]:
    """(role, relation) -> privileges of the list, for `relations` as the function of that name gives them, a privilege on some columns written ``select (kind, hash)``.

    `portrait_admin` is a member of every other role.
    """
    found: dict[tuple[str, str], set[str]] = defaultdict(set)
    for grant in GRANTS:
        columns = f" ({', '.join(grant.columns)})" if grant.columns else ""
        for privilege in grant.privileges:
            for relation in _matching(grant, privilege, relations):
                for role in (grant.role, ADMIN):
                    found[role, relation].add(privilege + columns)
    return dict(found)


def apply_grants(connection: Connection) -> None:
    """Make the privileges in this database those of the list; does nothing when they are as they were left.

    Roles that the server does not have yet are left out, and get theirs by the next `portrait db migrate`.
    """
    names = relations(connection)
    roles = [r for r in ROLES if _exists(connection, r)]
    statements = list(_statements(names, roles))
    digest = hashlib.sha256("\n".join(statements).encode()).hexdigest()
    if connection.execute(text("select digest from privacy.grants_given")).scalar() == digest:
        return
    for statement in [*_ownership(connection, roles), *statements]:
        connection.exec_driver_sql(statement)
    _make_admin(connection, roles)
    connection.execute(
        text(
            "insert into privacy.grants_given (digest) values (:d)"
            " on conflict (singleton) do update set digest = excluded.digest, given_at = now()"
        ),
        {"d": digest},
    )
    log.debug("%d statements gave %d roles their privileges", len(statements), len(roles))


def _make_admin(connection: Connection, roles: list[str]) -> None:
    """`portrait_admin` is a member of every other role; a login without CREATEROLE cannot see to it."""
    for role in roles if ADMIN in roles else ():
        member = connection.execute(text("select pg_has_role(:a, :r, 'member')"), {"a": ADMIN, "r": role})
        if role == ADMIN or member.scalar():
            continue
        attempt = connection.begin_nested()
        try:
            connection.exec_driver_sql(f"grant {role} to {ADMIN}")
            attempt.commit()
        except ProgrammingError as error:
            attempt.rollback()
            if not isinstance(error.orig, InsufficientPrivilege):
                raise
            log.warning(
                "%s is no member of %s; as the server's owner: grant %s to %s", ADMIN, role, role, ADMIN
            )


def relations(connection: Connection) -> dict[str, bool]:
    """Every table and view of our schemas, without the partitions, by name -> whether it is a table."""
    found = connection.execute(
        text(
            "select n.nspname || '.' || c.relname as name, c.relkind <> 'v' as is_table"
            " from pg_class as c join pg_namespace as n on n.oid = c.relnamespace"
            " where n.nspname = any(:s) and c.relkind in ('r', 'p', 'v', 'm') and not c.relispartition"
            # Tables that a night is filling at this moment.
            " and c.relname !~ '__(load|next)$' order by 1"
        ),
        {"s": list(SCHEMAS)},
    )
    return {r.name: r.is_table for r in found}


def _matching(grant: Grant, privilege: str, names: dict[str, bool]) -> list[str]:
    return [
        name
        for name, is_table in names.items()
        if (is_table or privilege == "select") and (name in grant.on or name.split(".")[0] + ".*" in grant.on)
    ]


def _exists(connection: Connection, role: str) -> bool:
    return bool(connection.execute(text("select 1 from pg_roles where rolname = :r"), {"r": role}).scalar())


def _statements(names: dict[str, bool], roles: list[str]) -> Iterator[str]:
    schemas = ", ".join(SCHEMAS)
    grantees = ", ".join(("public", *roles))
    owned = {schema: role for role, own in OWNED.items() for schema in own if role in roles}
    for name in names:
        others = ", ".join(g for g in ("public", *roles) if g != owned.get(name.split(".")[0]))
        yield f"revoke all on {name} from {others}"
    yield f"revoke all on schema {schemas} from {grantees}"
    yield f"revoke execute on all functions in schema {schemas} from {grantees}"
    for role in roles:
        used = sorted(
            {
                n.split(".")[0]
                for g in GRANTS
                if g.role == role
                for p in g.privileges
                for n in _matching(g, p, names)
            }
        )
        if role == PRIVACY:
            used = sorted({*used, "pii", "privacy"})
        if used:
            yield f"grant usage on schema {', '.join(used)} to {role}"
        if role == MODEL:  # MLflow makes its tables when a night first writes to it
            yield f"grant usage, create on schema mlflow to {role}"
        if OWNED.get(role):
            yield f"grant create on schema {', '.join(OWNED[role])} to {role}"
        for schema in FUNCTIONS.get(role, ()):
            yield f"grant usage on schema {schema} to {role}"
            yield f"grant execute on all functions in schema {schema} to {role}"
        if role == MODEL and "privacy.purpose" in names:  # a night takes over which purposes need consent
            yield f"grant execute on function privacy.require_consent to {role}"
        if role == PRIVACY:  # keeps a night from being published while it erases; does not move the pointer
            yield f"grant maintain on ops.published_run to {role}"
        if role in NOTING:
            yield f"grant usage on schema privacy to {role}"
            yield f"grant execute on function privacy.note_access to {role}"
    for grant in GRANTS:
        columns = f" ({', '.join(grant.columns)})" if grant.columns else ""
        for privilege in grant.privileges if grant.role in roles else ():
            if found := _matching(grant, privilege, names):
                yield f"grant {privilege}{columns} on {', '.join(found)} to {grant.role}"


def _ownership(connection: Connection, roles: list[str]) -> list[str]:
    """Tables and views of `OWNED` schemas that are not their role's yet, partitions included."""
    wanted = {schema: role for role, schemas in OWNED.items() if role in roles for schema in schemas}
    rows = connection.execute(
        text(
            "select n.nspname, c.relname, c.relkind from pg_class as c join pg_namespace as n on n.oid = c.relnamespace"
            " where n.nspname = any(:s) and c.relkind in ('r', 'p') and pg_get_userbyid(c.relowner) <> all(:r)"
        ),
        {"s": list(wanted), "r": list(wanted.values())},
    )
    changes = [f'alter table {r.nspname}."{r.relname}" owner to {wanted[r.nspname]}' for r in rows]
    if changes:  # the new owner must be able to make tables where these are
        changes.insert(
            0, f"grant usage, create on schema {', '.join(wanted)} to {', '.join(set(wanted.values()))}"
        )
    return changes
