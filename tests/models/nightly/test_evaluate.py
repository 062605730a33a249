"""Judging a night's candidates and the champion."""

from collections.abc import Callable
from math import log2
from typing import Any

import numpy as np
import pytest
from portrait.errors import PortraitError
from portrait.models.nightly.evaluate import decisions_of, sampled
from portrait.models.nightly.inputs import inputs_of
from portrait.models.nightly.lists import Opener
from portrait.run import Run
from scipy.sparse import csr_matrix

Make = Callable[..., Any]

# Popularity is A 3, B 1, C 0.5, then D and E: everybody's list is A B C D.
TRAIN = [
    [1, 1, 0, 0, 0],
    [1, 0, 0, 0, 0],
    [1, 0, 0.5, 0, 0],  # C was only looked at
    [0, 0, 0, 0, 0],
]
TARGET = [
    [1, 0, 0, 1, 0],
    [0, 1, 0, 0, 0],
    [0, 0, 0, 0, 0],
    [1, 0, 1, 0, 0],
]
SECOND = 1 / log2(3)
"""Gain of a hit in second place."""

# c0-c2 buy what they always buy (and pass over what they look at), c3 the most popular item.
HABITS = [
    [0, 2, 0, 0, 0, 0.5],
    [0, 0, 2, 0, 0, 0.5],
    [0, 0, 0, 2, 0, 0.5],
    [0, 0, 0, 0, 2, 0.5],
    [1, 0, 0, 0, 0, 0],
    [1, 0, 0, 0, 0, 0],
    [1, 0, 0, 0, 0, 0],
]
HABITS_TARGET = [
    [0, 1, 0, 0, 0, 0],
    [0, 0, 1, 0, 0, 0],
    [0, 0, 0, 1, 0, 0],
    [1, 0, 0, 0, 0, 0],
    [0, 0, 0, 0, 0, 0],
    [0, 0, 0, 0, 0, 0],
    [0, 0, 0, 0, 0, 0],
]


def judged(nights: Any, run: Run) -> dict[str, Any]:
    nights.train(run)
    found: dict[str, Any] = nights.evaluate(run)
    return found


def test_popularity_by_hand(make_nights: Make) -> None:
    nights = make_nights("popularity", k=2)
    full = [*TRAIN[:3], [0, 0, 0, 0, 0.1]]  # somebody looked at E in the held-out days
    run = nights.write(1, TRAIN, TARGET, full=full)
    judged(nights, run)
    # Lists A B: customer 0 wanted A D, customer 1 B, customer 3 A C.
    ndcg = (1 / (1 + SECOND) + SECOND + 1 / (1 + SECOND)) / 3
    found = nights.evaluation(run, slot="next", k=2)
    assert found == pytest.approx(
        {
            "recall@2": (1 / 2 + 1 + 1 / 2) / 3,
            "precision@2": 1 / 2,
            "f1@2": (2 / 4 + 2 / 3 + 2 / 4) / 3,
            "ndcg@2": ndcg,
            "hit_rate@2": 1.0,
            "coverage@2": 2 / 5,
            "map@2": 1 / 2,
            "mrr@2": (1 + 1 / 2 + 1) / 3,
            # Of four customers A was bought by three, B by one; by buyers they are fifth and fourth of five.
            "novelty@2": (log2(4 / 3) + 2) / 2,
            "popularity_bias@2": (5 + 4) / 2 / 5,
        }
    )
    # Of customer 0 A was bought before, and only of them.
    assert nights.evaluation(run, slot="again", k=2) == {"recall@2": 1.0}
    # Lists without what was bought: C D, B C, A B; wanted D, B, A C.
    assert nights.evaluation(run, slot="new", k=2) == pytest.approx(
        {
            "recall@2": (1 + 1 + 1 / 2) / 3,
            "precision@2": 1 / 2,
            "f1@2": (2 / 3 + 2 / 3 + 2 / 4) / 3,
            "ndcg@2": (SECOND + 1 + 1 / (1 + SECOND)) / 3,
            "hit_rate@2": 1.0,
            "coverage@2": 4 / 5,
            "map@2": (1 / 2 + 1 + 1 / 2) / 3,
            "mrr@2": (1 / 2 + 1 + 1) / 3,
            "novelty@2": (5 * 2 + log2(4 / 3)) / 6,
            "popularity_bias@2": (1 + 2 + 4 + 1 + 5 + 4) / 6 / 5,
        }
    )
    # Twice as long lists are judged too: A B C D, C D E, B C D E and A B C D.
    assert nights.evaluation(run, slot="next", k=4)["recall@4"] == 1.0
    assert nights.evaluation(run, slot="new", k=4)["coverage@4"] == 1.0
    customers = nights.warehouse.rows(
        "select slot, max(customers) as n from ops.evaluation group by slot order by slot"
    )
    assert customers == [{"slot": "again", "n": 1}, {"slot": "new", "n": 3}, {"slot": "next", "n": 3}]


