"""The learned ranker as one of a night's candidates."""

from collections.abc import Callable
from datetime import date
from typing import Any

import numpy as np
import pytest
from portrait.errors import PortraitError
from portrait.models.nightly.inputs import inputs_of
from portrait.models.nightly.lists import Opener
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


def test_what_nobody_bought_yet_is_recommended_by_its_words(make_nights: Make) -> None:
    """Every other day a new tea and a new soap come into the shop, and lovers of either buy theirs. Today's are untouched."""
    rng = np.random.default_rng(4)
    customers, each = 120, 9
    tea = np.arange(customers) % 2 == 0
    kind = np.repeat([True, False], each)
    early = ((rng.random((customers, 2 * each)) < 0.4) & (tea[:, None] == kind)).astype(np.float32)
    new = {"validation": (0, 9), "train": (1, 10), "full": (2, 11)}
    early[:, [0, 1, 2, 9, 10, 11]] = 0

    def of_their_kind(part: str) -> np.ndarray:
        found = np.zeros_like(early)
        found[tea, new[part][0]] = found[~tea, new[part][1]] = 1
        return found

    nights = make_nights(NIGHTLY, "popularity", embedding="popularity", k=3)
    nights.write_products(*((f"i{n}", "green tea" if kind[n] else "soap bars") for n in range(2 * each)))
    launched = {
        item: date(2026, *day)
        for part, day in (("validation", (2, 28)), ("train", (3, 2)), ("full", (3, 4)))
        for item in new[part]
    }
    train = early + of_their_kind("validation")
    run = nights.write(
        5,
        train,
        of_their_kind("train"),
        launched=launched,
        validation_weights=early,
        validation_target=of_their_kind("validation"),
    )
    promotions = nights.whole(run)
    assert promotions["new"].model == "nightly"
    figures = {m: nights.evaluation(run, model=m, slot="new") for m in ("nightly", "popularity")}
    assert figures["nightly"]["recall@3"] > 0.95
    assert figures["popularity"]["recall@3"] < 0.5
    nights.scores(run)
    for customer in range(customers):
        mine, others = new["full"] if tea[customer] else new["full"][::-1]
        listed = nights.recommended(run, customer, "new")[:3]
        assert f"i{mine}" in listed
        assert f"i{others}" != listed[0]
    why = {
        (r["because_kind"], r["because_of"])
        for r in nights.output(run, "recommendation")
        if r["sku"] == f"i{new['full'][0]}"
    }
    assert ("category", "green tea") in why


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
        judged = Opener(nights.settings, run, inputs, "train")(folder)
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
