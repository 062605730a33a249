"""A customer is given all that is held on them and nothing of anybody else."""

import csv
import io
import json
import stat
import zipfile
from datetime import date
from pathlib import Path

import pytest
from portrait.config import Settings
from portrait.errors import PortraitError
from portrait.privacy.erase import erase
from portrait.privacy.export import export_customer
from portrait.privacy.export_page import WORDS
from portrait.privacy.places import AUDIENCE_TABLES, PROFILE_TABLES
from portrait.privacy.verify import verify
from portrait.profiles.archive import archive
from portrait.profiles.partitions import partition
from portrait.profiles.tables import TABLES
from portrait.warehouse import Warehouse

from .conftest import LI_PHONE, stored


def test_everything_of_li_lei_and_nothing_of_han_mei(
    loaded: Settings, warehouse: Warehouse, tmp_path: Path
) -> None:
    warehouse.execute("select raw.make_month('pos_receipt_line', '2025-03-01')")
    warehouse.execute(
        "insert into raw.pos_receipt_line (source, source_row_id, store_id, workstation_id, sequence_number, line_number, "
        "sku, quantity, business_date, batch_id) select 'tills', 'l' || n, 'S1', '1', n, 1, 'p' || n, 1.5, '2025-03-01', 1 "
        "from generate_series(1, 2) as n"
    )
    owner = warehouse.scalar("select customer_id from identity.customer_identifier where value = 'acc-lilei'")
    warehouse.execute(
        "insert into audience.membership values ('win_back', :c, '2025-03-01', null, false)", c=owner
    )
    out = tmp_path / "li.zip"
    done = export_customer(loaded, f"phone:{LI_PHONE}", out, "service desk")
    assert stat.S_IMODE(out.stat().st_mode) == 0o600
    with zipfile.ZipFile(out) as bundle:
        texts = {name: bundle.read(name).decode("utf-8-sig") for name in bundle.namelist()}
    found = {n[5:-5]: json.loads(t) for n, t in texts.items() if n.startswith("json/")}
    assert {t: len(rows) for t, rows in found.items()} == done.tables
    assert [e["source_row_id"] for e in found["raw.online_event"]] == ["e-0001", "e-0002", "e-0003"]
    assert [(r["sequence_number"], r["total_amount"]) for r in found["raw.pos_receipt"]] == [(1, 20)]
    assert [(r["sku"], r["quantity"]) for r in found["raw.pos_receipt_line"]] == [("p1", 1.5)]
    assert {r["value"] for r in found["pii.contact"]} == {"LEI0001", "+8613764125093"}
    assert found["pii.member_detail"][0]["name"] == "李雷"
    assert found["audience.membership"][0]["audience"] == "win_back"
    lines = list(csv.DictReader(io.StringIO(texts["csv/raw.online_event.csv"])))
    assert lines[1]["amount"].startswith("9")
    assert lines[1]["business_date"] == "2025-03-01"
    for name, text in texts.items():
        for theirs in ("hanmei", "HAN0001", "韩梅", "dev-han", stored("card", "HAN-0001")):
            assert theirs not in text, name
    page = texts["index.html"]
    assert "What we hold on you" in page
    assert "我们持有的关于您的信息" in page
    assert "李雷" in page
    assert "http" not in page
    assert "<script" not in page
    assert "src=" not in page


def test_it_is_in_the_log_and_leaves_it_with_the_customer(
    loaded: Settings, warehouse: Warehouse, tmp_path: Path
) -> None:
    export_customer(loaded, "account:acc-lilei", tmp_path / "li.zip", "service desk")
    logged = warehouse.rows(
        "select what, reason, records, subjects from privacy.access_log order by access_id"
    )
    assert [r["what"] for r in logged] == ["contact", "contact", "access"]
    assert {r["reason"] for r in logged} == {"access request, entered by service desk"}
    assert {"acc-lilei", "dev-li-1", stored("phone", LI_PHONE)} <= set(logged[2]["subjects"])
    erase(loaded, ["account:acc-lilei"], "tests")
    assert verify(loaded, dump=False).traces == {}


