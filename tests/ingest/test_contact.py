"""Clear contact data: encrypted, in one place, for one role."""

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from portrait.config import Settings
from portrait.errors import PortraitError
from portrait.ingest import pull
from portrait.ingest.seal import Seal
from portrait.warehouse import Warehouse
from portrait.warehouse.server import psql_path
from sqlalchemy import text
from sqlalchemy.exc import ProgrammingError

from .conftest import AS_OF, source, sources_yaml, write_csv

COLUMNS: dict[str, Any] = {
    "member_id": "id",
    "phone": "tel",
    "email": "mail",
    "card": "vip",
    "birth_date": "born",
}
ROWS = [
    {
        "id": "m1",
        "tel": "139 1234 5678",
        "mail": "Li.Lei@Example.cn",
        "vip": "VIP-777001",
        "born": "1990-01-01",
    },
    {"id": "m2", "tel": "13912345678", "mail": "", "vip": "", "born": "1991-01-01"},
    {"id": "m3", "tel": "13987654321", "mail": "", "vip": "", "born": "soon"},
]
CLEAR = ("13912345678", "139 1234 5678", "13987654321", "i.lei@example.cn", "i.Lei@Example.cn", "777001")


@pytest.fixture
def pulled(make_settings: Callable[..., Settings], tmp_path: Path) -> Settings:
    write_csv(tmp_path / "things.csv", ROWS)
    settings = make_settings(sources_yaml(source("member", columns=COLUMNS)))
    assert pull(settings, "things", AS_OF).rows_rejected == 1
    return settings


def test_each_value_once_and_it_can_be_opened(pulled: Settings, warehouse: Warehouse) -> None:
    rows = warehouse.rows("select kind, hash, sealed from pii.contact order by kind")
    seal = Seal(b"test-key")
    opened = {(r["kind"], seal.open(bytes(r["sealed"]), r["kind"])) for r in rows}
    assert opened == {("card", "VIP777001"), ("email", "li.lei@example.cn"), ("phone", "+8613912345678")}
    stored = warehouse.rows("select phone_hash from raw.member order by member_id")
    assert {r["phone_hash"] for r in stored} == {r["hash"] for r in rows if r["kind"] == "phone"}


def test_a_second_pull_adds_nothing(pulled: Settings, warehouse: Warehouse, tmp_path: Path) -> None:
    before = warehouse.rows("select * from pii.contact order by kind, hash")
    write_csv(tmp_path / "things2.csv", ROWS)
    pull(pulled, "things", AS_OF, since=AS_OF)
    assert warehouse.rows("select * from pii.contact order by kind, hash") == before


def test_another_key_or_a_changed_byte_opens_nothing(pulled: Settings, warehouse: Warehouse) -> None:
    (row,) = warehouse.rows("select sealed from pii.contact where kind = 'phone'")
    sealed = bytes(row["sealed"])
    for seal, text_ in ((Seal(b"other"), sealed), (Seal(b"test-key"), sealed[:-1] + bytes([sealed[-1] ^ 1]))):
        with pytest.raises(PortraitError, match="PORTRAIT_PII_KEY is not the key"):
            seal.open(text_, "phone")
    with pytest.raises(PortraitError):
        Seal(b"test-key").open(sealed, "email")


def test_a_dump_of_everything_holds_no_clear_value(pulled: Settings, warehouse: Warehouse) -> None:
    """`pii` too: there it is encrypted."""
    dump = subprocess.run(
        [psql_path().with_name("pg_dump"), warehouse.libpq_uri], capture_output=True, check=True
    ).stdout.decode()
    assert "m1" in dump
    assert [value for value in CLEAR if value in dump] == []


@pytest.mark.parametrize("role", ["portrait_privacy", "portrait_model", "portrait_reader", "portrait_loader"])
def test_no_role_may_select_what_is_sealed(pulled: Settings, warehouse: Warehouse, role: str) -> None:
    """There is one door, `pii.open_contact`, which writes down who came through it."""
    with warehouse.engine.connect() as connection:
        connection.execute(text(f"set role {role}"))
        with pytest.raises(ProgrammingError, match="permission denied"):
            connection.execute(text("select sealed from pii.contact"))


def test_a_new_version_of_the_key_marks_new_hashes(
    make_settings: Callable[..., Settings], warehouse: Warehouse, tmp_path: Path
) -> None:
    write_csv(tmp_path / "things.csv", ROWS[:1])
    settings = make_settings(
        sources_yaml(source("member", columns=COLUMNS)), PORTRAIT_PII_KEY="v2:another-key"
    )
    pull(settings, "things", AS_OF)
    row = warehouse.rows("select phone_hash, card_hash from raw.member")[0]
    assert all(value.startswith("v2:") for value in row.values())


def test_names_and_addresses_are_sealed_by_the_key_of_their_row(
    make_settings: Callable[..., Settings], warehouse: Warehouse, tmp_path: Path
) -> None:
    rows = [
        {"id": "m1", "who": "李雷", "home": "Nanjing Road 5"},
        {"id": "m2", "who": "Han Meimei", "home": ""},
    ]
    columns = {"member_id": "id", "account_id": "id", "name": "who", "address": "home"}
    settings = make_settings(sources_yaml(source("member", columns=columns)))
    write_csv(tmp_path / "things.csv", rows)
    pull(settings, "things", AS_OF)

    def opened() -> dict[str, str]:
        found = warehouse.rows("select source_row_id, sealed from pii.member_detail")
        return {
            r["source_row_id"]: Seal(b"test-key").open(bytes(r["sealed"]), "member detail") for r in found
        }

    assert opened() == {
        "m1": '{"address": "Nanjing Road 5", "name": "李雷"}',
        "m2": '{"address": null, "name": "Han Meimei"}',
    }
    before = warehouse.rows("select * from pii.member_detail order by source_row_id")
    pull(settings, "things", AS_OF, since=AS_OF)
    assert warehouse.rows("select * from pii.member_detail order by source_row_id") == before
    write_csv(tmp_path / "things2.csv", [{"id": "m2", "who": "Han Meimei", "home": "West Lake 3"}])
    pull(settings, "things", AS_OF)
    assert opened()["m2"] == '{"address": "West Lake 3", "name": "Han Meimei"}'
    dump = str(warehouse.rows("select * from raw.member")) + str(
        warehouse.rows("select * from pii.member_detail")
    )
    assert "李雷" not in dump
    assert "Nanjing" not in dump
