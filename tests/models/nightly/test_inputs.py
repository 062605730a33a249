"""What the feature stage left for the models."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from portrait.models import model_class
from portrait.models.nightly.inputs import inputs_of, runtime, validation_split

Make = Callable[..., Any]


def test_how_a_model_runs_is_that_of_model_yaml(make_nights: Make, tmp_path: Path) -> None:
    settings = make_nights("popularity").settings
    told = runtime(settings, model_class("multvae"), tmp_path)
    assert told == {"threads": 1, "device": "auto", "checkpoint_dir": str(tmp_path), "start_from": None}
    assert "start_from" not in runtime(settings, model_class("product_of_experts"), tmp_path)
    assert runtime(settings, model_class("ease"), tmp_path) == {}


def test_items_that_only_later_nights_know_are_cut(make_nights: Make) -> None:
    """Item 2 was bought once without a weight; item 3 and 4 were appended by a later night."""
    nights = make_nights("popularity")
    run = nights.write(
        1, [[1, 0, 0, 0, 0]], [[0, 0, 1, 0, 0]], full=[[1, 0, 0, 0, 0]], full_bought=[[1, 0, 1, 0, 0]]
    )
    inputs = inputs_of(nights.settings, run)
    assert inputs.items.tolist() == ["i0", "i1", "i2"]
    for name in ("train_weights", "train_bought", "target", "full_weights", "validation_target"):
        assert inputs.matrix(name).shape == (1, 3)
    np.testing.assert_array_equal(inputs.matrix("target").toarray(), [[0, 0, 1]])


def test_no_item_at_all(make_nights: Make) -> None:
    nights = make_nights("popularity")
    inputs = inputs_of(nights.settings, nights.write(1, [[0, 0]], [[0, 0]]))
    assert inputs.matrix("full_weights").shape == (1, 0)
    assert len(inputs.items) == 0


@pytest.mark.parametrize(("buyers", "held"), [(9, 0), (10, 1), (25, 2)])
def test_a_tenth_of_the_buyers_is_held_out(make_nights: Make, buyers: int, held: int) -> None:
    nights = make_nights("popularity")
    own = np.eye(30, dtype=np.float32)  # customer n touched item n only
    target = np.where(np.arange(30)[:, None] < buyers, 2 * own, 0)
    run = nights.write(1, own, np.zeros((30, 30)), validation_weights=3 * own, validation_target=target)
    train, pair = validation_split(inputs_of(nights.settings, run), seed=1)
    assert train.shape[0] == 30 - held
    if not held:
        assert pair is None
        return
    assert pair is not None
    chosen = set(pair[0].indices)
    assert len(chosen) == held
    assert chosen <= set(range(buyers))
    assert chosen.isdisjoint(train.indices)
    assert set(pair[1].indices) == chosen
    assert set(pair[0].data) == {3.0}
    again = validation_split(inputs_of(nights.settings, run), seed=1)[1]
    assert again is not None
    assert set(again[0].indices) == chosen
