"""Who objects is counted as objecting from that moment, until they allow it again."""

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta

import pytest
from portrait import stages
from portrait.config import Settings
from portrait.errors import PortraitError
from portrait.privacy.erase import erase
from portrait.privacy.objection import object_to
from portrait.privacy.verify import verify
from portrait.run import Run
from portrait.warehouse import Warehouse

from .conftest import LI_PHONE, stored, warehouse_run

PROFILING = "profiling_inference"


def _grant(add_raw: Callable[..., int], consent_id: str, at: datetime) -> None:
    row = {"consent_id": consent_id, "account_id": "acc-lilei", "purpose": PROFILING, "granted": True}
    add_raw(
        "consent_event", [{**row, "occurred_at": at, "business_date": date(2025, 3, 1)}], source="consents"
    )


def _granted(warehouse: Warehouse) -> bool:
    return bool(warehouse.scalar("select granted from privacy.consent where purpose = :p", p=PROFILING))


def test_it_counts_at_once_and_until_they_allow_it_again(
    loaded: Settings, warehouse: Warehouse, add_raw: Callable[..., int]
) -> None:
    _grant(add_raw, "c1", datetime(2025, 3, 1, tzinfo=UTC))
    assert _granted(warehouse)
    done = object_to(loaded, f"phone:{LI_PHONE}", PROFILING, "service desk")
    assert done.identifiers == 3  # account, card, phone; a device says nothing of consent
    assert not _granted(warehouse)
    rows = warehouse.rows(
        "select source, account_id, card_hash, phone_hash from raw.consent_event where not granted "
        "order by account_id, card_hash"
    )
    assert [tuple(r.values()) for r in rows] == [
        ("request", "acc-lilei", None, None),
        ("request", None, stored("card", "LEI-0001"), None),
        ("request", None, None, stored("phone", LI_PHONE)),
    ]
    # Delivered after it, but said before it.
    _grant(add_raw, "c2", done.stated_at - timedelta(minutes=1))
    assert not _granted(warehouse)
    _grant(add_raw, "c3", done.stated_at + timedelta(minutes=1))
    assert _granted(warehouse)
    noted = warehouse.rows("select kind, subject, requested_by, status, answer from privacy.request")
    assert [tuple(r.values()) for r in noted] == [
        ("object", None, "service desk", "done", "profiling_inference withdrawn")
    ]
    assert warehouse.scalar("select count(*) from ops.batch where status = 'loading'") == 0


def test_it_ties_nobody_together_and_goes_with_an_erasure(loaded: Settings, warehouse: Warehouse) -> None:
    object_to(loaded, "account:acc-lilei", PROFILING, "tests")
    run = Run("2025-03-02.1", date(2025, 3, 2))
    warehouse_run(loaded, run)
    assert stages.resolve(loaded, run)["customers"] == 2
    erase(loaded, ["account:acc-lilei"], "tests")
    assert warehouse.scalar("select count(*) from raw.consent_event") == 0
    assert verify(loaded, dump=False).traces == {}
    with pytest.raises(PortraitError, match="was erased"):
        object_to(loaded, "account:acc-lilei", PROFILING, "tests")


def test_what_nobody_can_object_to(loaded: Settings, warehouse: Warehouse) -> None:
    with pytest.raises(
        PortraitError,
        match="'profilling_inference': there is no such purpose; one of analytics.*profiling_inference",
    ):
        object_to(loaded, "account:acc-lilei", "profilling_inference", "tests")
    with pytest.raises(PortraitError, match="nobody has this id"):
        object_to(loaded, "account:nobody-1", PROFILING, "tests")
    with pytest.raises(PortraitError, match="say who enters"):
        object_to(loaded, "account:acc-lilei", PROFILING, " ")
    assert warehouse.scalar("select count(*) from raw.consent_event") == 0