def test_a_rerun_replaces_its_rows(make_nights: Make) -> None:
    nights = make_nights("popularity", "repeat")
    run = nights.write(1, TRAIN, TARGET)
    judged(nights, run)
    before = nights.warehouse.rows("select * from ops.evaluation order by slot, model, role, metric, k")
    nights.evaluate(run)
    after = nights.warehouse.rows("select * from ops.evaluation order by slot, model, role, metric, k")
    assert before
    assert after == before
    nights.write(1, TRAIN, [[0] * 5] * 4)
    nights.evaluate(run)
    assert nights.warehouse.scalar("select count(*) from ops.evaluation") == 0


def test_nothing_was_trained(make_nights: Make) -> None:
    nights = make_nights("popularity")
    run = nights.write(1, TRAIN, TARGET)
    with pytest.raises(PortraitError, match="no model was trained tonight"):
        nights.evaluate(run)


def test_nobody_bought_anything_in_the_holdout(make_nights: Make) -> None:
    nights = make_nights("popularity", "repeat")
    run = nights.write(1, TRAIN, [[0] * 5] * 4)
    decisions = judged(nights, run)
    for decision in decisions.values():
        assert decision.reason == "nobody bought anything in the held-out days: nothing to judge by"
        # The first of model.yaml serves until there is something to judge by.
        assert (decision.challenger, decision.promoted, decision.value) == ("popularity", True, None)
    nights.promote(run)
    second = nights.write(2, TRAIN, [[0] * 5] * 4)
    decisions = judged(nights, second)
    assert decisions["next"].promoted is False
    assert decisions["next"].replaces == "2026-03-01.1/next/popularity"
    nights.promote(second)
    assert nights.versions("next") == {
        "2026-03-01.1/next/popularity": "champion",
        "2026-03-02.1/next/popularity": "candidate",
    }


def test_only_repeats_in_the_holdout(make_nights: Make) -> None:
    """Slot `new` has nothing to judge by while `next` has."""
    nights = make_nights("popularity", "repeat", k=1)
    run = nights.write(1, HABITS, [*HABITS_TARGET[:3], *[[0] * 6] * 4])
    decisions = judged(nights, run)
    assert decisions["next"].challenger == "repeat"
    assert decisions["new"].reason.startswith("nobody bought anything")


def test_each_slot_has_its_own_best(make_nights: Make) -> None:
    nights = make_nights("popularity", "repeat", k=1)
    run = nights.write(1, HABITS, HABITS_TARGET)
    decisions = judged(nights, run)
    assert nights.evaluation(run, slot="next", model="popularity", metric="ndcg")["ndcg@1"] == 1 / 4
    assert nights.evaluation(run, slot="next", model="repeat", metric="ndcg")["ndcg@1"] == 3 / 4
    assert decisions["next"].challenger == "repeat"
    assert decisions["next"].value == 3 / 4
    # Only c3 bought something new. Repeat suggests what c3 looked at first.
    assert nights.evaluation(run, slot="new", model="popularity", metric="ndcg")["ndcg@1"] == 1
    assert nights.evaluation(run, slot="new", model="repeat", metric="ndcg")["ndcg@1"] == 0
    assert decisions["new"].challenger == "popularity"
    assert decisions["new"].reason == "best of 2 candidates, no champion yet"
    assert decisions_of(nights.settings, run) == list(decisions.values())


