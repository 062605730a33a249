"""Who does not allow personal recommendations is answered with what is popular, at once when they withdraw."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from sqlalchemy import text

if TYPE_CHECKING:
    from tests.serving.conftest import Shop

PURPOSE = "personalised_recommendation"
State = Callable[[str, bool], None]


@pytest.fixture
def buyer(shop: Shop) -> str:
    """Allows personal recommendations, and has both kinds."""
    found: str = shop.warehouse.scalar(
        f"select p.customer_id from profile.customer_profile as p join privacy.permission as m using (customer_id)"
        f" where m.{PURPOSE} and p.frequency > 3 order by 1 limit 1"
    )
    return found


@pytest.fixture
def refuser(shop: Shop) -> str:
    """Stated nothing, or no, and bought something."""
    found: str = shop.warehouse.scalar(
        f"select p.customer_id from profile.customer_profile as p left join privacy.permission as m using (customer_id)"
        f" where m.{PURPOSE} is not true and p.frequency > 0 order by 1 limit 1"
    )
    return found


@pytest.fixture
def state(shop: Shop) -> Iterator[State]:
    """`state(customer, granted)`: as a load between two nights does; taken back after the test."""

    def say(customer: str, granted: bool) -> None:
        with shop.warehouse.begin() as connection:
            connection.execute(
                text(
                    "insert into raw.consent_event (source, source_row_id, consent_id, account_id, card_hash, purpose,"
                    " granted, occurred_at, business_date, batch_id)"
                    " select 'desk', clock_timestamp()::text, 'd', max(value) filter (where kind = 'account'),"
                    " max(value) filter (where kind = 'card'), :p, :g, now(), max(r.as_of), 1"
                    " from identity.customer_identifier, ops.run as r where customer_id = :c and valid_to is null"
                ),
                {"c": customer, "p": PURPOSE, "g": granted},
            )

    yield say
    shop.warehouse.execute("delete from raw.consent_event where source = 'desk'")


def popular(shop: Shop) -> list[str]:
    return [r["sku"] for r in shop.warehouse.rows("select sku from profile.popular order by rank")]


def offered(api: httpx.Client, customer: str, **asked: Any) -> list[dict[str, Any]]:
    answer = api.get(f"/customers/{customer}/recommendations", params={"limit": 100, **asked})
    found: list[dict[str, Any]] = answer.json()["recommendations"]
    return found


def test_the_night_offers_them_what_is_popular(
    api: httpx.Client, shop: Shop, refuser: str, buyer: str
) -> None:
    offers = offered(api, refuser)
    assert [o["sku"] for o in offers] == popular(shop)
    assert {(o["kind"], o["because_kind"], o["because_of"]) for o in offers} == {("new", "no_consent", None)}
    assert offered(api, refuser, kind="again") == []
    assert {o["kind"] for o in offered(api, buyer)} == {"new", "again"}
    assert "no_consent" not in {o["because_kind"] for o in offered(api, buyer)}


def test_a_withdrawal_counts_as_soon_as_it_is_loaded(
    api: httpx.Client, shop: Shop, buyer: str, state: State
) -> None:
    before = offered(api, buyer)
    state(buyer, False)
    assert [o["sku"] for o in offered(api, buyer)] == popular(shop)[: len(offered(api, buyer))]
    batch = api.post(
        "/customers/batch/recommendations", json={"ids": [buyer], "kind": "new", "limit": 3}
    ).json()
    (entry,) = batch["customers"]
    assert [r["because_kind"] for r in entry["customer"]["recommendations"]] == ["no_consent"] * 3
    answer = api.post("/predict", json={"user_id": buyer, "item_ids": popular(shop)[:1]})
    assert answer.headers["X-Portrait-Basis"] == "no_consent"
    # What they bought is no reason to leave something out; what they named need not be told them again.
    unknown = api.post("/predict", json={"user_id": "never seen", "item_ids": []}).json()["recommended_items"]
    expected = [s for s in unknown if s != popular(shop)[0]]
    assert answer.json()["recommended_items"][: len(expected)] == expected
    asked = {"questions": [{"user_id": buyer, "item_ids": []}, {"user_id": "never seen", "item_ids": []}]}
    two = api.post("/predict/batch", json=asked).json()["answers"]
    assert [a["basis"] for a in two] == ["no_consent", "popularity"]
    assert two[0]["recommended_items"] == two[1]["recommended_items"]
    state(buyer, True)
    assert offered(api, buyer) == before


def test_what_a_price_matters_is_not_served(api: httpx.Client, buyer: str) -> None:
    document = api.get(f"/customers/{buyer}").json()
    assert "price_sensitivity" not in document
    tags = {t["tag"] for t in api.get("/tags").json()["tags"]}
    assert "rfm_type" in tags
    assert "price_watcher" not in tags
    assert "price_watcher" not in {t["tag"] for t in document["tags"]}