def test_who_cannot_be_given_anything(loaded: Settings, warehouse: Warehouse, tmp_path: Path) -> None:
    out = tmp_path / "li.zip"
    erase(loaded, ["account:acc-lilei"], "tests")
    for asked, said in {
        "account:acc-lilei": "was erased",
        "account:nobody-1": "nobody has this id",
        "shoe:42": "'shoe' is no customer",
        "phone:abc": "is no phone",
    }.items():
        with pytest.raises(PortraitError, match=said):
            export_customer(loaded, asked, out, "tests")
    for wrong, said in {"li.txt": "ends with .zip", "no/li.zip": "no folder"}.items():
        with pytest.raises(PortraitError, match=said):
            export_customer(loaded, "account:acc-hanmei", tmp_path / wrong, "tests")
    out.write_text("kept")
    with pytest.raises(PortraitError, match="is there already"):
        export_customer(loaded, "account:acc-hanmei", out, "tests")
    # Only that the erasure opened the refused rows.
    noted = warehouse.rows("select reason, records, subjects from privacy.access_log")
    assert [tuple(r.values()) for r in noted] == [("erasure", 1, [])]
    assert list(tmp_path.glob(".export-*")) == []


def test_another_key_is_an_error(loaded: Settings, tmp_path: Path) -> None:
    other = loaded.model_copy(update={"pii_key": "another"})
    with pytest.raises(PortraitError, match="cannot decrypt"):
        export_customer(other, "account:acc-hanmei", tmp_path / "han.zip", "tests")
    assert list(tmp_path.glob("*.zip")) == []


def test_every_table_has_words_in_both_languages() -> None:
    places = {f"profile.{t}" for t in PROFILE_TABLES} | {f"audience.{t}" for t in AUDIENCE_TABLES}
    assert places <= set(WORDS)
    assert all(english and chinese for english, chinese in WORDS.values())


def test_earlier_nights_are_given_out_wherever_they_lie(
    loaded: Settings, warehouse: Warehouse, tmp_path: Path
) -> None:
    """One night's tables are kept, one is archived, one is archived and was restored: each comes once."""
    li, han = (
        warehouse.scalar("select customer_id from identity.customer_identifier where value = :v", v=v)
        for v in ("acc-lilei", "acc-hanmei")
    )
    days = {"kept": date(2025, 2, 26), "archived": date(2025, 2, 27), "restored": date(2025, 2, 28)}
    for place, day in days.items():
        run_id = f"{day}.1"
        for table in TABLES.values():
            name = f"profile_store.{partition(table.name, run_id)}"
            warehouse.execute(
                f"create table {name} partition of profile_store.{table.name} for values in ('{run_id}')"
            )
        for customer in (li, han):
            warehouse.execute(
                "insert into profile_store.customer_profile (run_id, customer_id, region) values (:r, :c, :p)",
                r=run_id, c=customer, p=place,
            )  # fmt: skip
        warehouse.execute("insert into ops.run (run_id, as_of, run_key, seed, status) values (:r, :d, :r, 0, 'published')",
                          r=run_id, d=day)  # fmt: skip
        if place != "kept":
            archive(loaded, warehouse, run_id, day)
        if place == "archived":
            for table in TABLES.values():
                warehouse.execute(f"drop table profile_store.{partition(table.name, run_id)}")
    done = export_customer(loaded, "account:acc-lilei", tmp_path / "li.zip", "service desk")
    assert done.tables["profile_store.customer_profile"] == 3
    with zipfile.ZipFile(tmp_path / "li.zip") as bundle:
        rows = json.loads(bundle.read("json/profile_store.customer_profile.json"))
        texts = [bundle.read(name).decode("utf-8-sig") for name in bundle.namelist()]
    assert sorted((r["region"], r["run_id"]) for r in rows) == sorted((p, f"{d}.1") for p, d in days.items())
    assert {r["customer_id"] for r in rows} == {li}
    assert not any(han in text for text in texts)
    assert any("The profile we work out about you (on earlier nights)" in text for text in texts)
