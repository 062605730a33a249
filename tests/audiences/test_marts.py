"""The views of each team: only who consented, no small cells, earlier nights; and the cookbook's queries run."""

import re
from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path

import pytest
from portrait.warehouse import Warehouse
from sqlalchemy import text

COOKBOOK = (Path(__file__).parents[2] / "docs" / "sql-cookbook.md").read_text(encoding="utf-8")
QUERIES = re.findall(r"^```sql\n(.*?)^```$", COOKBOOK, re.DOTALL | re.MULTILINE)
TITLES = re.findall(r"^\*\*(\d+)\. ", COOKBOOK, re.MULTILINE)


def test_the_cookbook_answers_28_questions() -> None:
    assert [int(t) for t in TITLES] == list(range(1, 29))
    assert len(QUERIES) == 28


@pytest.fixture
def shop(night: Callable, consent: Callable) -> None:
    """Twelve customers of one store: c0 to c5 like Milk, c6 to c11 Tea; c0 to c2 are new, c9 and above at risk."""
    people = []
    for i in range(12):
        stage = "new" if i < 3 else "active" if i < 9 else "at_risk"
        people.append(
            {
                "customer_id": f"c{i}",
                "home_store": "s1",
                "lifecycle": stage,
                "spending_tier": "high",
                "m_score": 4,
                "p_alive": 0.2 + 0.4 * (i % 2),
                "expected_orders_90d": 9.0,
                "expected_spend_90d": 90.0,
                "favourite_category": "Milk",
            }
        )
    affinity = [
        {
            "customer_id": f"c{i}",
            "dimension": "category",
            "value": "Milk" if i < 6 else "Tea",
            "rank": 1,
            "score": 0.5,
        }
        for i in range(12)
    ]
    affinity += [
        {"customer_id": f"c{i}", "dimension": "brand", "value": brand, "rank": 1, "score": 0.5}
        for brand, few in (("Alp", 10), ("Oak", 5), ("Rare", 4))
        for i in range(few)
    ]
    night(1, customer_profile=people, affinity=affinity)
    for i in range(12):
        if i % 3 == 0:
            consent(f"c{i}", "marketing_email")
    consent("c0", "personalised_recommendation")
    consent("c1", "marketing_sms")
    consent("c9", "marketing_sms")
    consent("c9", "marketing_email", granted=False, day=2)


def values(warehouse: Warehouse, sql: str) -> list[tuple]:
    return [tuple(r.values()) for r in warehouse.rows(sql)]


@pytest.mark.usefixtures("shop")
def test_marketing_sees_who_consented_only(warehouse: Warehouse) -> None:
    assert values(warehouse, "select customer_id, email, sms from mart_marketing.contactable order by 1") == [
        ("c0", True, False),
        ("c1", False, True),
        ("c3", True, False),
        ("c6", True, False),
        ("c9", False, True),
    ]
    welcome = "select customer_id, favourite_category from mart_marketing.welcome order by 1"
    assert values(warehouse, welcome) == [("c0", "Milk"), ("c1", None)]
    assert values(warehouse, "select customer_id from mart_marketing.premium order by 1") == [
        ("c3",),
        ("c6",),
    ]
    assert values(warehouse, "select customer_id, is_likely from mart_marketing.win_back") == [("c9", True)]
    campaign = "select customer_id, category from mart_marketing.category_campaign"
    assert values(warehouse, campaign) == [("c0", "Milk")]


@pytest.mark.usefixtures("shop")
def test_buyers_see_no_cell_of_fewer_than_five(warehouse: Warehouse) -> None:
    demand = values(
        warehouse,
        "select category, customers, expected_orders_week from mart_inventory.expected_demand order by 1",
    )
    # Six customers with nine purchases in 90 days, half of them of the category: 6 * 9 * 0.5 * 7 / 90.
    assert demand == [("Milk", 6, pytest.approx(2.1)), ("Tea", 6, pytest.approx(2.1))]
    pairs = values(
        warehouse, "select brand, other_brand, customers, share from mart_inventory.substitution order by 1"
    )
    assert pairs == [("Alp", "Oak", 5, 0.5), ("Oak", "Alp", 5, 1.0)]
    stores = values(warehouse, "select lifecycle, customers from mart_inventory.store_customers")
    assert stores == [("active", 6)]  # three new ones and three at risk are too few


