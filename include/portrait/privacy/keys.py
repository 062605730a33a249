"""Which versions of the key there are, what is stored under each, and making the next one."""

import secrets
from collections import Counter
from typing import TYPE_CHECKING

from portrait.config import Settings
from portrait.drafts import draft_of
from portrait.errors import PortraitError
from portrait.ingest.keys import Keyring, keyring, next_version
from portrait.ingest.pii import key_file
from portrait.ingest.seal import Seal
from portrait.ingest.validate import SEALED_DETAIL, SEALED_ROW
from portrait.warehouse import Warehouse, open_warehouse

if TYPE_CHECKING:
    from rich.table import Table

_HASHES = {
    "identifiers": "select split_part(value, ':', 1) as version, count(*) as n from identity.identifier "
    "where kind in ('card', 'email', 'payment', 'phone') and value ~ '^v[0-9]+:' group by 1",
    "contacts": "select split_part(hash, ':', 1) as version, count(*) as n from pii.contact group by 1",
    "held back": "select split_part(hash, ':', 1) as version, count(*) as n from privacy.held_back_hash group by 1",
    "suppression": "select version, count(*) as n from (select key_version as version from privacy.suppression union all "
    "select value_version from privacy.suppression where value_version <> key_version) as needed group by 1",
    "receipts": "select key_version as version, count(*) as n from privacy.erasure_receipt group by 1",
}
_SEALED = (
    "select kind as purpose, sealed from pii.contact",
    f"select '{SEALED_DETAIL}' as purpose, sealed from pii.member_detail",
    f"select '{SEALED_ROW}' as purpose, sealed from pii.rejected_payload",
)
_NOBODY = "no key"


def key_counts(settings: Settings) -> dict[str, Counter[str]]:
    """What -> version -> how many; every sealed text is opened to see under which key it is (`no key` for none)."""
    warehouse, ring = open_warehouse(settings), keyring(settings)
    counts = {
        what: Counter({row["version"]: row["n"] for row in warehouse.rows(sql)})
        for what, sql in _HASHES.items()
    }
    counts["sealed"] = _sealed(warehouse, ring)
    return counts


def keys_table(settings: Settings) -> "Table":
    """A row a version, for people."""
    from rich.table import Table

    counts, ring = key_counts(settings), keyring(settings)
    known = {
        row["version"]: row
        for row in open_warehouse(settings).rows(
            "select version, fingerprint, active from privacy.key_version"
        )
    }
    table = Table(title="Keys", title_justify="left")
    for name in ("version", "fingerprint", "in the settings", "of new values", *counts):
        table.add_column(name, justify="right" if name in counts else "left")
    versions = {*known, *(key.version for key in ring), *(v for of in counts.values() for v in of)}
    for version in sorted(versions, key=lambda v: (len(v), v)):
        key, row = ring.find(version), known.get(version)
        said = "no"
        if key is not None:
            same = row is None or row["fingerprint"] in ("", key.fingerprint)
            said = "yes" if same else f"another one: {key.fingerprint}"
        fingerprint = row["fingerprint"] if row else key.fingerprint if key else ""
        active = "yes" if row and row["active"] else ""
        table.add_row(version, fingerprint, said, active, *(str(of[version]) for of in counts.values()))
    return table


def make_next_key(settings: Settings) -> str:
    """Put a new key before the one in the file of an embedded set-up; gives its version.

    Raises
    ------
    PortraitError : when the key comes from the environment, or the last one that was made is not in use yet.
    """
    if settings.pii_key:
        raise PortraitError(
            "--make-key: the key is PORTRAIT_PII_KEY; set it to a new one (v2: and `openssl rand -hex 32`) and put the former "
            "one in PORTRAIT_PII_KEY_FORMER (v1:…)"
        )
    ring, path = keyring(settings), key_file(settings)
    active = open_warehouse(settings).scalar("select version from privacy.key_version where active")
    if active is not None and active != ring.current.version:
        raise PortraitError(
            f"--make-key: {path} has {ring.current.version} already, and everything is not there yet; run "
            "`portrait privacy rotate-keys` without it"
        )
    version = next_version(ring)
    lines = [f"{version}:{secrets.token_hex(32)}", *(f"{k.version}:{k.secret.decode()}" for k in ring)]
    with draft_of(path) as draft:
        draft.touch(mode=0o600)
        draft.write_text("\n".join(lines) + "\n")
    return version


def _sealed(warehouse: Warehouse, ring: Keyring) -> Counter[str]:
    seals = {key.version: Seal(key.secret) for key in ring}
    found: Counter[str] = Counter()
    for sql in _SEALED:
        with warehouse.arrow_reader(sql) as batches:
            for batch in batches:
                for row in batch.to_pylist():
                    opens = (v for v, seal in seals.items() if seal.is_current(row["sealed"], row["purpose"]))
                    found[next(opens, _NOBODY)] += 1
    return found
