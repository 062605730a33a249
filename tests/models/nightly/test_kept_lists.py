"""Who did nothing keeps last night's lists, for some nights; nobody else does."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from portrait.models.nightly.inputs import inputs_of
from portrait.models.nightly.kept_lists import kept_lists, unchanged
from portrait.run import Run

Make = Callable[..., Any]
CUSTOMERS, ITEMS = 12, 9
HALF_LIFE = 60


def bought() -> np.ndarray:
    """Each customer has two items; item 0 is bought by most, item 8 by nobody."""
    found = np.zeros((CUSTOMERS, ITEMS), np.float32)
    found[:, 0] = np.arange(CUSTOMERS) % 3 > 0
    found[np.arange(CUSTOMERS), 1 + np.arange(CUSTOMERS) % 7] = 1
    return found


def night(nights: Any, day: int, have: np.ndarray, looked: np.ndarray | None = None) -> Run:
    """A whole night on which these were bought, each once, all before the first night or the night before."""
    faded = 0.5 ** ((day - 1) / HALF_LIFE)
    first = np.zeros_like(have)
    first[:CUSTOMERS] = bought()
    weights = np.where(first > 0, faded, have) + (0 if looked is None else looked)
    target = np.zeros_like(have)  # something new for everybody: each night's champion is a version of its own
    target[:, :8] = np.roll(have[:, :8], 1, axis=1)
    run: Run = nights.write(
        day,
        have,
        target,
        full=weights,
        full_bought=have,
        train_bought=have,
        validation_weights=have,
    )
    customer, item = np.nonzero(have)
    log = {"customer": customer, "day": np.zeros(len(item)), "item": item}
    folder = nights.settings.run_dir(run.run_id) / "features" / "matrix"
    pq.write_table(
        pa.table({n: pa.array(c, pa.int32()) for n, c in log.items()}), folder / "purchases.parquet"
    )
    nights.whole(run)
    nights.scores(run)
    nights.published(run)
    return run


def versions(nights: Any, run: Run, kind: str = "new") -> list[str]:
    """Date of the night that each customer's list is from."""
    found: dict[str, set[str]] = {f"c{n}": set() for n in range(CUSTOMERS)}
    for row in nights.output(run, "recommendation"):
        if row["kind"] == kind:
            found[row["customer_id"]].add(row["model_version"][:10])
    assert all(len(v) == 1 for v in found.values())
    return [v.pop()[8:] for v in found.values()]


def test_by_turns(make_nights: Make) -> None:
    """Nobody does anything: a third is renewed each night, and no list is older than three nights."""
    nights = make_nights("popularity", renew=3)
    runs = [night(nights, day, bought()) for day in (1, 2, 3, 4, 5)]
    assert versions(nights, runs[0]) == ["01"] * CUSTOMERS
    for number, run in enumerate(runs[1:], start=2):
        found = versions(nights, run)
        assert found.count(f"0{number}") == CUSTOMERS // 3
        assert min(found) == f"0{max(1, number - 2)}"
        assert len(set(found)) == min(number, 3)
    assert versions(nights, runs[4], "again") == versions(nights, runs[4])
    lists = [
        {(r["customer_id"], r["kind"], r["rank"]) for r in nights.output(run, "recommendation")}
        for run in runs
    ]
    assert all(one == lists[0] for one in lists)


@pytest.mark.parametrize(("day", "renewed"), [(3, 8), (4, 12), (9, 12)])
def test_nights_that_were_left_out_are_made_up_for(make_nights: Make, day: int, renewed: int) -> None:
    """A retailer that runs weekly would renew the same customers every time."""
    nights = make_nights("popularity", renew=3)
    night(nights, 1, bought())
    found = versions(nights, night(nights, day, bought()))
    assert found.count(f"0{day}") == renewed


def test_whoever_did_anything_is_listed_anew(make_nights: Make) -> None:
    """A new purchase, a look at something, another look at what one had, and somebody new."""
    nights = make_nights("popularity", renew=7)
    before = night(nights, 1, bought())
    have, looked = (
        np.vstack([bought(), np.zeros((1, ITEMS), np.float32)]),
        np.zeros((CUSTOMERS + 1, ITEMS), np.float32),
    )
    have[0, 8] = 1
    looked[1, 8] = 0.1
    looked[2, 0] = 0.1
    have[CUSTOMERS, 3] = 1
    run = night(nights, 2, have, looked)
    turn = (np.arange(CUSTOMERS + 1) + run.as_of.toordinal()) % 7 == 0
    same = unchanged(
        inputs_of(nights.settings, before), inputs_of(nights.settings, run), 0.5 ** (1 / HALF_LIFE)
    )
    assert np.flatnonzero(~same).tolist() == [0, 1, 2, CUSTOMERS]
    anew = [c for c in range(CUSTOMERS) if not same[c] or turn[c]]
    inputs = inputs_of(nights.settings, run)
    kept = kept_lists(nights.settings, run, inputs)
    assert kept is not None
    lists, made = kept.split("new", "any/new/popularity", inputs.current)
    assert made.tolist() == [*anew, CUSTOMERS]
    assert set(lists["customer_id"].to_pylist()) == {f"c{c}" for c in range(CUSTOMERS) if c not in anew}
    assert f"c{CUSTOMERS}" in {r["customer_id"] for r in nights.output(run, "recommendation")}
    for customer in range(CUSTOMERS):
        if customer not in anew:
            assert nights.recommended(run, customer, "new") == nights.recommended(before, customer, "new")


def test_a_look_is_enough_even_beside_a_thousand(make_nights: Make) -> None:
    nights = make_nights("popularity", renew=7)
    heavy = bought() * 1000
    runs = []
    for day, faded in ((1, 1.0), (2, 0.5 ** (1 / HALF_LIFE))):
        weights = heavy * faded
        if day == 2:
            weights[4] += 0.5 * (heavy[4] > 0)
        runs.append(nights.write(day, bought(), bought(), full=weights, full_bought=bought()))
    one, other = (inputs_of(nights.settings, run) for run in runs)
    assert np.flatnonzero(~unchanged(one, other, 0.5 ** (1 / HALF_LIFE))).tolist() == [4]


@pytest.mark.parametrize("change", ["every night", "longer lists", "another model", "files gone"])
def test_everybody_is_listed_anew(make_nights: Make, change: str) -> None:
    nights = make_nights("popularity", renew=7)
    before = night(nights, 1, bought())
    if change == "every night":
        nights.settings = make_nights("popularity", renew=1).settings
    elif change == "longer lists":
        nights.settings = make_nights("popularity", renew=7, recommendations=4).settings
    elif change == "another model":
        nights.settings = make_nights("repeat", renew=7).settings
    else:
        (nights.settings.run_dir(before.run_id) / "models" / "recommendation.parquet").unlink()
    run = night(nights, 2, bought())
    assert versions(nights, run) == ["02"] * CUSTOMERS
