"""Personal identifiers: the same person gives the same hash, and nothing is kept in clear."""

import hashlib
import hmac
import json
import stat
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from portrait.config import Settings, load_settings
from portrait.errors import PortraitError
from portrait.ingest import pull
from portrait.ingest.pii import hash_column, normalise_card, normalise_email, normalise_phone, pii_key
from portrait.warehouse import Warehouse

from .conftest import AS_OF, source, sources_yaml, write_csv


@pytest.mark.parametrize(
    ("region", "value", "expected"),
    [
        ("CN", "13800138000", "+8613800138000"),
        ("CN", "138 0013 8000", "+8613800138000"),
        ("CN", "138-0013-8000", "+8613800138000"),
        ("CN", "+86 138 0013 8000", "+8613800138000"),
        ("CN", "86-13800138000", "+8613800138000"),
        ("CN", "(+86)13800138000", "+8613800138000"),
        ("CN", "008613800138000", "+8613800138000"),
        ("CN", "013800138000", "+8613800138000"),
        ("CN", "13800138000.0", "+8613800138000"),
        ("CN", "１３８００１３８０００", "+8613800138000"),
        ("CN", " 13800138000\t", "+8613800138000"),
        ("CN", "010-6552 9988", "+861065529988"),
        ("CN", "+44 20 7946 0958", "+442079460958"),
        ("CN", "+1 380 013 8000", "+13800138000"),
        ("GB", "020 7946 0958", "+442079460958"),
        ("GB", "+44 (0)20 7946 0958", "+442079460958"),
        ("GB", "+8613800138000", "+8613800138000"),
        ("US", "(650) 253-0000", "+16502530000"),
        ("CN", "unknown", None),
        ("CN", "", None),
        ("CN", "1", None),
        ("CN", "+99913800138000", None),
        ("CN", "138001380001380013800013800138000", None),
    ],
)
def test_phone(region: str, value: str, expected: str | None) -> None:
    assert normalise_phone(value, region) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("Li.Lei@Example.CN", "li.lei@example.cn"),
        ("  a@b.co ", "a@b.co"),
        ("ａ＠b.co", "a@b.co"),
        ("a@b", None),
        ("a b@c.de", None),
        ("a@b@c.de", None),
        ("none", None),
        ("", None),
    ],
)
def test_email(value: str, expected: str | None) -> None:
    assert normalise_email(value) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("6225-8801 2345 6789", "6225880123456789"),
        ("vip#00012_a", "VIP00012A"),
        ("ＶＩＰ１", "VIP1"),
        ("12345.0", "12345"),
        ("0000", None),
        ("N/A", None),
        ("无", None),
        ("-", None),
        ("", None),
    ],
)
def test_card(value: str, expected: str | None) -> None:
    assert normalise_card(value) == expected


def test_a_hash_is_hmac_sha256_with_the_keys_version() -> None:
    values = pa.chunked_array([["138 0013 8000", None, "nobody"], ["+8613800138000"]])
    digest = hmac.new(b"k1", b"+8613800138000", hashlib.sha256).hexdigest()
    assert hash_column(values, "phone", b"k1", "CN").to_pylist() == [
        f"v1:{digest}",
        None,
        None,
        f"v1:{digest}",
    ]
    assert hash_column(values, "phone", b"k2", "CN")[0].as_py() not in (None, f"v1:{digest}")


def test_without_a_key_one_is_made_and_kept(tmp_path: Path, make_settings: Callable[..., Settings]) -> None:
    settings = make_settings().model_copy(update={"database_url": None, "pii_key": None})
    with ThreadPoolExecutor(8) as pool:
        keys = set(pool.map(lambda _: pii_key(settings), range(16)))
    assert len(keys) == 1
    assert len(keys.pop()) == 64
    assert stat.S_IMODE((settings.home / "pii.key").stat().st_mode) == 0o600


def test_a_database_of_ones_own_needs_a_key(make_settings: Callable[..., Settings]) -> None:
    with pytest.raises(
        PortraitError, match="PORTRAIT_PII_KEY is not set; make one with `openssl rand -hex 32`"
    ):
        pii_key(make_settings(PORTRAIT_PII_KEY=""))