def test_equal_candidates_keep_the_order_of_model_yaml(make_nights: Make) -> None:
    nights = make_nights("repeat", "popularity", k=1)
    run = nights.write(1, [[1, 0], [1, 0]], [[1, 0], [1, 0]])
    assert judged(nights, run)["next"].challenger == "repeat"


@pytest.fixture
def repeat_serves(make_nights: Make) -> Any:
    """Nights whose champion of 1 March is `repeat`."""
    nights = make_nights("repeat", k=1)
    nights.whole(nights.write(1, HABITS, HABITS_TARGET))
    return nights


def many(rows: list[list[float]]) -> list[list[float]]:
    return rows * 6


def test_a_challenger_that_clearly_loses_is_kept_out(repeat_serves: Any, make_nights: Make) -> None:
    nights = make_nights("popularity", k=1)
    run = nights.write(2, many(HABITS), many(HABITS_TARGET))
    decisions = judged(nights, run)
    decision = decisions["next"]
    # 18 of 24 for repeat, 6 of 24 for popularity; the other 18 customers bought nothing.
    assert decision.promoted is False
    assert decision.replaces == "2026-03-01.1/next/repeat"
    assert decision.reason.startswith("loses to repeat (2026-03-01.1/next/repeat): NDCG@1 0.2500")
    assert "difference -0.5000" in decision.reason
    assert "over 24 customers" in decision.reason
    assert nights.evaluation(run, slot="next", role="champion", metric="ndcg")["ndcg@1"] == 18 / 24
    assert decisions["new"].promoted is True  # popularity is better there


def test_a_challenger_that_loses_within_the_noise_is_promoted(repeat_serves: Any, make_nights: Make) -> None:
    nights = make_nights("popularity", k=1)
    target = [*HABITS_TARGET[:1], *[[0] * 6] * 2, HABITS_TARGET[3], *[[0] * 6] * 3]
    run = nights.write(2, HABITS, target)  # one right each, of two customers
    decision = judged(nights, run)["next"]
    assert decision.promoted is True
    assert "does not lose to repeat" in decision.reason
    assert "difference +0.0000" in decision.reason


def test_a_tie_is_promoted(repeat_serves: Any) -> None:
    run = repeat_serves.write(2, many(HABITS), many(HABITS_TARGET))
    decision = judged(repeat_serves, run)["next"]
    assert decision.promoted is True
    assert decision.replaces == "2026-03-01.1/next/repeat"
    assert "difference +0.0000 (95 % +0.0000 to +0.0000)" in decision.reason


def test_the_champion_is_judged_by_the_copy_that_saw_no_held_out_day(make_nights: Make) -> None:
    """Its serving copy knows that everybody turned to item 1."""
    nights = make_nights("popularity", k=1)
    nights.whole(nights.write(1, [[1, 0]] * 3, [[0, 1]] * 3, full=[[0, 9]] * 3))
    run = nights.write(2, [[1, 0]] * 3, [[0, 1]] * 3)
    judged(nights, run)
    assert nights.evaluation(run, slot="next", role="champion")["ndcg@1"] == 0
    assert nights.evaluation(run, slot="next", role="champion")["ndcg@2"] == pytest.approx(SECOND)


def test_the_champion_of_each_slot_has_its_rows(make_nights: Make) -> None:
    nights = make_nights("popularity", "repeat", k=1)
    nights.whole(nights.write(1, HABITS, HABITS_TARGET))
    run = nights.write(2, HABITS, HABITS_TARGET)
    judged(nights, run)
    rows = nights.warehouse.rows(
        "select distinct slot, model from ops.evaluation where run_id = :r and role = 'champion' order by slot",
        r=run.run_id,
    )
    assert [(r["slot"], r["model"]) for r in rows] == [
        ("again", "repeat"),  # read out of the lists of `next`
        ("new", "popularity"),
        ("next", "repeat"),
    ]


