"""What a customer did, against what was loaded."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import httpx
import pytest

if TYPE_CHECKING:
    from tests.serving.conftest import Shop

OWN = "select kind, value from identity.customer_identifier where customer_id = :c and valid_to is null and kind = :k"


def did(shop: Shop, customer: str) -> int:
    """Events and receipts of the customer's identifiers, counted one identifier at a time."""

    def values(kind: str) -> list[str]:
        return [r["value"] for r in shop.warehouse.rows(OWN, c=customer, k=kind)]

    count = "select count(*) from raw."
    questions = (
        (count + "online_event where account_id = any(:v)", "account"),
        (count + "online_event where account_id is null and device_id = any(:v)", "device"),
        (count + "pos_receipt where card_hash = any(:v)", "card"),
        (count + "pos_receipt where card_hash is null and phone_hash = any(:v)", "phone"),
    )
    return sum(shop.warehouse.scalar(sql, v=values(kind)) for sql, kind in questions)


@pytest.fixture(scope="module")
def busy(shop: Shop) -> str:
    """Who did things in stores and online, and not too many."""
    found: str = shop.warehouse.rows(
        "select customer_id from profile.customer_profile where channels = 'both' and frequency > 1 "
        "order by views_30d, customer_id limit 1"
    )[0]["customer_id"]
    return found


def pages(api: httpx.Client, customer: str, limit: int) -> list[list[dict[str, Any]]]:
    found, after = [], None
    while True:
        answer = api.get(
            f"/customers/{customer}/timeline", params={"limit": limit, **({"after": after} if after else {})}
        ).json()
        found.append(answer["events"])
        after = answer["next"]
        if after is None:
            return found


def test_everything_the_newest_first_page_by_page(shop: Shop, api: httpx.Client, busy: str) -> None:
    in_pages = pages(api, busy, 7)
    assert {len(p) for p in in_pages[:-1]} <= {7}
    events = [e for page in in_pages for e in page]
    assert len(events) == did(shop, busy)
    assert events == [e for page in pages(api, busy, 200) for e in page]
    moments = [e["occurred_at"] for e in events]
    assert sorted({e["channel"] for e in events}) == ["online", "store"]
    assert [e["business_date"] for e in events] == sorted((e["business_date"] for e in events), reverse=True)
    assert len(set(moments)) > 1


def test_a_receipt_has_its_total_and_a_view_its_product(shop: Shop, api: httpx.Client, busy: str) -> None:
    events = [e for page in pages(api, busy, 200) for e in page]
    receipt = next(e for e in events if e["event"] == "pos_sale")
    total = shop.warehouse.scalar(
        "select total_amount from raw.pos_receipt where occurred_at = :t and store_id = :s",
        t=receipt["occurred_at"],
        s=receipt["place"],
    )
    assert receipt["amount"] == float(total)
    viewed = next(e for e in events if e["event"] == "product_viewed")
    name = shop.warehouse.scalar("select name from raw.product where sku = :s", s=viewed["sku"])
    assert viewed["product_name"] == name


def test_a_window_of_days(api: httpx.Client, busy: str) -> None:
    events = [e for page in pages(api, busy, 200) for e in page]
    day = events[len(events) // 2]["business_date"]
    found = api.get(f"/customers/{busy}/timeline", params={"since": day, "until": day, "limit": 200}).json()
    assert found["events"] == [e for e in events if e["business_date"] == day]


@pytest.mark.parametrize("after", ["x", "bm9uc2Vuc2U=", "WyIyMDI1LTAxLTAxIiwgIngiXQ==", "e30="])
def test_a_position_that_is_none_of_ours(api: httpx.Client, busy: str, after: str) -> None:
    answer = api.get(f"/customers/{busy}/timeline", params={"after": after})
    assert (answer.status_code, answer.json()["detail"]) == (404, "after: not the `next` of a page before")
