"""Who gets an answer, how often, how much they may send, and what is written down about it."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from portrait.serving.app import create_app
from portrait.serving.keys import revoke_key
from portrait.serving.scopes import ROLES, Scope
from sqlalchemy.exc import ProgrammingError

if TYPE_CHECKING:
    from tests.serving.conftest import Shop

KEYLESS = {"/healthz", "/readyz"}


def routes(shop: Shop) -> list[tuple[str, str]]:
    """Every method and path of the document with a value in each place, the document itself, and what there is not."""
    document = create_app(shop.settings).openapi()
    found = [
        (method.upper(), path.replace("{customer_id}", "x").replace("{name}", "x"))
        for path, methods in document["paths"].items()
        for method in methods
    ]
    assert len(found) > 10
    return [*found, ("GET", "/openapi.json"), ("GET", "/nowhere"), ("TRACE", "/segments")]


@pytest.mark.parametrize(
    "headers", [{}, {"X-API-Key": "portrait_abcdefgh_x"}, {"Authorization": "Basic eDp5"}]
)
def test_no_key_no_answer(shop: Shop, address: str, headers: dict[str, str]) -> None:
    for method, path in routes(shop):
        answer = httpx.request(method, address + path, headers=headers, json={} if method == "POST" else None)
        if path in KEYLESS:
            assert answer.status_code == 200, path
        else:
            assert answer.status_code == 401, path
            assert answer.headers["content-type"] == "application/problem+json"


def test_a_bearer_token_is_a_key(shop: Shop, address: str, api: httpx.Client) -> None:
    key = api.headers["X-API-Key"]
    assert httpx.get(f"{address}/segments", headers={"Authorization": f"Bearer {key}"}).status_code == 200


def test_a_key_with_another_secret(address: str, api: httpx.Client) -> None:
    key = api.headers["X-API-Key"]
    wrong = key[:-1] + ("a" if key[-1] != "a" else "b")
    assert httpx.get(f"{address}/segments", headers={"X-API-Key": wrong}).status_code == 401


def test_each_scope_opens_its_own(caller: Callable[..., httpx.Client]) -> None:
    opens = {
        Scope.CUSTOMERS: ("GET", "/customers/x", 404),
        Scope.TIMELINE: ("GET", "/customers/x/timeline", 404),
        Scope.PREDICT: ("POST", "/predict", 422),
        Scope.SEGMENTS: ("GET", "/segments", 200),
        Scope.AUDIENCES: ("GET", "/audiences", 200),
        Scope.OPERATIONS: ("GET", "/metrics", 200),
    }
    for scope in opens:
        client = caller(scope)
        for needed, (method, path, status) in opens.items():
            answer = client.request(method, path, json={} if method == "POST" else None)
            # What is no question is refused before it is looked at whose it is.
            assert answer.status_code in ({status} if needed == scope else {403, 422} & {403, status}), (
                scope,
                path,
            )


def test_marketing_sees_no_single_events() -> None:
    assert not {Scope.TIMELINE, Scope.IDENTITY, Scope.OPERATIONS} & set(ROLES["marketing"])


def test_a_revoked_key_is_refused(
    shop: Shop, caller: Callable[..., httpx.Client], wait: Callable[..., Any]
) -> None:
    client = caller(Scope.SEGMENTS)
    revoke_key(shop.settings, client.headers["X-API-Key"].split("_")[1])
    wait(lambda: client.get("/segments").status_code == 401)


def test_a_key_ends_by_itself(
    shop: Shop, caller: Callable[..., httpx.Client], wait: Callable[..., Any]
) -> None:
    client = caller(Scope.SEGMENTS, days=1)
    assert client.get("/segments").status_code == 200
    shop.warehouse.execute(
        "update ops.api_key set expires_at = now() where key_id = :k",
        k=client.headers["X-API-Key"].split("_")[1],
    )
    wait(lambda: client.get("/segments").status_code == 401)


def test_more_than_its_rate(caller: Callable[..., httpx.Client]) -> None:
    """A rate of its own of 3 a second saves up 6 (burst / rate of serving.yaml is 2); the look for the key took some."""
    client = caller(Scope.SEGMENTS, requests_per_second=3.0)
    answers = [client.get("/segments") for _ in range(8)]
    refused = [a for a in answers if a.status_code == 429]
    assert refused
    assert refused[0].headers["Retry-After"] == "1"
    assert answers[0].status_code == 200


def test_a_batch_costs_more(caller: Callable[..., httpx.Client]) -> None:
    client = caller(Scope.CUSTOMERS, requests_per_second=20.0)
    answers = [client.post("/customers/batch", json={"ids": ["x"] * 400}).status_code for _ in range(3)]
    assert 429 in answers


def test_a_long_body_is_refused(shop: Shop, address: str, api: httpx.Client) -> None:
    limit = shop.settings.serving.body_limit
    assert api.post("/predict", content=b"x" * (limit + 1)).status_code == 413
    in_pieces = (b"x" * 100_000 for _ in range(limit // 100_000 + 2))
    assert api.post("/predict", content=in_pieces).status_code == 413
    assert api.post("/predict", content=b"x" * limit).status_code == 422


def test_an_error_does_not_repeat_what_was_sent(api: httpx.Client) -> None:
    answer = api.post("/predict", json={"user_id": {"card": "6201555"}, "item_ids": ["6201555"]})
    assert answer.status_code == 422
    assert "6201555" not in answer.text
    assert "6201555" not in api.post("/predict", json={"user_id": 1, "item_ids": [], "6201555": 1}).text


def test_the_log_names_no_person(
    api: httpx.Client, caplog: pytest.LogCaptureFixture, wait: Callable[..., Any]
) -> None:
    with caplog.at_level(logging.INFO, logger="portrait.access"):
        api.get("/customers/card:6201555", params={"x": "secret"})
        # Other servers of this process may have switched uvicorn's own log on again.
        records = wait(lambda: [r for r in caplog.records if r.name == "portrait.access"])
    text = " ".join(r.getMessage() for r in records)
    entry = json.loads(records[-1].getMessage())
    assert "6201555" not in text
    assert "secret" not in text
    assert entry["route"] == "/customers/{customer_id}"
    assert (entry["method"], entry["status"]) == ("GET", 404)
    assert entry["key"] == api.headers["X-API-Key"].split("_")[1]
    assert set(entry) == {"request", "key", "method", "route", "status", "ms", "bytes"}


def test_answers_are_not_kept_by_browsers(api: httpx.Client) -> None:
    headers = api.get("/segments").headers
    assert headers["cache-control"] == "no-store"
    assert headers["x-content-type-options"] == "nosniff"


def test_it_listens_on_this_machine_only_unless_told() -> None:
    from portrait.config import ServingConfig

    assert ServingConfig().host == "127.0.0.1"


@pytest.mark.parametrize(
    "sql",
    [
        "select * from pii.contact",
        "select * from pii.member_detail",
        "select * from raw.member",
        "select * from raw.consent_event",
        "insert into ops.api_key (key_id, name, secret_sha256, scopes) values ('aaaaaaaa', '', '', '{x}')",
        "select price_sensitivity from profile.customer_profile",
        "select * from privacy.consent",
        "delete from ops.api_key",
    ],
)
def test_the_role_reads_no_contact_data_and_writes_nothing(shop: Shop, sql: str) -> None:
    with pytest.raises(ProgrammingError, match="permission denied"):
        shop.warehouse.execute(f"set local role portrait_api; {sql}")
