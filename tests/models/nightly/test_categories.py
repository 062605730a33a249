"""The categories of a night's items, from the lake."""

from collections.abc import Callable
from typing import Any

from portrait.models.nightly.categories import categories_of
from portrait.models.nightly.inputs import inputs_of

Make = Callable[..., Any]


def test_items_without_a_product_or_a_category_have_none(make_nights: Make) -> None:
    nights = make_nights("popularity")
    run = nights.write(1, [[1, 1, 1, 1]], [[0, 0, 0, 0]])
    nights.write_products(("i3", "Toys"), ("i0", "Tea"), ("i1", None), ("other", "Apples"))
    found = categories_of(nights.settings, run, inputs_of(nights.settings, run))
    assert found.names.tolist() == ["Apples", "Tea", "Toys"]
    assert found.of_item.tolist() == [1, -1, -1, 2]


def test_without_a_product_file_there_are_none(make_nights: Make) -> None:
    nights = make_nights("popularity")
    run = nights.write(1, [[1, 1]], [[0, 0]])
    found = categories_of(nights.settings, run, inputs_of(nights.settings, run))
    assert len(found.names) == 0
    assert found.of_item.tolist() == [-1, -1]
