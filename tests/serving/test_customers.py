"""One customer, however they are named, and a thousand at once; against the tables and the delivered files."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import httpx
import numpy as np
import pytest
from portrait.serving.scopes import Scope

if TYPE_CHECKING:
    from tests.serving.conftest import Shop

FORBIDDEN = ("birth", "phone", "email", "contact", "address")


def some_customer(shop: Shop, condition: str = "frequency > 2") -> dict[str, Any]:
    rows = shop.warehouse.rows(
        f"select * from profile.customer_profile where {condition} order by customer_id limit 1"
    )
    return rows[0]


@pytest.fixture
def card_owner(shop: Shop) -> tuple[str, str, str]:
    """(customer id, card number in clear, account) of the first account that was delivered with a card."""
    for file in sorted(shop.settings.simulated_dir.glob("accounts/*/accounts.jsonl")):
        for row in map(json.loads, file.read_text().splitlines()):
            owner = shop.warehouse.scalar(
                "select customer_id from identity.customer_identifier join profile.customer_profile using (customer_id) "
                "where kind = 'account' and value = :a and valid_to is null",
                a=row["account_id"],
            )
            if owner and row.get("card_no"):
                return owner, row["card_no"], row["account_id"]
    raise AssertionError("no account was delivered with a card")


def test_a_profile_is_the_published_row(shop: Shop, api: httpx.Client) -> None:
    row = some_customer(shop)
    found = api.get(f"/customers/{row['customer_id']}").json()
    assert found["run_id"] == shop.run.run_id
    for name in ("gender", "age", "frequency", "monetary", "lifecycle", "segment_id", "favourite_category"):
        assert found[name] == row[name], name
    assert found["last_purchase_on"] == row["last_purchase_on"].isoformat()
    (rfm,) = shop.warehouse.rows("select * from profile.rfm where customer_id = :c", c=row["customer_id"])
    assert {k: found["rfm"][k] for k in ("r_score", "f_score", "m_score")} == {
        k: rfm[k] for k in ("r_score", "f_score", "m_score")
    }
    affinity = shop.warehouse.rows(
        "select dimension, value, rank from profile.affinity where customer_id = :c order by 1, 3",
        c=row["customer_id"],
    )
    assert [{k: a[k] for k in ("dimension", "value", "rank")} for a in found["affinities"]] == affinity


def test_no_contact_data_and_no_birth_date(shop: Shop, api: httpx.Client) -> None:
    text = api.get(f"/customers/{some_customer(shop, 'birth_date is not null')['customer_id']}").text
    assert not [word for word in FORBIDDEN if word in text]


def test_a_prospect_has_no_purchases(shop: Shop, api: httpx.Client) -> None:
    row = some_customer(shop, "lifecycle = 'prospect'")
    found = api.get(f"/customers/{row['customer_id']}").json()
    assert (found["rfm"], found["last_purchase_on"], found["value_type"]) == (None, None, None)


@pytest.mark.parametrize(
    "write", ["{card}", "card:{card}", "{account}", "account:{account}", "customer:{customer}"]
)
def test_any_alias_is_the_customer(api: httpx.Client, card_owner: tuple[str, str, str], write: str) -> None:
    customer, card, account = card_owner
    asked = write.format(card=card, account=account, customer=customer)
    assert api.get(f"/customers/{asked}").json()["customer_id"] == customer


def test_an_older_id_is_todays_customer(shop: Shop, api: httpx.Client) -> None:
    today, older = some_customer(shop)["customer_id"], "C00000000000000aa"
    shop.warehouse.execute(
        "insert into identity.id_change (as_of, change, customer_id, other_customer_id) values "
        "('2024-01-01', 'new', :o, ''), ('2024-02-01', 'merge', :t, :o) on conflict do nothing",
        o=older,
        t=today,
    )
    assert api.get(f"/customers/{older}").json()["customer_id"] == today


def test_a_value_of_two_customers_must_say_which(shop: Shop, api: httpx.Client) -> None:
    """Somebody's account has the text of another one's customer id."""
    first, second = shop.warehouse.rows("select customer_id from profile.customer_profile order by 1 limit 2")
    clash = first["customer_id"]
    shop.warehouse.execute(
        "insert into identity.identifier (kind, value, first_seen, last_seen, identifier_id) "
        "values ('account', :v, '2025-01-01', '2025-01-01', 2000000000)",
        v=f"clash-{clash}",
    )
    shop.warehouse.execute(
        "insert into identity.assignment (identifier_id, turn, customer_id, valid_from) "
        "values (2000000000, 1, :c, '2025-01-01')",
        c=second["customer_id"],
    )
    shop.warehouse.execute(
        "insert into identity.id_change (as_of, change, customer_id, other_customer_id) values "
        "('2024-01-01', 'new', :o, ''), ('2024-02-01', 'merge', :t, :o)",
        o=f"clash-{clash}",
        t=clash,
    )
    answer = api.get(f"/customers/clash-{clash}")
    assert (answer.status_code, answer.headers["content-type"]) == (409, "application/problem+json")
    assert api.get(f"/customers/account:clash-{clash}").json()["customer_id"] == second["customer_id"]
    assert api.get(f"/customers/customer:clash-{clash}").json()["customer_id"] == clash


@pytest.mark.parametrize("asked", ["nobody", "card:0000", "C0123456789abcdef", "phone:x", "a%00b", "%20"])
def test_nobody(api: httpx.Client, asked: str) -> None:
    answer = api.get(f"/customers/{asked}")
    assert answer.status_code == 404
    assert answer.json()["detail"] == "nobody in the published night has this id"


def test_a_batch_keeps_the_order_and_says_what_is_missing(
    shop: Shop, api: httpx.Client, card_owner: tuple[str, str, str]
) -> None:
    customer, card, _ = card_owner
    other = some_customer(shop, f"customer_id <> '{customer}'")["customer_id"]
    answer = api.post("/customers/batch", json={"ids": [other, "nobody", f"card:{card}", other]})
    found = answer.json()["customers"]
    assert [f["id"] for f in found] == [other, "nobody", f"card:{card}", other]
    assert [f["customer"] and f["customer"]["customer_id"] for f in found] == [other, None, customer, other]
    assert [f["problem"] for f in found] == [None, "not found", None, None]
    assert found[0]["customer"] == api.get(f"/customers/{other}").json()


def test_a_batch_takes_a_thousand_and_no_more(api: httpx.Client) -> None:
    assert len(api.post("/customers/batch", json={"ids": ["x"] * 1000}).json()["customers"]) == 1000
    assert api.post("/customers/batch", json={"ids": ["x"] * 1001}).status_code == 422


def test_recommendations_are_the_published_ones(shop: Shop, api: httpx.Client) -> None:
    customer = some_customer(shop)["customer_id"]
    columns = ("kind", "rank", "sku", "product_name", "because_kind", "because_of", "because_name")
    rows = shop.warehouse.rows(
        f"select {', '.join(columns)} from profile.recommendation where customer_id = :c order by kind desc, rank",
        c=customer,
    )
    assert {r["because_kind"] for r in rows if r["kind"] == "again"} == {"again"}
    assert {r["because_kind"] for r in rows if r["kind"] == "new"} <= {"item", "category", "popular"}
    found = api.get(f"/customers/{customer}/recommendations", params={"limit": 100}).json()
    assert [{k: r[k] for k in columns} for r in found["recommendations"]] == rows
    two = api.get(f"/customers/{customer}/recommendations", params={"kind": "new", "limit": 2}).json()
    assert [r["rank"] for r in two["recommendations"]] == [1, 2]
    assert {r["kind"] for r in two["recommendations"]} == {"new"}
    batch = api.post("/customers/batch/recommendations", json={"ids": [customer], "kind": "new", "limit": 2})
    assert batch.json()["customers"][0]["customer"] == two


def test_similar_customers_are_nearest_by_cosine(shop: Shop, api: httpx.Client) -> None:
    rows = shop.warehouse.rows(
        # A vector of zeros has no direction: nobody's neighbour.
        "select customer_id, embedding::real[] as v from profile.embedding where vector_norm(embedding) > 0 order by 1"
    )
    ids, matrix = [r["customer_id"] for r in rows], np.array([r["v"] for r in rows], np.float64)
    unit = matrix / np.linalg.norm(matrix, axis=1, keepdims=True)
    cosine = unit @ unit[0]
    expected = sorted((-round(float(c), 5), i) for c, i in zip(cosine[1:], ids[1:], strict=True))[:5]
    found = api.get(f"/customers/{ids[0]}/similar", params={"limit": 5}).json()["similar"]
    assert ids[0] not in {f["customer_id"] for f in found}
    np.testing.assert_allclose([f["similarity"] for f in found], [-e[0] for e in expected], atol=1e-4)


def test_a_customer_without_a_vector_has_no_neighbours(shop: Shop, api: httpx.Client) -> None:
    without = shop.warehouse.rows(
        "select customer_id from profile.customer_profile except select customer_id from profile.embedding limit 1"
    )
    if not without:
        pytest.skip("everybody of this retailer has a vector")
    assert api.get(f"/customers/{without[0]['customer_id']}/similar").json()["similar"] == []


def test_the_scope_is_asked_for(shop: Shop, caller: Callable[..., httpx.Client]) -> None:
    customer = some_customer(shop)["customer_id"]
    marketing = caller(Scope.CUSTOMERS, Scope.SEGMENTS, Scope.AUDIENCES)
    assert marketing.get(f"/customers/{customer}").status_code == 200
    assert marketing.get(f"/customers/{customer}/timeline").status_code == 403
    assert caller(Scope.SEGMENTS).get(f"/customers/{customer}").status_code == 403


def test_segments_are_counted_from_the_profiles(shop: Shop, api: httpx.Client) -> None:
    found = api.get("/segments").json()
    assert (found["run_id"], found["as_of"]) == (shop.run.run_id, shop.run.as_of.isoformat())
    expected = shop.warehouse.rows(
        "select segment_id, count(*) as customers from profile.segment group by 1 order by 1"
    )
    assert [{k: s[k] for k in ("segment_id", "customers")} for s in found["segments"]] == expected
    for segment in found["segments"]:
        assert sum(segment["lifecycle"].values()) == segment["customers"]