def test_no_key_is_needed_where_nothing_personal_is_mapped(
    make_settings: Callable[..., Settings], tmp_path: Path
) -> None:
    write_csv(tmp_path / "things.csv", [{"id": "e1", "what": "product_viewed", "at": "2025-03-01"}])
    columns = {"event_id": "id", "event_name": "what", "occurred_at": "at"}
    settings = make_settings(sources_yaml(source("online_event", columns=columns)), PORTRAIT_PII_KEY="")
    assert pull(settings, "things", AS_OF).rows_inserted == 1


PLANTED = [
    "13912345678",
    "139-1234-5678",
    "li.lei@example.cn",
    "VIP-777001",
    "13912340000",
    "secret street 5",
]


def everything(warehouse: Warehouse) -> str:
    """Every row of every table as text."""
    tables = warehouse.rows(
        "select table_schema as s, table_name as t from information_schema.tables "
        "where table_schema not in ('pg_catalog', 'information_schema')"
    )
    return "\n".join(
        str(row) for t in tables for row in warehouse.rows(f'select x::text from "{t["s"]}"."{t["t"]}" as x')
    )


@pytest.mark.parametrize("form", ["csv", "jsonl"])
def test_planted_numbers_are_nowhere_in_the_database(
    make_settings: Callable[..., Settings], warehouse: Warehouse, tmp_path: Path, form: str,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    phone, dashed, email, card, other, street = PLANTED
    rows: list[dict[str, Any]] = [
        {
            "id": "m1",
            "tel": phone,
            "tel2": other,
            "mail": email,
            "vip": card,
            "born": "1990-01-01",
            "home": street,
        },
        {
            "id": "",
            "tel": phone,
            "tel2": other,
            "mail": email,
            "vip": card,
            "born": "1990-01-01",
            "home": street,
        },
        {
            "id": "m3",
            "tel": dashed,
            "tel2": other,
            "mail": email,
            "vip": card,
            "born": "soon",
            "home": street,
        },
    ]
    if form == "csv":
        write_csv(tmp_path / "things.csv", rows)
        with (tmp_path / "things.csv").open("a") as file:
            file.write(f"m4,{phone},{email}\n")
    else:
        lines = [json.dumps(row) for row in rows] + [f'{{"id": "m4", "tel": "{dashed}", "mail": "{email}"']
        (tmp_path / "things.jsonl").write_text("\n".join(lines) + "\n")
    columns = {
        "member_id": "id",
        "phone": {"sql": "coalesce(TEL, tel2)"},
        "email": {"column": "mail", "values": {"none": ""}},
        "card": "vip",
        "birth_date": "born",
    }
    spec = source("member", columns=columns, format=form, path=f"things.{form}")
    result = pull(make_settings(sources_yaml(spec)), "things", AS_OF)
    assert (result.rows_inserted, result.rows_rejected) == (1, 3)
    with pytest.raises(PortraitError) as caught:
        pull(make_settings(sources_yaml({**spec, "name": "again", "max_rejected_share": 0})), "again", AS_OF)
    dump = everything(warehouse) + caplog.text + str(caught.value)
    assert [p for p in PLANTED if p in dump] == []
    assert "12345678" not in dump
    (member,) = warehouse.rows("select phone_hash, email_hash, card_hash from raw.member")
    assert member == {
        "phone_hash": "v1:" + hmac.new(b"test-key", b"+8613912345678", hashlib.sha256).hexdigest(),
        "email_hash": "v1:" + hmac.new(b"test-key", b"li.lei@example.cn", hashlib.sha256).hexdigest(),
        "card_hash": "v1:" + hmac.new(b"test-key", b"VIP777001", hashlib.sha256).hexdigest(),
    }
    payload = warehouse.rows(
        "select payload from quarantine.rejected_row where reason_code = 'bad_date:birth_date'"
    )[0]["payload"]
    assert payload == {
        "id": "m3", "tel": "***", "tel2": "***", "mail": "***", "vip": "***", "born": "soon", "home": "***",
    }  # fmt: skip


def test_the_key_of_settings_is_used(tmp_path: Path) -> None:
    file = tmp_path / "sources.yaml"
    file.write_text(sources_yaml(source("store")))
    assert pii_key(load_settings({"PORTRAIT_PII_KEY": "k"}, file)) == b"k"
