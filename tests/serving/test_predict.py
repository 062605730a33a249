"""The article's question, against popularity counted by hand; a champion that changes while the API runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import httpx
import numpy as np
import pytest
from portrait.models import create
from portrait.models.nightly.inputs import inputs_of

if TYPE_CHECKING:
    from tests.serving.conftest import Shop

from scipy.sparse import csr_matrix


@pytest.fixture(scope="module")
def popular(shop: Shop) -> list[str]:
    """Every sku by its share of all weight, the heaviest first; the champion of this shop is `popularity`."""
    inputs = inputs_of(shop.settings, shop.run)
    weight = np.asarray(inputs.matrix("full_weights").sum(axis=0, dtype=np.float64)).ravel()
    order = np.lexsort((np.arange(len(weight)), -(weight / weight.sum()).astype(np.float32)))
    return [str(inputs.items[c]) for c in order]


def bought(shop: Shop, customer: str) -> set[str]:
    inputs = inputs_of(shop.settings, shop.run)
    (row,) = np.flatnonzero(inputs.customers == customer)
    return {str(s) for s in inputs.items[inputs.matrix("full_bought")[row].indices]}


@pytest.fixture(scope="module")
def buyer(shop: Shop) -> str:
    rows = shop.warehouse.rows(
        "select customer_id from profile.customer_profile join privacy.permission using (customer_id)"
        " where frequency > 2 and personalised_recommendation order by customer_id limit 1"
    )
    customer: str = rows[0]["customer_id"]
    return customer


def test_ten_items_that_they_have_not(api: httpx.Client, shop: Shop, popular: list[str], buyer: str) -> None:
    theirs = bought(shop, buyer)
    assert theirs
    at_hand = [popular[0], popular[3]]
    answer = api.post("/predict", json={"user_id": buyer, "item_ids": at_hand})
    expected = [s for s in popular if s not in theirs and s not in at_hand][:10]
    assert answer.json() == {"recommended_items": expected}
    assert answer.headers["X-Portrait-Basis"] == "history+items"
    assert answer.headers["X-Portrait-Model"] == f"{shop.run.run_id}/new/popularity"


@pytest.mark.parametrize(
    ("item_ids", "basis", "ignored"),
    [([], "popularity", 0), (["no-such-sku"], "popularity", 1), (["no-such-sku", "KNOWN"], "items", 1)],
)
def test_a_customer_nobody_knows(
    api: httpx.Client, popular: list[str], item_ids: list[str], basis: str, ignored: int
) -> None:
    at_hand = [popular[1] if i == "KNOWN" else i for i in item_ids]
    answer = api.post("/predict", json={"user_id": "never seen", "item_ids": at_hand})
    assert answer.json()["recommended_items"] == [s for s in popular if s not in at_hand][:10]
    assert answer.headers["X-Portrait-Basis"] == basis
    assert answer.headers["X-Portrait-Ignored"] == str(ignored)


def test_numbers_as_the_article_has_them(api: httpx.Client, popular: list[str]) -> None:
    answer = api.post("/predict", json={"user_id": 1, "item_ids": [10, 20]})
    assert answer.json()["recommended_items"] == popular[:10]


def test_an_account_is_as_good_as_the_id(api: httpx.Client, shop: Shop) -> None:
    (owner,) = shop.warehouse.rows(
        "select i.value, i.customer_id from identity.customer_identifier i join profile.customer_profile using (customer_id) "
        "join privacy.permission using (customer_id) where personalised_recommendation and "
        "kind = 'account' and value not like 'clash%' and valid_to is null and frequency > 1 order by 1 limit 1"
    )
    by_account, by_id = (
        api.post("/predict", json={"user_id": user, "item_ids": []})
        for user in (owner["value"], owner["customer_id"])
    )
    assert by_account.json() == by_id.json()
    assert by_account.headers["X-Portrait-Basis"] == by_id.headers["X-Portrait-Basis"] == "history"


def test_a_batch_says_what_each_answer_rests_on(api: httpx.Client, popular: list[str], buyer: str) -> None:
    questions = [
        {"user_id": buyer, "item_ids": [popular[0]]},
        {"user_id": 7, "item_ids": [8]},
        {"user_id": buyer, "item_ids": []},
    ]
    found = api.post("/predict/batch", json={"questions": questions}).json()
    singles = [api.post("/predict", json=q).json()["recommended_items"] for q in questions]
    assert [a["recommended_items"] for a in found["answers"]] == singles
    assert [a["basis"] for a in found["answers"]] == ["history+items", "popularity", "history"]
    assert [a["ignored_items"] for a in found["answers"]] == [[], [8], []]
    assert [a["user_id"] for a in found["answers"]] == [buyer, 7, buyer]


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"user_id": 1},
        {"user_id": None, "item_ids": []},
        {"user_id": True, "item_ids": []},
        {"user_id": 1, "item_ids": "8"},
        {"user_id": 1, "item_ids": [1.5]},
        {"user_id": 1, "item_ids": [], "k": 5},
        {"user_id": 2**53, "item_ids": []},
        {"user_id": "x" * 201, "item_ids": []},
        {"user_id": 1, "item_ids": [1] * 1001},
    ],
)
def test_what_is_no_question(api: httpx.Client, body: dict[str, Any]) -> None:
    answer = api.post("/predict", json=body)
    assert (answer.status_code, answer.headers["content-type"]) == (422, "application/problem+json")


@pytest.fixture
def other_champion(shop: Shop) -> Iterator[Callable[[list[str]], str]]:
    """Promote a model whose favourites are these skus; gives its version. Afterwards the old one serves again."""
    inputs = inputs_of(shop.settings, shop.run)
    columns = {str(s): c for c, s in enumerate(inputs.items)}
    old = shop.warehouse.scalar(
        "select model_version from ops.model_version where slot = 'new' and status = 'champion'"
    )

    def promote(favourites: list[str]) -> str:
        weights = np.full((1, len(columns)), 0.01, np.float32)
        for place, sku in enumerate(favourites):
            weights[0, columns[sku]] = 100 - place
        version, path = f"{shop.run.run_id}/new/other", f"{shop.run.run_id}/other"
        create("popularity").fit(csr_matrix(weights)).save(shop.settings.models_dir / path / "serving")
        with shop.warehouse.transaction() as transaction:
            transaction.execute(
                "update ops.model_version set status = 'retired' where model_version = :v", v=old
            )
            transaction.execute(
                "insert into ops.model_version (model_version, slot, model, parameters, run_id, trained_through, path, "
                "status, reason) select :v, slot, model, parameters, run_id, trained_through, :p, 'champion', 'test' "
                "from ops.model_version where model_version = :o",
                v=version,
                p=path,
                o=old,
            )
        return version

    yield promote
    shop.warehouse.execute("delete from ops.model_version where reason = 'test'")
    shop.warehouse.execute("update ops.model_version set status = 'champion' where model_version = :v", v=old)


def test_a_new_champion_serves_without_a_restart(
    api: httpx.Client,
    popular: list[str],
    other_champion: Callable[[list[str]], str],
    wait: Callable[..., Any],
) -> None:
    favourites = popular[-1:-11:-1]
    version = other_champion(favourites)

    def answer() -> httpx.Response:
        return api.post("/predict", json={"user_id": "never seen", "item_ids": []})

    wait(lambda: answer().headers["X-Portrait-Model"] == version)
    assert answer().json()["recommended_items"] == favourites


def test_where_a_ranker_is_champion_the_model_of_the_vectors_answers(
    api: httpx.Client,
    shop: Shop,
    popular: list[str],
    other_champion: Callable[[list[str]], str],
    wait: Callable[..., Any],
) -> None:
    other_champion(popular[:1])
    shop.warehouse.execute("update ops.model_version set model = 'nightly' where reason = 'test'")
    vectors = shop.warehouse.scalar(
        "select model_version from ops.model_version where slot = 'embedding' and status = 'champion'"
    )

    def answer() -> httpx.Response:
        return api.post("/predict", json={"user_id": "never seen", "item_ids": popular[:2]})

    wait(lambda: answer().headers["X-Portrait-Model"] == vectors)
    assert len(answer().json()["recommended_items"]) == 10


def test_a_champion_that_cannot_be_read_leaves_the_old_one(
    api: httpx.Client,
    shop: Shop,
    other_champion: Callable[[list[str]], str],
    popular: list[str],
    wait: Callable[..., Any],
) -> None:
    wait(lambda: api.get("/readyz").status_code == 200)
    before = api.post("/predict", json={"user_id": "x", "item_ids": []}).headers["X-Portrait-Model"]
    other_champion(popular[:1])
    shop.warehouse.execute(
        "update ops.model_version set path = 'nowhere/at-all', created_at = now() where reason = 'test'"
    )
    wait(lambda: api.get("/readyz").json()["checks"]["champion"] is False)
    assert api.get("/readyz").status_code == 503
    assert api.post("/predict", json={"user_id": "x", "item_ids": []}).status_code == 200
    assert before
