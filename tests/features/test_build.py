"""The whole room on raw rows: who is credited with what, no leakage, and files that appear together."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from portrait.errors import PortraitError
from portrait.features import FeatureResult, build
from portrait.features.build import features_dir
from portrait.features.matrix import read_csr

from .conftest import Shop

DAY = date(2026, 3, 31)
EARLIER = DAY - timedelta(days=40)


def outputs(folder: Path) -> dict[str, Any]:
    """Everything that others read in a features folder, with the bytes of every file."""
    files = {str(f.relative_to(folder)): f for f in sorted(folder.rglob("*")) if f.is_file()}
    return {name: f.read_bytes() for name, f in files.items() if not name.startswith("state/")}


@pytest.fixture
def stocked(shop: Shop) -> Shop:
    order = {"event_name": "order_completed", "quantity": 2, "unit_price": 3.3, "order_id": "o1"}
    shop.products(
        EARLIER,
        {"sku": "s1", "category_1": "drinks", "category_2": "coffee", "brand": "b1"},
        {"sku": "s2", "category_1": "drinks", "brand": "b2"},
    )
    shop.member(
        EARLIER,
        member_id="m1",
        card_hash="c1",
        account_id="a1",
        gender="f",
        occurred_at=datetime(2026, 1, 5, 20, tzinfo=UTC),
    )
    shop.events(
        EARLIER, {"account_id": "a1", "device_id": "d1", "sku": "s1"}, {"device_id": "d1", "sku": "s2"}
    )
    shop.events(DAY, {"account_id": "a1", "sku": "s1", **order}, {"account_id": "a1", "sku": "s2", **order})
    shop.events(DAY, {"device_id": "d2", "event_name": "products_searched"}, {"sku": "s1"}, {"sku": "s2"})
    shop.receipt(EARLIER, {"sku": "s1", "line_amount": 5}, {"sku": "s2", "line_amount": 4}, card_hash="c1")
    shop.receipt(DAY, {"sku": "s1", "line_amount": 5}, {"sku": "s2", "quantity": -1, "line_amount": -4},
                 card_hash="c1", store_id="st2")  # fmt: skip
    shop.receipt(DAY, {"sku": "s2", "line_amount": -4}, card_hash="c1", kind="return", total_amount=-4)
    shop.receipt(DAY, {"sku": "s1", "line_amount": 5})
    return shop


def test_counts(stocked: Shop) -> None:
    # events 2 + 2 + 3; lines 2 + 2 + 1 + 1; unattributed: two events and one line
    assert stocked.night(DAY) == FeatureResult(
        customers=2, interactions=13, items=2, buyers=1, unattributed=3,
        computed=2, duplicates=0, bots=0, capped=0,
    )  # fmt: skip


def test_what_a_customer_is_credited_with(stocked: Shop) -> None:
    stocked.night(DAY)
    rfm = stocked.output(DAY, "rfm", "c1")
    # order 2 x 2 x 3.3, receipts 5 + 4 and 5; the exchanged line and the return are refunds
    assert (rfm["monetary"], rfm["refunded"]) == (pytest.approx(27.2), 8.0)
    assert (rfm["frequency"], rfm["store_frequency"], rfm["store_monetary"]) == (3, 2, 14.0)
    assert rfm["interpurchase_days"] == 40.0
    activity = stocked.output(DAY, "activity", "a1")
    assert activity == {
        "customer_id": rfm["customer_id"],
        "interactions": 9,
        "first_seen_on": EARLIER,
        "last_seen_on": DAY,
        "online_events": 4,
        "store_receipts": 3,
        "views_30d": 0,
        "searches_30d": 0,
        "carts_30d": 0,
        "favourite_store": "st1",
    }
    assert stocked.output(DAY, "activity", "d2")["searches_30d"] == 1
    assert stocked.output(DAY, "activity", "d2")["favourite_store"] is None
    affinity = pq.read_table(stocked.folder(DAY) / "affinity.parquet").to_pylist()
    assert {(r["dimension"], r["value"]) for r in affinity} == {
        ("category", "coffee"), ("category", "drinks"), ("brand", "b1"), ("brand", "b2"),
        ("channel", "online"), ("channel", "store"), ("store", "st1"), ("store", "st2"), ("daypart", "evening"),
    }  # fmt: skip


def test_the_highest_priority_identifier_with_a_customer_counts(shop: Shop) -> None:
    # the tablet is shared, so it has no customer; the phone of the second event has its own
    for account in ("a1", "a2"):
        shop.events(DAY, {"device_id": "tablet", "account_id": account, "sku": "s"})
    shop.events(
        DAY, {"device_id": "tablet", "sku": "s"}, {"device_id": "tablet", "phone_hash": "p", "sku": "s"}
    )
    assert shop.night(DAY).unattributed == 1
    assert shop.output(DAY, "activity", "p")["online_events"] == 1
    assert shop.output(DAY, "activity", "a1")["online_events"] == 1


def test_orders_without_an_order_id_are_baskets_of_their_moment(shop: Shop) -> None:
    line = {"account_id": "a", "event_name": "order_completed", "sku": "s", "quantity": 1, "amount": 2}
    later = datetime(2026, 3, 31, 13, tzinfo=UTC)
    shop.events(DAY, line, line, {**line, "occurred_at": later})
    shop.night(DAY)
    assert shop.output(DAY, "rfm", "a")["frequency"] == 2


def test_a_line_waits_for_its_receipt(shop: Shop) -> None:
    key = {"store_id": "st", "workstation_id": "1", "sequence_number": 9, "business_date": DAY}
    shop.add_raw("pos_receipt_line", [{**key, "line_number": 1, "sku": "s", "quantity": 1, "line_amount": 3}])
    assert shop.night(DAY).interactions == 0
    head = {"occurred_at": DAY, "card_hash": "c", "kind": "sale", "total_amount": 3}
    shop.add_raw("pos_receipt", [{**key, **head}])
    shop.night(DAY)
    assert shop.output(DAY, "rfm", "c")["monetary"] == 3.0


def test_declared_by_the_row_with_a_card_first(shop: Shop) -> None:
    joined = datetime(2026, 1, 5, 20, tzinfo=UTC)  # 6 January in Shanghai
    shop.member(EARLIER, member_id="app", account_id="a", phone_hash="p", gender="m", city="Wuhan",
                birth_date=date(1990, 5, 17), occurred_at=joined)  # fmt: skip
    shop.member(EARLIER, member_id="till", card_hash="c", phone_hash="p", gender="f", level="gold",
                birth_date=date(1900, 1, 1), occurred_at=joined + timedelta(days=3))  # fmt: skip
    shop.events(DAY, {"device_id": "d", "account_id": "a"}, {"device_id": "stranger"})
    shop.night(DAY)
    assert shop.output(DAY, "customer", "c") == {
        "customer_id": shop.customer_of(DAY, "a"),
        "is_known": True,
        "cards": 1,
        "accounts": 1,
        "devices": 1,
        "gender": "f",
        "birth_date": date(1990, 5, 17),  # the till's is impossible
        "region": None,
        "city": "Wuhan",
        "member_level": "gold",
        "home_store": None,
        "joined_on": date(2026, 1, 6),
    }
    anonymous = shop.output(DAY, "customer", "stranger")
    assert (anonymous["is_known"], anonymous["devices"], anonymous["joined_on"]) == (False, 1, None)


def test_impossible_ages(shop: Shop) -> None:
    declared = {
        "ten today": (date(2016, 3, 31), True),
        "ten tomorrow": (date(2016, 4, 1), False),
        "105 until tomorrow": (date(1920, 4, 1), True),
        "106 today": (date(1920, 3, 31), False),
    }
    for name, (birth_date, _) in declared.items():
        shop.member(DAY, member_id=name, card_hash=name, birth_date=birth_date)
    shop.night(DAY)
    for name, (birth_date, kept) in declared.items():
        assert shop.output(DAY, "customer", name)["birth_date"] == (birth_date if kept else None), name


def test_a_rerun_gives_the_same_bytes(stocked: Shop) -> None:
    stocked.night(DAY)
    stocked.night(DAY, attempt=2)
    assert outputs(stocked.folder(DAY)) == outputs(stocked.folder(DAY, 2))


def test_nothing_after_as_of_is_seen(stocked: Shop) -> None:
    first = stocked.night(DAY)
    after = DAY + timedelta(days=1)
    order = {"event_name": "order_completed", "quantity": 1, "unit_price": 9, "order_id": "o9"}
    stocked.events(after, {"account_id": "a1", "device_id": "d2", "sku": "s1", **order})
    stocked.events(after, {"device_id": "d3", "sku": "a-new-sku"})
    stocked.receipt(after, {"sku": "s2", "line_amount": 9}, card_hash="c1", phone_hash="p1")
    stocked.member(after, member_id="m2", account_id="a1", gender="m", city="Xi'an")
    stocked.products(after, {"sku": "s2", "category_1": "other", "brand": "other"}, source="other")
    stocked.products(after, {"sku": "a-new-sku", "category_1": "x"})
    assert replace(stocked.night(DAY, attempt=2), computed=first.computed) == first
    assert outputs(stocked.folder(DAY)) == outputs(stocked.folder(DAY, 2))
    # and it does show the day after
    assert stocked.night(after).interactions == first.interactions + 3


def test_columns_and_types(stocked: Shop) -> None:
    stocked.night(DAY)
    found = {
        name: {f.name: str(f.type) for f in pq.read_schema(stocked.folder(DAY) / f"{name}.parquet")}
        for name in ("rfm", "activity", "affinity", "customer")
    }
    date32, int32, float64 = "date32[day]", "int32", "double"
    assert found == {
        "rfm": {
            "customer_id": "string", "first_purchase_on": date32, "last_purchase_on": date32,
            "recency_days": int32, "frequency": int32, "monetary": float64,
            "frequency_30d": int32, "monetary_30d": float64, "frequency_90d": int32, "monetary_90d": float64,
            "frequency_365d": int32, "monetary_365d": float64, "refunded": float64, "items": int32,
            "interpurchase_days": float64, "store_monetary": float64, "store_frequency": int32,
            "r_score": int32, "f_score": int32, "m_score": int32, "value_type": "string",
        },
        "activity": {
            "customer_id": "string", "interactions": "int64", "first_seen_on": date32, "last_seen_on": date32, "online_events": int32,
            "store_receipts": int32, "views_30d": int32, "searches_30d": int32, "carts_30d": int32,
            "favourite_store": "string",
        },
        "affinity": {
            "customer_id": "string", "dimension": "string", "value": "string", "rank": int32,
            "score": float64, "evidence": int32, "last_on": date32,
        },
        "customer": {
            "customer_id": "string", "is_known": "bool", "cards": int32, "accounts": int32, "devices": int32,
            "gender": "string", "birth_date": date32, "region": "string", "city": "string",
            "member_level": "string", "home_store": "string", "joined_on": date32,
        },
    }  # fmt: skip


def test_a_killed_build_leaves_the_old_files(stocked: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    def killed(*_: Any) -> int:
        raise KeyboardInterrupt

    run = stocked.run(DAY)
    with monkeypatch.context() as patch:
        patch.setattr(import_module("portrait.features.build"), "write_matrices", killed)
        with pytest.raises(KeyboardInterrupt):
            stocked.night(DAY)
        assert not features_dir(stocked.settings, run).exists()
    stocked.night(DAY)
    before = outputs(stocked.folder(DAY))
    with monkeypatch.context() as patch:
        patch.setattr(import_module("portrait.features.build"), "write_matrices", killed)
        with pytest.raises(KeyboardInterrupt):
            stocked.night(DAY)
    assert outputs(stocked.folder(DAY)) == before
    stocked.night(DAY)
    assert outputs(stocked.folder(DAY)) == before
    assert [p.name for p in stocked.folder(DAY).parent.iterdir() if p.name.startswith("features")] == [
        "features"
    ]


def test_without_an_identity_map(stocked: Shop) -> None:
    stocked.snapshot(DAY)
    with pytest.raises(PortraitError, match="run `portrait resolve` first"):
        build(stocked.settings, stocked.run(DAY))


def test_nothing_delivered(shop: Shop) -> None:
    assert set(shop.night(DAY).as_dict().values()) == {0}
    assert pq.read_table(shop.folder(DAY) / "rfm.parquet").num_rows == 0


def test_history_shorter_than_the_holdout(shop: Shop) -> None:
    shop.events(
        DAY, {"account_id": "a", "event_name": "order_completed", "sku": "s", "quantity": 1, "amount": 1}
    )
    shop.night(DAY)
    matrix = shop.folder(DAY) / "matrix"
    assert read_csr(matrix / "train_weights").shape == (1, 1)
    assert read_csr(matrix / "train_weights").nnz == 0
    np.testing.assert_array_equal(read_csr(matrix / "target").toarray(), [[1]])
