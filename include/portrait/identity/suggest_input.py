"""Member records with their customer, opened with the key: in memory only, and only while they are compared."""

import hashlib
import hmac
import json
from datetime import date
from typing import Any

import pyarrow as pa

from portrait.config import Settings
from portrait.identity.kinds import KIND_COLUMNS
from portrait.identity.likeness import address_forms, believable, name_forms, plain
from portrait.ingest.pii import pii_key, split_key
from portrait.ingest.seal import Seal, seal_of
from portrait.ingest.validate import SEALED_DETAIL
from portrait.warehouse import Warehouse

RECORD = pa.schema(
    {
        "place": pa.int64(),
        "source": pa.string(),
        "source_row_id": pa.string(),
        "customer_id": pa.string(),
        "kind": pa.string(),
        "value": pa.string(),
        "print": pa.string(),
        "name": pa.string(),
        "pinyin": pa.string(),
        "name_key": pa.string(),
        "part_a": pa.string(),
        "part_b": pa.string(),
        "birth_date": pa.string(),
        "city": pa.string(),
        "address": pa.string(),
        "street": pa.string(),
        "numbers": pa.list_(pa.string()),
        "phone_last4": pa.string(),
        "email_local": pa.string(),
    }
)
"""One member record: where it is, whose it is and by which identifier, a keyed fingerprint, what is compared."""
_COMPARED = RECORD.names[RECORD.names.index("name") :]
_MEMBER_KINDS = ("card", "account", "phone", "email")


def read_records(warehouse: Warehouse, settings: Settings, as_of: date) -> pa.Table:
    """All member records up to `as_of` whose customer is known (`RECORD`), in the order of their keys."""
    secret, seal = split_key(pii_key(settings))[1], seal_of(settings)
    batches: list[pa.RecordBatch] = []
    place = 0
    with warehouse.arrow_reader(_records_sql(settings, as_of)) as reader:
        for batch in reader:
            rows = [_opened(row, seal, secret, as_of) for row in batch.to_pylist()]
            for row in rows:
                row["place"] = place
                place += 1
            batches.append(pa.RecordBatch.from_pylist(rows, RECORD))
    return pa.Table.from_batches(batches, RECORD)


def _records_sql(settings: Settings, as_of: date) -> str:
    """The customer is that of the strongest identifier of the record which has one."""
    kinds = [k for k in settings.identity.priority if k in _MEMBER_KINDS]
    joins = "\n".join(
        f"left join (select value, customer_id from identity.customer_identifier where kind = '{k}' "
        f'and valid_to is null) as {k} on {k}.value collate "C" = member.{KIND_COLUMNS[k]} collate "C"'
        for k in kinds
    )
    kind = " ".join(f"when {k}.customer_id is not null then '{k}'" for k in kinds)
    value = " ".join(f"when {k}.customer_id is not null then {k}.value" for k in kinds)
    customer = ", ".join(f"{k}.customer_id" for k in kinds)
    return f"""
        select member.source, member.source_row_id, coalesce({customer}) as customer_id,
            case {kind} end as kind, case {value} end as value, birth_date, city,
            detail.sealed as detail, tel.sealed as phone, mail.sealed as email
        from raw.member
        {joins}
        left join pii.member_detail as detail
            on detail.source = member.source and detail.source_row_id = member.source_row_id
        left join pii.contact as tel on tel.kind = 'phone' and tel.hash = member.phone_hash
        left join pii.contact as mail on mail.kind = 'email' and mail.hash = member.email_hash
        where business_date <= '{as_of}' and coalesce({customer}) is not null
        order by member.source collate "C", member.source_row_id collate "C"
    """


def _opened(row: dict[str, Any], seal: Seal, secret: bytes, as_of: date) -> dict[str, Any]:
    detail = json.loads(seal.open(row["detail"], SEALED_DETAIL)) if row["detail"] else {}
    phone = seal.open(row["phone"], "phone") if row["phone"] else None
    email = seal.open(row["email"], "email") if row["email"] else None
    address, street, numbers = address_forms(detail.get("address"))
    compared: dict[str, Any] = {
        **name_forms(detail.get("name")),
        "birth_date": believable(row["birth_date"], as_of),
        "city": plain(row["city"]),
        "address": address,
        "street": street,
        "numbers": numbers or None,
        "phone_last4": phone[-4:] if phone else None,
        "email_local": email.partition("@")[0] if email else None,
    }
    assert list(compared) == _COMPARED
    text = json.dumps(list(compared.values()), ensure_ascii=False)
    return {
        **{name: row[name] for name in ("source", "source_row_id", "customer_id", "kind", "value")},
        "print": hmac.digest(secret, text.encode(), hashlib.sha256).hex(),
        **compared,
    }
