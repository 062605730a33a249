"""A correction counts from the next night, survives what is delivered after it, and leaves the former ones."""

from collections.abc import Callable
from datetime import date
from typing import Any

import pyarrow.parquet as pq
import pytest
from portrait import stages
from portrait.config import Settings
from portrait.errors import PortraitError
from portrait.features.build import features_dir
from portrait.privacy.correction import correct
from portrait.privacy.erase import erase
from portrait.privacy.verify import verify
from portrait.run import Run
from portrait.warehouse import Warehouse

from .conftest import DAY, LI_PHONE, stored, warehouse_run


@pytest.fixture
def delivered(
    settings: Settings, deliver: Callable[..., Any], add_raw: Callable[..., int], warehouse: Warehouse
) -> Settings:
    """Li Lei, of whom a source says Hangzhou and a birthday, and a first night is published."""
    deliver()
    add_raw("store", [{"store_id": "S1", "business_date": DAY}])
    _say(add_raw, "crm-1", DAY, city="Hangzhou", gender="m", birth_date=date(1990, 5, 17))
    _night(settings, DAY)
    warehouse.execute("insert into ops.published_run (run_id) values (:r)", r=f"{DAY}.1")
    return settings


def _say(add_raw: Callable[..., int], member_id: str, day: date, **said: Any) -> None:
    card = {"card_hash": stored("card", "LEI-0001")}
    add_raw("member", [{"member_id": member_id, "business_date": day, **card, **said}], source="crm")


def _night(settings: Settings, day: date) -> list[dict[str, Any]]:
    run = Run(f"{day}.1", day)
    warehouse_run(settings, run)
    stages.resolve(settings, run)
    stages.snapshot(settings, run)
    stages.features(settings, run)
    return pq.read_table(features_dir(settings, run) / "customer.parquet").to_pylist()


def test_it_counts_before_what_is_delivered_later(
    delivered: Settings, warehouse: Warehouse, add_raw: Callable[..., int]
) -> None:
    correct(delivered, f"phone:{LI_PHONE}", ["city=Wuhan"], "service desk")
    done = correct(delivered, "account:acc-lilei", ["city = Suzhou", "birth_date=1991-06-18"], "service desk")
    # The clock is past; history is worked off night by night, and the next one takes it.
    assert (done.attributes, done.counts_from) == (("city", "birth_date"), date(2025, 3, 2))
    _say(add_raw, "crm-2", date(2025, 3, 2), city="Ningbo", gender="f")
    customers = _night(delivered, date(2025, 3, 2))
    assert len(customers) == 2
    (li,) = (c for c in customers if c["birth_date"])
    assert (li["city"], li["birth_date"], li["gender"]) == ("Suzhou", date(1991, 6, 18), "f")
    rows = warehouse.rows(
        "select city, birth_date from raw.member where source = 'correction' order by source_row_id"
    )
    assert [tuple(r.values()) for r in rows] == [("Wuhan", None), ("Suzhou", date(1991, 6, 18))]
    noted = warehouse.rows(
        "select kind, subject, requested_by, answer from privacy.request order by request_id"
    )
    assert [tuple(r.values()) for r in noted] == [
        ("correct", None, "service desk", "city corrected"),
        ("correct", None, "service desk", "city, birth_date corrected"),
    ]


def test_it_goes_with_an_erasure(delivered: Settings, warehouse: Warehouse) -> None:
    correct(delivered, "account:acc-lilei", ["city=Wuhan"], "tests")
    erase(delivered, ["account:acc-lilei"], "tests")
    assert warehouse.scalar("select count(*) from raw.member where source = 'correction'") == 0
    assert verify(delivered, dump=False).traces == {}
    with pytest.raises(PortraitError, match="was erased"):
        correct(delivered, "account:acc-lilei", ["city=Wuhan"], "tests")


def test_what_cannot_be_corrected(delivered: Settings, warehouse: Warehouse) -> None:
    for change, said in {
        "city": "write attribute=value",
        "city=": "write attribute=value",
        "member_level=gold": "'member_level': one of gender, birth_date, region, city, home_store",
        "phone=13800138000": "corrected where they are delivered from",
        "birth_date=17.5.1990": "is no date",
        "birth_date=2999-01-01": "nobody was born then",
        "gender=femal": "nothing delivered has this value; for example m",
        "home_store=S9": "nothing delivered has this value; for example S1",
    }.items():
        with pytest.raises(PortraitError, match=said):
            correct(delivered, "account:acc-lilei", ["city=Wuhan", change], "tests")
    with pytest.raises(PortraitError, match="nobody has this id"):
        correct(delivered, "account:nobody-1", ["city=Wuhan"], "tests")
    with pytest.raises(PortraitError, match="say what to correct"):
        correct(delivered, "account:acc-lilei", [], "tests")
    assert warehouse.scalar("select count(*) from raw.member where source = 'correction'") == 0