def test_the_night_again_is_judged_against_the_same_champion(repeat_serves: Any) -> None:
    run = repeat_serves.write(2, HABITS, HABITS_TARGET)
    first = judged(repeat_serves, run)
    repeat_serves.promote(run)
    assert repeat_serves.versions("next")["2026-03-02.1/next/repeat"] == "champion"
    assert repeat_serves.evaluate(run) == first


def test_the_night_before_again_does_not_change_whom_a_night_is_judged_against(repeat_serves: Any) -> None:
    run = repeat_serves.write(2, HABITS, HABITS_TARGET)
    first = judged(repeat_serves, run)
    repeat_serves.promote(run)
    before = repeat_serves.versions("next")
    repeat_serves.whole(repeat_serves.write(1, HABITS, HABITS_TARGET))
    assert repeat_serves.versions("next") == before
    assert repeat_serves.evaluate(run) == first


def test_of_two_attempts_of_a_night_the_later_one_is_the_champion_to_beat(repeat_serves: Any) -> None:
    repeat_serves.whole(repeat_serves.write(1, HABITS, HABITS_TARGET, attempt=2))
    run = repeat_serves.write(2, HABITS, HABITS_TARGET)
    first = judged(repeat_serves, run)
    assert first["next"].replaces == "2026-03-01.2/next/repeat"
    repeat_serves.promote(run)
    # Registering the first attempt once more does not make it the later one.
    repeat_serves.whole(repeat_serves.write(1, HABITS, HABITS_TARGET))
    assert repeat_serves.evaluate(run) == first


def test_a_night_does_not_know_later_champions(repeat_serves: Any) -> None:
    repeat_serves.whole(repeat_serves.write(9, HABITS, HABITS_TARGET))
    run = repeat_serves.write(5, HABITS, HABITS_TARGET)
    assert judged(repeat_serves, run)["next"].replaces == "2026-03-01.1/next/repeat"


def test_at_most_so_many_customers_are_judged_evenly_spread() -> None:
    target = csr_matrix(np.array([[1, 0], [0, 0], [0, 1], [1, 1], [1, 0], [0, 1]], np.float32))
    assert sampled(target, 5) is target
    # Of the five with something to find (rows 0, 2, 3, 4, 5) the first, the middle and the last.
    kept = sampled(target, 3)
    assert np.flatnonzero(np.diff(kept.indptr)).tolist() == [0, 3, 5]
    assert kept[3].toarray().tolist() == [[1, 1]]


def test_a_champion_may_know_items_that_are_gone(make_nights: Make) -> None:
    """The item that most people had on the first night is in nobody's history on the second."""
    nights = make_nights("popularity", k=2)
    first = nights.write(1, [[1, 0, 9], [1, 1, 9], [0, 1, 9]], [[0, 1, 0], [0, 0, 1], [1, 0, 0]])
    nights.whole(first)
    second = nights.write(2, [[1, 0], [1, 1], [0, 1]], [[0, 1], [1, 0], [1, 0]])
    nights.train(second)
    nights.evaluate(second)
    assert nights.evaluation(second, role="champion", slot="next")["recall@2"] == 1.0
    folder = nights.settings.models_dir / first.run_id / "popularity" / "serving"
    lists = Opener(nights.settings, second, inputs_of(nights.settings, second), "train")(folder)
    rows = np.arange(3)
    assert lists(rows, 3)[0].tolist() == [[0, 1, -1]] * 3
    bought = csr_matrix([[1.0, 0.0], [0.0, 0.0], [0.0, 0.0]])
    assert lists(rows, 2, bought)[0].tolist() == [[1, -1], [0, 1], [0, 1]]
    assert lists(rows, 2, only=csr_matrix(np.ones((3, 3))))[0].tolist() == [[0, 1]] * 3
