"""What customers had declared by a day, what products are called, and which were new then."""

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import Any

import numpy as np
import pytest
from portrait.config import Settings
from portrait.models.nightly.inputs import Inputs, inputs_of
from portrait.models.nightly.side import beside, profile_at
from portrait.warehouse import Warehouse

from ...features.conftest import Shop

AS_OF = date(2026, 3, 31)
CUTOFF = AS_OF - timedelta(days=14)


@pytest.fixture
def shop(settings: Settings, warehouse: Warehouse, add_raw: Callable[..., int]) -> Shop:
    """Three members, one of whom joined after the cut-off, and products: old, new before the cut-off, after it, and not yet there."""
    found = Shop(settings, warehouse, add_raw)
    for day, name, row in (
        (CUTOFF, "ann", {"gender": "f", "birth_date": date(1990, 5, 17), "city": "Wuhan"}),
        (CUTOFF, "bob", {"gender": "m", "level": "gold"}),
        (CUTOFF + timedelta(days=1), "cid", {"gender": "m", "birth_date": date(1950, 1, 1)}),
    ):
        joined = datetime(day.year, day.month, day.day, 4, tzinfo=UTC) - timedelta(days=40)
        found.member(day, member_id=name, card_hash=name, occurred_at=joined, **row)
    found.products(
        date(2026, 1, 1),
        {"sku": "old", "name": "Rice", "category_1": "food", "launched_on": date(2020, 1, 1)},
        {"sku": "new", "name": "Rice cake", "category_1": "food", "launched_on": CUTOFF - timedelta(days=5)},
        {"sku": "newer", "name": "Soap", "category_1": "care", "launched_on": AS_OF},
        {"sku": "soon", "name": "Soap", "category_1": "care", "launched_on": AS_OF + timedelta(days=1)},
        {"sku": "unsaid", "name": "Rice"},
    )
    found.events(CUTOFF, {"account_id": "x", "sku": "old"})
    found.night(AS_OF)
    return found


def rows_of(shop: Shop, inputs: Inputs, *cards: str) -> np.ndarray:
    ids = list(inputs.customers)
    return np.array([ids.index(shop.customer_of(AS_OF, card)) for card in cards])


def nightly(shop: Shop) -> tuple[Inputs, Any]:
    run = shop.run(AS_OF)
    inputs = inputs_of(shop.settings, run)
    return inputs, beside(shop.settings, run, inputs)


def test_profiles_are_those_of_the_day(shop: Shop) -> None:
    inputs, _ = nightly(shop)
    ann, bob, cid = rows_of(shop, inputs, "ann", "bob", "cid")
    run = shop.run(AS_OF)
    before = profile_at(shop.settings, run, inputs, CUTOFF).toarray()
    # f, m | Wuhan | gold | one age band | joined 30 to 90 days before
    assert before[ann].sum() == 4
    assert before[bob].sum() == 3
    assert before[cid].sum() == 0
    assert (before[ann] * before[bob]).sum() == 1
    after = profile_at(shop.settings, run, inputs, AS_OF).toarray()
    assert after[cid].sum() == 3
    assert (after[bob] * after[cid]).sum() == 2
    assert (after[ann] * after[cid]).sum() == 1
    assert set(np.unique(after)) == {0, 1}


def test_new_items_have_columns_though_nobody_touched_them(shop: Shop) -> None:
    inputs, known = nightly(shop)
    items = inputs.items.tolist()
    assert {"old", "new", "newer"} <= set(items)
    assert inputs.matrix("full_weights").shape[1] == len(items)

    def new(part: str) -> dict[str, float]:
        return {sku: age for sku, age in zip(items, known.at(part).new.tolist(), strict=True) if age == age}

    assert new("full") == {"new": 19, "newer": 0}
    assert new("train") == {"new": 5}
    assert new("validation") == {}


def test_words_are_the_products_own(shop: Shop) -> None:
    inputs, known = nightly(shop)
    place = {sku: n for n, sku in enumerate(inputs.items)}
    text = known.at("full").text
    np.testing.assert_allclose(np.linalg.norm(text[[place["old"], place["new"]]], axis=1), 1, rtol=1e-5)
    assert text[place["old"]] @ text[place["new"]] > text[place["old"]] @ text[place["newer"]] + 0.1
    np.testing.assert_array_equal(known.at("train").text, text)


def test_what_was_searched_for_changes_no_word(shop: Shop) -> None:
    """A query of a held-out day would tell of that day."""
    _, before = nightly(shop)
    for _ in range(5):
        shop.events(
            AS_OF, {"account_id": "x", "event_name": "products_searched", "search_query": "rice soap"}
        )
    shop.night(AS_OF)
    _, after = nightly(shop)
    np.testing.assert_array_equal(before.text, after.text)


def test_nothing_delivered_is_nothing_known(make_nights: Callable[..., Any]) -> None:
    """Neither members nor products: matrices alone."""
    nights = make_nights("popularity")
    run = nights.write(5, [[1, 0], [0, 1]], [[0, 1], [0, 0]])
    inputs = inputs_of(nights.settings, run)
    side = beside(nights.settings, run, inputs).at("full")
    assert side.profile is not None
    assert side.profile.shape == (2, 0)
    assert side.text is not None
    assert not side.text.any()
    assert side.new is not None
    assert np.isnan(side.new).all()
