"""Refused rows after a correction in sources.yaml."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from portrait.config import Settings
from portrait.errors import PortraitError
from portrait.ingest import pull
from portrait.ingest.refused import refused_table
from portrait.ingest.replay import replay
from portrait.warehouse import Warehouse
from rich.console import Console

from .conftest import AS_OF, source, sources_yaml, write_csv

PHONE = "13912345678"
COLUMNS: dict[str, Any] = {"member_id": "id", "phone": "tel", "birth_date": "born", "gender": "sex"}
ROWS = [
    {"id": "m1", "tel": PHONE, "born": "1990-02-28", "sex": "f", "extra": "x"},
    {"id": "m2", "tel": "13912340002", "born": "28/02/1990", "sex": "m", "extra": "x"},
    {"id": "m3", "tel": "13912340003", "born": "01/12/1985", "sex": "f", "extra": "x"},
    {"id": "m4", "tel": "13912340004", "born": "soon", "sex": "f", "extra": "x"},
]
FIXED = {**COLUMNS, "birth_date": {"sql": "coalesce(try_strptime(born, '%d/%m/%Y')::varchar, born)"}}


@pytest.fixture
def members(make_settings: Callable[..., Settings]) -> Callable[..., Settings]:
    def make(columns: dict[str, Any] = COLUMNS, **keys: Any) -> Settings:
        return make_settings(sources_yaml(source("member", columns=columns, **keys)))

    return make


def open_rows(warehouse: Warehouse) -> list[tuple[int, str]]:
    found = warehouse.rows(
        "select row_number, reason_code from quarantine.rejected_row where resolved_at is null order by 1"
    )
    return [(r["row_number"], r["reason_code"]) for r in found]


@pytest.mark.parametrize("deleted", [False, True])
def test_rows_are_loaded_once_the_mapping_is_corrected(
    members: Callable[..., Settings], warehouse: Warehouse, tmp_path: Path, deleted: bool
) -> None:
    """The file may be gone; the phone, masked in quarantine, arrives as the hash of any other row."""
    write_csv(tmp_path / "things.csv", ROWS)
    assert pull(members(), "things", AS_OF).rows_rejected == 3
    assert open_rows(warehouse) == [(n, "bad_date:birth_date") for n in (2, 3, 4)]
    if deleted:
        (tmp_path / "things.csv").unlink()

    result = replay(members(FIXED), "things")
    assert (result.tried, result.resolved, result.still_refused) == (3, 2, 1)
    assert result.pull is not None
    assert result.pull.rows_inserted == 2
    assert open_rows(warehouse) == [(4, "bad_date:birth_date")]
    rows = warehouse.rows("select member_id, birth_date::text as born, phone_hash from raw.member order by 1")
    assert [(r["member_id"], r["born"]) for r in rows] == [
        ("m1", "1990-02-28"), ("m2", "1990-02-28"), ("m3", "1985-12-01"),
    ]  # fmt: skip
    assert len({r["phone_hash"] for r in rows} - {None}) == 3
    resolved = warehouse.rows(
        "select resolved_batch_id from quarantine.rejected_row where resolved_at is not null"
    )
    assert [r["resolved_batch_id"] for r in resolved] == [result.pull.batch_id] * 2

    again = replay(members(FIXED), "things")
    assert (again.tried, again.resolved, again.still_refused) == (1, 0, 1)
    assert warehouse.scalar("select count(*) from raw.member") == 3


def test_an_uncorrected_replay_changes_nothing(
    members: Callable[..., Settings], warehouse: Warehouse, tmp_path: Path
) -> None:
    write_csv(tmp_path / "things.csv", ROWS)
    pull(members(), "things", AS_OF)
    before = warehouse.rows("select * from quarantine.rejected_row order by row_number")
    result = replay(members(), "things")
    assert (result.tried, result.resolved, result.still_refused) == (3, 0, 3)
    assert warehouse.rows("select * from quarantine.rejected_row order by row_number") == before


def test_only_rows_of_one_reason(
    members: Callable[..., Settings], warehouse: Warehouse, tmp_path: Path
) -> None:
    write_csv(tmp_path / "things.csv", [*ROWS, {"id": "", "tel": PHONE, "born": "", "sex": "", "extra": ""}])
    pull(members(), "things", AS_OF)
    assert replay(members(FIXED), "things", code="missing:member_id").tried == 1
    assert replay(members(FIXED), "things", code="bad_date:birth_date").resolved == 2


def test_json_lines_are_replayed_whole(
    make_settings: Callable[..., Settings], warehouse: Warehouse, tmp_path: Path
) -> None:
    """A key that nothing read at the time can be mapped afterwards."""
    lines = ['{"id": "m1", "mobile": "13912345678", "born": "soon"}', '{"id": "m2", "broken']
    (tmp_path / "things.jsonl").write_text("\n".join(lines) + "\n")
    keys: dict[str, Any] = {"format": "jsonl", "path": "things.jsonl"}
    columns = {"member_id": "id", "birth_date": "born", "account_id": "id"}
    pull(make_settings(sources_yaml(source("member", columns=columns, **keys))), "things", AS_OF)
    assert open_rows(warehouse) == [(1, "bad_date:birth_date"), (2, "bad_json:line")]
    columns = {"member_id": "id", "phone": "mobile"}
    result = replay(make_settings(sources_yaml(source("member", columns=columns, **keys))), "things")
    assert (result.tried, result.resolved) == (1, 1)
    assert warehouse.scalar("select phone_hash from raw.member where member_id = 'm1'").startswith("v1:")


def test_rows_that_a_corrected_delivery_mends_are_resolved(
    members: Callable[..., Settings], warehouse: Warehouse, tmp_path: Path
) -> None:
    write_csv(tmp_path / "things.csv", ROWS)
    pull(members(), "things", AS_OF)
    write_csv(tmp_path / "things.csv", [*ROWS[:3], {**ROWS[3], "born": "1991-01-01"}])
    result = pull(members(), "things", AS_OF)
    assert result.rows_inserted == 1
    assert open_rows(warehouse) == [(2, "bad_date:birth_date"), (3, "bad_date:birth_date")]


def test_another_key_cannot_open_them(members: Callable[..., Settings], tmp_path: Path) -> None:
    write_csv(tmp_path / "things.csv", ROWS)
    pull(members(), "things", AS_OF)
    other = members(FIXED).model_copy(update={"pii_key": "another key"})
    with pytest.raises(PortraitError, match="PORTRAIT_PII_KEY is not the key"):
        replay(other, "things")


def test_the_list_counts_by_reason(members: Callable[..., Settings], tmp_path: Path) -> None:
    write_csv(tmp_path / "things.csv", ROWS)
    settings = members()
    pull(settings, "things", AS_OF)
    console = Console(width=200, record=True)
    console.print(refused_table(settings, "things"))
    text = console.export_text()
    assert "bad_date:birth_date: birth_date is not a date" in text
    assert f"{tmp_path}/things.csv row 2" in text
    assert PHONE not in text
