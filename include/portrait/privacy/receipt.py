"""Receipts of erasures: signed, chained, and without a word about who it was."""

import hashlib
import hmac
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, text

from portrait.config import Settings
from portrait.ingest.keys import keyring
from portrait.ingest.suppression import derived_key
from portrait.warehouse import open_warehouse

_LOCK = 7_203_130
_SIGNED = (
    "erased_at", "run_id", "requested_by", "customers", "already_erased", "counts", "recipients",
    "previous_signature", "key_version",
)  # fmt: skip


@dataclass(frozen=True)
class Checked:
    """A receipt and what is wrong with it; None when nothing is."""

    receipt_id: int
    problem: str | None


def write_receipt(
    connection: Connection,
    settings: Settings,
    requested_by: str,
    customers: int,
    already_erased: int,
    counts: Mapping[str, int],
    recipients: Sequence[Mapping[str, str]],
) -> int:
    """Sign and store a receipt; gives its number."""
    connection.execute(text("select pg_advisory_xact_lock(:k)"), {"k": _LOCK})
    version, key = derived_key(settings, "receipt")
    last = connection.execute(
        text("select signature from privacy.erasure_receipt order by receipt_id desc limit 1")
    ).scalar()
    row: dict[str, Any] = {
        "erased_at": datetime.now(UTC),
        "run_id": connection.execute(text("select run_id from ops.published_run")).scalar(),
        "requested_by": requested_by,
        "customers": customers,
        "already_erased": already_erased,
        "counts": dict(counts),
        "recipients": [dict(r) for r in recipients],
        "previous_signature": last,
        "key_version": version,
    }
    stored = {**row, "counts": json.dumps(row["counts"]), "recipients": json.dumps(row["recipients"])}
    return int(
        connection.execute(
            text(
                f"insert into privacy.erasure_receipt ({', '.join(_SIGNED)}, signature) "
                f"values ({', '.join(f':{c}' for c in _SIGNED)}, :signature) returning receipt_id"
            ),
            {**stored, "signature": _signature(key, row)},
        ).scalar_one()
    )


def check_receipts(settings: Settings) -> list[Checked]:
    """Every receipt, with what is wrong: changed, or one before it is missing."""
    ring = keyring(settings)
    rows = open_warehouse(settings).rows("select * from privacy.erasure_receipt order by receipt_id")
    found, before = [], None
    for row in rows:
        problem = None
        key = ring.find(row["key_version"])
        if key is None:
            held = ", ".join(k.version for k in ring)
            problem = f"signed with key {row['key_version']}; the settings have {held}"
        elif not hmac.compare_digest(_signature(key.derived("receipt"), row), row["signature"]):
            problem = "changed since it was signed"
        elif row["previous_signature"] != before:
            problem = "the receipt before it is missing"
        found.append(Checked(row["receipt_id"], problem))
        before = row["signature"]
    return found


def _signature(key: bytes, row: Mapping[str, Any]) -> str:
    said = {c: row[c] for c in _SIGNED}
    said["erased_at"] = row["erased_at"].astimezone(UTC).isoformat()
    return hmac.digest(key, json.dumps(said, sort_keys=True).encode(), hashlib.sha256).hex()
