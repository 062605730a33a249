"""Audiences, whose members are written by hand."""

from __future__ import annotations

from typing import TYPE_CHECKING

import httpx
import pytest

if TYPE_CHECKING:
    from tests.serving.conftest import Shop


@pytest.fixture(scope="module")
def members(shop: Shop) -> list[str]:
    """Seven members of `tea`, one of them held back; one more has left. `coffee` has nobody and shares nobody."""
    ids = [
        r["customer_id"]
        for r in shop.warehouse.rows("select customer_id from profile.customer_profile order by 1 limit 8")
    ]
    for code in ("tea", "coffee"):
        shop.warehouse.execute(
            "insert into audience.definition (audience, name_en, name_zh, condition, purpose, channel, owner, control_share, "
            "destination, in_use, defined_for) values (:a, :a, '茶', 'true', 'service', 'app', 'crm', 0.1, 'csv', true, :d)",
            a=code,
            d=shop.run.as_of,
        )
    for n, customer in enumerate(ids):
        shop.warehouse.execute(
            "insert into audience.membership (audience, customer_id, entered_on, left_on, is_control) "
            "values ('tea', :c, '2025-01-01', :l, :k)",
            c=customer,
            l="2025-01-02" if n == 7 else None,
            k=n == 2,
        )
    shop.warehouse.execute(
        "insert into audience.size_daily (audience, as_of, run_id, members, control, without_consent, entered, left_it) "
        "values ('tea', '2025-01-02', 'x', 7, 1, 4, 0, 1), ('tea', '2025-01-01', 'x', 8, 1, 4, 8, 0)"
    )
    shop.warehouse.execute(
        "insert into audience.overlap (as_of, audience_a, audience_b, customers, jaccard) "
        "values ('2025-01-02', 'coffee', 'tea', 0, 0)"
    )
    return ids[:7]


def test_members_page_by_page(api: httpx.Client, members: list[str]) -> None:
    found, after = [], ""
    while after is not None:
        page = api.get("/audiences/tea", params={"limit": 3, "after": after}).json()
        found.append([m["customer_id"] for m in page["members"]])
        after = page["next"]
    assert found == [members[:3], members[3:6], members[6:]]
    first = api.get("/audiences/tea", params={"limit": 3}).json()
    assert [m["is_control"] for m in first["members"]] == [False, False, True]
    assert first["definition"]["name_zh"] == "茶"


def test_an_audience_with_nobody(api: httpx.Client, members: list[str]) -> None:
    found = api.get("/audiences/coffee").json()
    assert (found["members"], found["next"]) == ([], None)


def test_no_such_audience(api: httpx.Client, members: list[str]) -> None:
    assert api.get("/audiences/beer").status_code == 404


def test_sizes_and_overlaps(api: httpx.Client, members: list[str]) -> None:
    found = api.get("/audiences").json()
    tea = next(a for a in found["audiences"] if a["audience"] == "tea")
    assert [(s["as_of"], s["members"], s["entered"], s["left"]) for s in tea["sizes"]] == [
        ("2025-01-01", 8, 8, 0),
        ("2025-01-02", 7, 0, 1),
    ]
    assert {"a": "coffee", "b": "tea", "customers": 0, "jaccard": 0} in found["overlaps"]