def test_demand_is_where_customers_buy(night: Callable, warehouse: Warehouse) -> None:
    """Five customers with nine purchases in 90 days, two thirds of them in stores; s1 is visited three times as much as s2."""
    people = [
        {"customer_id": f"c{i}", "home_store": "far", "expected_orders_90d": 9.0, "expected_spend_90d": 90.0, "store_share": 2 / 3}
        for i in range(5)
    ]  # fmt: skip
    shares = (("category", "Milk", 0.5), ("store", "s1", 0.6), ("store", "s2", 0.2))
    affinity = [
        {"customer_id": f"c{i}", "dimension": dimension, "value": value, "rank": 1, "score": score}
        for i in range(5)
        for dimension, value, score in shares
    ]
    night(1, customer_profile=people, affinity=affinity)
    week = 5 * 9 * (2 / 3) * 0.5 * 7 / 90
    assert values(warehouse, "select * from mart_inventory.expected_demand order by 1") == [
        ("s1", "Milk", 5, pytest.approx(week * 3 / 4), pytest.approx(10 * week * 3 / 4)),
        ("s2", "Milk", 5, pytest.approx(week / 4), pytest.approx(10 * week / 4)),
    ]


@pytest.mark.usefixtures("shop")
def test_weekly_sales_count_receipts(warehouse: Warehouse, add_raw: Callable) -> None:
    add_raw(
        "product",
        [{"sku": "m", "category_1": "Dairy", "category_2": "Milk", "business_date": date(2026, 1, 1)}],
    )

    def sold(store: str, day: int, receipts: int) -> None:
        add_raw(
            "pos_receipt_line",
            [
                {
                    "store_id": store,
                    "workstation_id": "1",
                    "sequence_number": n,
                    "line_number": 1,
                    "sku": "m",
                    "quantity": 2,
                    "line_amount": 10,
                    "business_date": date(2026, 2, day),
                }
                for n in range(receipts)
            ],
        )

    sold("s1", 10, 3)
    sold("s1", 12, 3)
    sold("s2", 10, 4)  # too few
    sales = values(
        warehouse,
        "select store_id, category, week::text, units, amount, receipts from mart_inventory.weekly_sales",
    )
    assert sales == [("s1", "Milk", "2026-02-09", 12.0, 60.0, 6)]


@pytest.mark.usefixtures("shop")
def test_service_sees_recent_problems_and_hints(warehouse: Warehouse, add_raw: Callable) -> None:
    def event(name: str, day: date, **columns: object) -> dict:
        return {
            "event_name": name,
            "account_id": "a-c0",
            "occurred_at": datetime(day.year, day.month, day.day, tzinfo=UTC),
            "business_date": day,
            "sku": "m",
            **columns,
        }

    add_raw(
        "online_event",
        [
            event("order_refunded", date(2026, 2, 1), amount=12, order_id="o1"),
            event("product_reviewed", date(2026, 2, 2), rating=2),
            event("product_reviewed", date(2026, 2, 3), rating=5),
            event("order_refunded", date(2025, 11, 1), amount=12, order_id="o2"),  # over 90 days ago
            event("order_refunded", date(2026, 3, 2), amount=12, order_id="o3"),  # after the night
        ],
    )
    problems = values(
        warehouse, "select customer_id, kind, on_day::text from mart_service.recent_problem order by 3"
    )
    assert problems == [("c0", "refund", "2026-02-01"), ("c0", "bad_review", "2026-02-02")]
    often = values(
        warehouse,
        "select category, hint_en is null from mart_service.often_bought where customer_id in ('c0', 'c7') order by 1",
    )
    assert often == [("Milk", False), ("Tea", True)]


def test_the_profiles_as_of_a_date(night: Callable, warehouse: Warehouse) -> None:
    for day in (1, 2, 5):
        night(day, customer_profile=[{"customer_id": "ann", "monetary": float(day)}])

    def monetary(day: int) -> list[tuple]:
        return values(warehouse, f"select run_id, monetary from profile.as_of('2026-03-{day:02d}')")

    assert monetary(1) == [("2026-03-01.1", 1.0)]
    assert monetary(4) == [("2026-03-02.1", 2.0)]
    assert monetary(9) == [("2026-03-05.1", 5.0)]
    assert values(warehouse, "select * from profile.as_of('2026-02-01')") == []
    warehouse.execute("drop table profile_store.customer_profile_20260302_1")  # no longer kept
    assert monetary(4) == [("2026-03-01.1", 1.0)]


@pytest.mark.usefixtures("shop")
def test_every_question_of_the_cookbook_is_answered_to_a_reader(warehouse: Warehouse) -> None:
    for number, query in enumerate(QUERIES, start=1):
        with warehouse.begin() as connection:
            connection.execute(text("set transaction read only"))
            try:
                connection.exec_driver_sql(query.replace("%", "%%")).fetchall()
            except Exception as error:  # pragma: no cover
                pytest.fail(f"question {number}: {error}")


@pytest.mark.usefixtures("shop")
def test_the_readers_role_may_ask_the_marts(warehouse: Warehouse) -> None:
    with warehouse.begin() as connection:
        connection.execute(text("set local role portrait_reader"))
        for view in ("mart_marketing.campaign", "mart_service.recent_problem", "mart_inventory.weekly_sales"):
            connection.execute(text(f"select * from {view}"))
        connection.execute(text("select * from profile.as_of('2026-03-01')"))
