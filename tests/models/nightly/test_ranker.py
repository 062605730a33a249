"""The learned ranker as one of a night's candidates."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from portrait.errors import PortraitError
from portrait.models.nightly.inputs import inputs_of
from portrait.models.nightly.lists import open_lists
from portrait.models.nightly.ranker import read_purchases
from portrait.models.rerank.purchases import Purchases

Make = Callable[..., Any]

NIGHTLY = "{name: nightly, params: {rounds: 20, leaves: 4, popular: 5, candidates_per_model: 5, linear_least: 1, neighbours: 5}}"
ITEMS = 12


def shop() -> dict[str, np.ndarray]:
    """Sixty customers with a staple each, bought in every window, and things bought once in a while."""
    rng = np.random.default_rng(3)
    customers = 60
    early = (rng.random((customers, ITEMS)) < 0.15).astype(np.float32)
    staple = np.arange(customers) % ITEMS
    early[np.arange(customers), staple] = 1
    target = np.zeros_like(early)
    target[np.arange(customers), staple] = 1
    train = early.copy()
    train[np.arange(customers), (staple + 1) % ITEMS] = 1
    return {"train": train, "target": target, "validation_weights": early, "validation_target": target}


def test_its_log_is_the_nights_purchases(make_nights: Make) -> None:
    nights = make_nights(NIGHTLY)
    run = nights.write(5, [[1, 0], [0, 0.5]], [[0, 1], [0, 0]], validation_weights=[[0, 0], [0, 0]])
    found = read_purchases(inputs_of(nights.settings, run))
    # The cut-off of 5 March is 3 March; a weight below 1 was only looked at.
    third = (np.datetime64("2026-03-03") - np.datetime64("1970-01-01")).astype(int)
    assert (found.customer.tolist(), found.item.tolist(), found.basket.tolist()) == ([0, 0], [0, 1], [0, 1])
    assert found.day is not None
    assert found.day.tolist() == [third, third + 2]


def test_a_whole_night_with_the_ranker(make_nights: Make) -> None:
    nights = make_nights(NIGHTLY, "popularity", embedding="popularity", k=1)
    data = shop()
    run = nights.write(5, **data)
    promotions = nights.whole(run)
    figures = {m: nights.evaluation(run, model=m, slot="next") for m in ("nightly", "popularity")}
    assert figures["nightly"]["hit_rate@1"] > figures["popularity"]["hit_rate@1"]
    assert promotions["next"].model_version == "2026-03-05.1/next/nightly"
    nights.scores(run)
    full = data["train"] + data["target"]
    for customer in range(len(full)):
        bought = {f"i{n}" for n in np.flatnonzero(full[customer] >= 1)}
        assert not bought & set(nights.recommended(run, customer, "new"))
        again = nights.recommended(run, customer, "again")
        assert again
        assert set(again) <= bought


def test_the_judged_copy_sees_nothing_of_the_held_out_days(make_nights: Make) -> None:
    nights = make_nights(NIGHTLY, "popularity", embedding="popularity", k=1)
    data = shop()
    other = np.roll(data["target"], 5, axis=1)
    lists = []
    for attempt, target in enumerate((data["target"], other), start=1):
        run = nights.write(
            5, data["train"], target, attempt=attempt, validation_weights=data["validation_weights"]
        )
        nights.train(run, "nightly")
        inputs = inputs_of(nights.settings, run)
        folder = nights.settings.run_dir(run.run_id) / "models" / "evaluated" / "nightly"
        judged = open_lists(nights.settings, run, inputs, "train", folder)
        lists.append(judged(np.arange(60), 3))
    assert np.array_equal(lists[0][0], lists[1][0])
    assert np.array_equal(lists[0][1], lists[1][1])


def test_features_of_an_earlier_version_have_no_log(make_nights: Make) -> None:
    nights = make_nights(NIGHTLY)
    run = nights.write(5, **shop())
    (inputs_of(nights.settings, run).folder / "purchases.parquet").unlink()
    with pytest.raises(PortraitError, match=r"purchases.parquet is missing.*run the features stage"):
        nights.train(run)


def test_nobody_bought_in_the_window(make_nights: Make) -> None:
    nights = make_nights(NIGHTLY)
    data = shop()
    data["validation_weights"], data["validation_target"] = data["train"], np.zeros_like(data["target"])
    run = nights.write(5, **data)
    with pytest.raises(PortraitError, match="0 customers bought something after the log"):
        nights.train(run)
    assert isinstance(read_purchases(inputs_of(nights.settings, run)), Purchases)
