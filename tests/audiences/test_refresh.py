"""Who entered and who left, night after night."""

import hashlib
from collections.abc import Callable

import pytest
from portrait.audiences.refresh import record_overlaps, refresh
from portrait.errors import PortraitError
from portrait.warehouse import Warehouse


def stays(warehouse: Warehouse) -> list[tuple]:
    rows = warehouse.rows(
        "select customer_id, entered_on::text as i, left_on::text as o from audience.membership order by 1, 2"
    )
    return [tuple(r.values()) for r in rows]


def customers(**monetary: float) -> list[dict]:
    return [{"customer_id": c, "monetary": m} for c, m in monetary.items()]


def test_entering_leaving_and_coming_back(
    night: Callable, with_audiences: Callable, make_audience: Callable, warehouse: Warehouse
) -> None:
    settings = with_audiences(make_audience("rich", "monetary >= 100"))
    night(1, customer_profile=customers(ann=100, bob=200, cat=5))
    size = refresh(settings, "rich")
    assert (size.members, size.entered, size.left_it, size.control) == (2, 2, 0, 0)
    night(2, customer_profile=customers(ann=100, bob=5, cat=300))
    size = refresh(settings, "rich")
    assert (size.members, size.entered, size.left_it) == (2, 1, 1)
    assert refresh(settings, "rich") == size  # again: the same
    night(3, customer_profile=customers(ann=100, bob=500, cat=300))
    assert refresh(settings, "rich").entered == 1
    assert stays(warehouse) == [
        ("ann", "2026-03-01", None),
        ("bob", "2026-03-01", "2026-03-02"),
        ("bob", "2026-03-03", None),
        ("cat", "2026-03-02", None),
    ]
    daily = warehouse.rows(
        "select as_of::text, members, entered, left_it from audience.size_daily order by 1"
    )
    assert [tuple(r.values()) for r in daily] == [
        ("2026-03-01", 2, 2, 0),
        ("2026-03-02", 2, 1, 1),
        ("2026-03-03", 3, 1, 0),
    ]
    assert warehouse.scalar("select condition from audience.definition where in_use") == "monetary >= 100"


def test_a_corrected_condition_replaces_the_night(
    night: Callable, with_audiences: Callable, make_audience: Callable, warehouse: Warehouse
) -> None:
    night(1, customer_profile=customers(ann=100, bob=200))
    refresh(with_audiences(make_audience("rich", "monetary >= 150")), "rich")
    night(2, customer_profile=customers(ann=100, bob=200))
    refresh(with_audiences(make_audience("rich", "monetary < 150")), "rich")
    refresh(with_audiences(make_audience("rich", "monetary >= 150")), "rich")
    assert stays(warehouse) == [("bob", "2026-03-01", None)]


def test_the_control_group_is_a_hash_that_does_not_move(
    night: Callable, with_audiences: Callable, make_audience: Callable, warehouse: Warehouse
) -> None:
    people = [f"c{i}" for i in range(300)]
    night(1, customer_profile=customers(**dict.fromkeys(people, 1.0)))

    def control(share: float) -> set[str]:
        refresh(with_audiences(make_audience("all", "monetary > 0", control_share=share)), "all")
        return {
            r["customer_id"]
            for r in warehouse.rows("select customer_id from audience.member where is_control")
        }

    def hashed(customer: str) -> float:
        return int(hashlib.md5(f"all:{customer}".encode()).hexdigest()[:8], 16) / 2**32

    assert control(0.2) == {c for c in people if hashed(c) < 0.2}
    assert control(0.4) == {c for c in people if hashed(c) < 0.4}
    assert control(0.0) == set()


def test_overlaps_and_audiences_that_are_gone(
    night: Callable, with_audiences: Callable, make_audience: Callable, warehouse: Warehouse
) -> None:
    rich, poor, some = (
        make_audience("rich", "monetary >= 100"),
        make_audience("poor", "monetary < 100"),
        make_audience("some", "monetary >= 50"),
    )
    night(1, customer_profile=customers(ann=100, bob=200, cat=60, dan=5))
    settings = with_audiences(rich, poor, some)
    for code in ("rich", "poor", "some"):
        refresh(settings, code)
    assert record_overlaps(settings) == 2
    rows = warehouse.rows(
        "select audience_a, audience_b, customers, jaccard from audience.overlap order by 1, 2"
    )
    assert [tuple(r.values()) for r in rows] == [("poor", "some", 1, 0.25), ("rich", "some", 2, 2 / 3)]
    night(2, customer_profile=customers(ann=100, bob=200, cat=60, dan=5))
    refresh(with_audiences(rich), "rich")
    assert record_overlaps(with_audiences(rich)) == 0
    assert {r["audience"] for r in warehouse.rows("select audience from audience.member")} == {"rich"}
    assert warehouse.scalar("select count(*) from audience.definition where in_use") == 1


def test_an_earlier_night_is_not_written_over_a_later_one(
    night: Callable, with_audiences: Callable, make_audience: Callable, warehouse: Warehouse
) -> None:
    settings = with_audiences(make_audience("rich", "monetary >= 100"))
    first = night(1, customer_profile=customers(ann=100))
    night(2, customer_profile=customers(ann=100))
    refresh(settings, "rich")
    warehouse.execute("update ops.published_run set run_id = :r", r=first)
    with pytest.raises(
        PortraitError, match="is recorded up to 2026-03-02 and the published night is 2026-03-01"
    ):
        refresh(settings, "rich")


def test_unknown_audiences_are_named(with_audiences: Callable, make_audience: Callable) -> None:
    with pytest.raises(PortraitError, match="has no audience 'ritch'; did you mean rich"):
        refresh(with_audiences(make_audience("rich", "monetary > 1")), "ritch")
