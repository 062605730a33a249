"""Somebody who is erased is nowhere any more, does not come back, and everybody else stays as they were."""

import json
from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from portrait.config import Settings
from portrait.errors import PortraitError
from portrait.privacy.erase import erase
from portrait.privacy.receipt import check_receipts
from portrait.privacy.requests import request_erasure, work_off
from portrait.privacy.verify import verify
from portrait.warehouse import Warehouse

from .conftest import LI_PHONE, stored


def test_nothing_is_left_and_planted_traces_are_found(shop: Settings, warehouse: Warehouse) -> None:
    warehouse.execute(
        "insert into ops.alert (kind, message) values ('late', 'call acc-lilei on 137-6412-5093')"
    )
    done = erase(shop, [f"phone:{LI_PHONE}"], "tests")
    assert (done.customers, done.already_erased) == (1, 0)
    report = verify(shop, done.receipt_id)
    assert report.traces == {}
    assert report.tables > 40
    assert report.files > 20
    assert warehouse.scalar("select message from ops.alert") == "call [erased] on [erased]"

    warehouse.execute("insert into ops.alert (kind, message) values ('late', 'phone +8613764125093')")
    pq.write_table(pa.table({"customer": ["acc-lilei"]}), shop.lake_dir / "planted.parquet")
    (shop.workspace_dir / "planted.json").write_text(
        json.dumps({"card": "lei 0001", "h": stored("phone", LI_PHONE)})
    )
    found = verify(shop, customer="account:acc-lilei").traces
    assert found["ops.alert.message", "phone"] == 1
    assert found["pg_dump", "phone"] == 1
    assert found["lake/planted.parquet", "account"] == 1
    assert found["planted.json", "phone"] == 1


def test_purchases_stay_without_a_name(loaded: Settings, warehouse: Warehouse) -> None:
    done = erase(loaded, ["account:acc-lilei"], "tests")
    events = warehouse.rows("select source_row_id, account_id, device_id from raw.online_event order by 1")
    assert [tuple(e.values()) for e in events] == [
        ("e-0002", None, None),
        ("e-0004", "acc-hanmei", "dev-han-1"),
    ]
    receipts = warehouse.rows(
        "select sequence_number, card_hash, total_amount from raw.pos_receipt order by 1"
    )
    assert [(r["card_hash"], float(r["total_amount"])) for r in receipts] == [
        (None, 20),
        (stored("card", "HAN-0001"), 30),
    ]
    assert warehouse.scalar("select count(*) from raw.member") == 1
    assert warehouse.scalar("select count(*) from quarantine.rejected_row") == 0
    assert warehouse.scalar("select count(*) from pii.rejected_payload") == 0
    assert warehouse.scalar("select count(*) from pii.member_detail") == 1
    assert done.counts["raw.online_event deleted"] == 2
    assert done.counts["raw.online_event anonymous"] == 1
    assert done.counts["quarantine.rejected_row deleted"] == 1


def test_a_file_delivered_again_brings_nobody_back(
    loaded: Settings, warehouse: Warehouse, deliver: Callable[..., dict[str, Any]]
) -> None:
    erase(loaded, ["account:acc-lilei"], "tests")
    results = deliver("2")
    assert results["members"].rows_suppressed == 1
    # Two views, and a refused order; the good order is known already, without a name.
    assert results["events"].rows_suppressed == 3
    assert results["events"].rows_rejected == 0
    assert results["tills"].rows_unchanged == 2
    for result in results.values():
        assert result.rows_read == result.rows_suppressed + result.rows_unchanged
    assert verify(loaded, dump=False).traces == {}


def test_erased_again(loaded: Settings) -> None:
    first = erase(loaded, [f"phone:{LI_PHONE}"], "tests")
    again = erase(loaded, ["account:acc-lilei"], "tests")
    assert again.receipt_id == first.receipt_id + 1
    assert (again.already_erased, again.counts) == (1, {})


def test_who_is_that(loaded: Settings, warehouse: Warehouse) -> None:
    wrong = {
        "account:nobody-1": "nobody has this id",
        "C0123456789abcdef": "nobody has this id",
        "shoe:42": "'shoe' is no customer",
        "phone:": "'phone' is no customer",
        "phone:abc": "is no phone",
    }
    for asked, said in wrong.items():
        with pytest.raises(PortraitError, match=said):
            erase(loaded, ["account:acc-lilei", asked], "tests")
    assert warehouse.scalar("select count(*) from privacy.suppression") == 0
    assert warehouse.scalar("select count(*) from raw.member") == 2


def test_an_identifier_of_nobody_is_refused(
    settings: Settings, warehouse: Warehouse, add_raw: Callable[..., int]
) -> None:
    """13800138000 is what people write who give no number: identity.yaml blocks it."""
    from portrait import stages
    from portrait.run import Run

    from .conftest import DAY, warehouse_run

    nobody = stored("phone", "13800138000")
    add_raw(
        "member",
        [
            {
                "member_id": "m1",
                "card_hash": stored("card", "AB-0001"),
                "phone_hash": nobody,
                "business_date": DAY,
            }
        ],
    )
    run = Run("2025-03-01.1", DAY)
    warehouse_run(settings, run)
    stages.resolve(settings, run)
    with pytest.raises(PortraitError, match="belongs to nobody"):
        erase(settings, ["phone:13800138000"], "tests")


def test_receipts_are_signed_and_chained(loaded: Settings, warehouse: Warehouse) -> None:
    erase(loaded, ["account:acc-lilei"], "tests")
    erase(loaded, ["account:acc-lilei"], "tests")
    erase(loaded, ["account:acc-hanmei"], "tests")
    assert [c.problem for c in check_receipts(loaded)] == [None, None, None]
    warehouse.execute("update privacy.erasure_receipt set customers = 7 where receipt_id = 3")
    warehouse.execute("delete from privacy.erasure_receipt where receipt_id = 2")
    problems = [c.problem for c in check_receipts(loaded)]
    assert problems[0] is None
    assert problems[1] == "changed since it was signed"


def test_the_next_night_goes_on_without_them(shop: Settings, warehouse: Warehouse) -> None:
    from datetime import date

    from portrait import stages
    from portrait.run import Run

    from .conftest import warehouse_run

    erase(shop, ["account:acc-lilei"], "tests")
    run = Run("2025-03-02.1", date(2025, 3, 2))
    warehouse_run(shop, run)
    result = stages.resolve(shop, run)
    stages.snapshot(shop, run)
    features = stages.features(shop, run)
    assert (result["customers"], features["customers"]) == (1, 1)
    assert verify(shop, dump=False).traces == {}


def test_requests_are_worked_off(loaded: Settings, warehouse: Warehouse) -> None:
    request_erasure(loaded, "account:nobody-1", "service desk")
    request_erasure(loaded, f"phone:{LI_PHONE}", "service desk", "acc-lilei called")
    assert (
        warehouse.scalar("select subject from privacy.request where request_id = 2")
        == f"phone:{stored('phone', LI_PHONE)}"
    )
    assert work_off(loaded).as_dict() == {"done": 1, "refused": 1}
    assert work_off(loaded).as_dict() == {"done": 0, "refused": 0}
    rows = warehouse.rows(
        "select status, subject, reason, receipt_id, answer from privacy.request order by request_id"
    )
    assert rows[0]["status"] == "refused"
    assert "nobody has this id" in rows[0]["answer"]
    assert tuple(rows[1].values()) == ("done", None, None, 1, None)
    assert verify(loaded, dump=False).traces == {}
