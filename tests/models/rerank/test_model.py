"""A shop where everybody comes back for what they bought before the last time, and nobody for anything else."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from portrait.errors import PortraitError
from portrait.models.rerank.model import NightlyRecommender
from portrait.models.rerank.purchases import Purchases
from portrait.models.rerank.recipe import Recipe
from scipy.sparse import csr_matrix

N_CUSTOMERS, N_ITEMS = 120, 40
SMALL = Recipe(
    popular=5, candidates_per_model=3, linear_least=1, neighbours=5, rounds=30, negatives=1.0, folds=2
)


def shop() -> tuple[Purchases, csr_matrix]:
    """Two items one time, two others the next; the labels are the first two. The last customer is new."""
    random = np.random.default_rng(3)
    bought = np.argsort(random.random((N_CUSTOMERS, N_ITEMS)), axis=1)[:, :4]
    customer = np.repeat(np.arange(N_CUSTOMERS), 4)
    basket = np.tile([0, 0, 1, 1], N_CUSTOMERS)
    known = customer < N_CUSTOMERS - 1
    log = Purchases.of(customer[known], basket[known], bought.ravel()[known], N_CUSTOMERS, N_ITEMS)
    first = np.repeat(np.arange(N_CUSTOMERS), 2), bought[:, :2].ravel()
    return log, csr_matrix((np.ones(2 * N_CUSTOMERS), first), shape=(N_CUSTOMERS, N_ITEMS))


LOG, LABELS = shop()
TRAINED_ON = np.arange(80)
TEST = np.arange(80, N_CUSTOMERS)


@pytest.fixture(scope="module", params=[1, 2])
def model(request: pytest.FixtureRequest) -> NightlyRecommender:
    recipe = Recipe(**{**SMALL.__dict__, "folds": request.param})
    return NightlyRecommender(recipe, threads=1).fit(LOG, LABELS, TRAINED_ON, seed=1)


def test_learns_when_people_come_back(model: NightlyRecommender) -> None:
    items, scores = model.recommend(TEST[:-1], 2)
    right = [set(row) == set(LABELS[c].indices) for c, row in zip(TEST[:-1], items.tolist(), strict=True)]
    assert np.mean(right) > 0.9
    assert (np.diff(scores, axis=1) <= 0).all()


def test_a_new_customer_gets_a_list(model: NightlyRecommender) -> None:
    items, _ = model.recommend(TEST[-1:], 5)
    assert len(set(items[0].tolist())) == 5
    assert (items >= 0).all()


def test_new_and_again(model: NightlyRecommender) -> None:
    """Four items were bought: four are left for `again`, none of them is in `new`."""
    owned = LOG.counts[TEST[:-1]]
    again, scores = model.recommend(TEST[:-1], 6, only=owned)
    assert (again[:, 4:] == -1).all()
    assert np.isneginf(scores[:, 4:]).all()
    assert all(set(row[:4]) == set(own.indices) for row, own in zip(again.tolist(), owned, strict=True))
    new, _ = model.recommend(TEST[:-1], 3, exclude=owned)
    assert all(set(row).isdisjoint(own.indices) for row, own in zip(new.tolist(), owned, strict=True))


def test_labels_of_others_are_not_looked_at(model: NightlyRecommender) -> None:
    other = LABELS.toarray()
    other[TEST] = 1 - other[TEST]
    again = NightlyRecommender(model.recipe, threads=1).fit(LOG, csr_matrix(other), TRAINED_ON, seed=1)
    for found, expected in zip(again.recommend(TEST, 5), model.recommend(TEST, 5), strict=True):
        np.testing.assert_array_equal(found, expected)


def test_saved_and_loaded(model: NightlyRecommender, tmp_path: Path) -> None:
    model.save(tmp_path / "m")
    again = NightlyRecommender.load(tmp_path / "m", threads=1)
    with pytest.raises(PortraitError, match="load\\(\\) and observe\\(\\)"):
        again.recommend(TEST, 1)
    found = again.observe(LOG).recommend(TEST, 5)
    for one, other in zip(found, model.recommend(TEST, 5), strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_later_log(model: NightlyRecommender, tmp_path: Path) -> None:
    """Once the first items were bought again, it is the turn of the other two."""
    later = Purchases.of(
        np.r_[LOG.customer, LABELS.nonzero()[0][:-2]],
        np.r_[LOG.basket, np.full(2 * N_CUSTOMERS - 2, 2)],
        np.r_[LOG.item, LABELS.nonzero()[1][:-2]],
        N_CUSTOMERS,
        N_ITEMS,
    )
    model.save(tmp_path / "m")
    moved = NightlyRecommender.load(tmp_path / "m", threads=1).observe(later)
    items, _ = moved.recommend(TEST[:-1], 2)
    last = LOG.basket_from_end(0)
    right = [set(row) == set(last[c].indices) for c, row in zip(TEST[:-1], items.tolist(), strict=True)]
    assert np.mean(right) > 0.5


def test_refused(tmp_path: Path) -> None:
    with pytest.raises(PortraitError, match=r"labels are \(1, 2\), the log is of \(120, 40\)"):
        NightlyRecommender(SMALL).fit(LOG, csr_matrix((1, 2)), TRAINED_ON)
    with pytest.raises(PortraitError, match="3 customers bought something after the log; 4 are the least"):
        NightlyRecommender(SMALL).fit(LOG, LABELS, np.arange(3))
    with pytest.raises(PortraitError, match="not fitted"):
        NightlyRecommender(SMALL).save(tmp_path / "m")
    with pytest.raises(PortraitError, match="no readable nightly model"):
        NightlyRecommender.load(tmp_path)
    (tmp_path / "nightly.json").write_text(json.dumps({"format": 9}))
    with pytest.raises(PortraitError, match="no readable nightly model"):
        NightlyRecommender.load(tmp_path)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"fold": 2}, "no parameter fold; allowed: popular, candidates_per_model"),
        ({"rounds": 0}, "rounds must be at least 1, not 0"),
        ({"negatives": 2.0}, "negatives must be between 0.01 and 1"),
        ({"half_life": "3"}, "half_life must be of type float"),
    ],
)
def test_parameters_are_checked(params: dict[str, object], message: str) -> None:
    with pytest.raises(PortraitError, match=message):
        Recipe.of(params)


def test_lists_of_some_are_cut_from_the_order_that_is_known(
    model: NightlyRecommender, monkeypatch: pytest.MonkeyPatch
) -> None:
    owned = LOG.counts[TEST]
    model.kept = None
    scored: list[int] = []
    fresh = model._fresh

    def noted(rows: np.ndarray) -> Iterator[Any]:
        scored.append(len(rows))
        return fresh(rows)

    monkeypatch.setattr(model, "_fresh", noted)

    def lists() -> list[np.ndarray]:
        return [
            *model.recommend(TEST, 4),
            *model.recommend(TEST, 4, exclude=owned),
            *model.recommend(TEST[5:9], 3, only=owned[5:9]),
        ]

    kept = lists()
    assert scored == [len(TEST)]
    # The last customers are new; someone else was not scored yet.
    model.recommend(np.r_[TEST[:1], 3], 4)
    assert scored == [len(TEST), 2]
    monkeypatch.setattr("portrait.models.rerank.model.KEPT_CUSTOMERS", 0)
    for ours, theirs in zip(kept, lists(), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert scored[2:] == [len(TEST), len(TEST), 4]


def test_sees_what_another_one_sees() -> None:
    """The same log is not gone through twice; each reads it by its own autoencoder."""
    recipe = Recipe(**{**SMALL.__dict__, "folds": 1, "autoencoder_params": {"epochs": 3, "latent": 4}})
    first, second = (
        NightlyRecommender(recipe, threads=1).fit(LOG, LABELS, TRAINED_ON, seed=seed) for seed in (1, 2)
    )
    expected = second.observe(LOG.without_last(1)).recommend(TEST, 5)
    first.observe(LOG.without_last(1))
    theirs = first.recommend(TEST, 5)
    assert second.observe_as(first)
    for one, other in zip(second.recommend(TEST, 5), expected, strict=True):
        np.testing.assert_array_equal(one, other)
    assert not np.array_equal(theirs[1], expected[1])
    other = NightlyRecommender(Recipe(**{**recipe.__dict__, "popular": 4}), threads=1)
    assert not other.observe_as(first)
    assert other.evidence is None


def test_learns_from_at_most_so_many() -> None:
    """Those that it does not learn from may have bought anything."""
    recipe = Recipe(**{**SMALL.__dict__, "folds": 1, "learning_customers": 40})
    learnt = NightlyRecommender(recipe, threads=1).fit(LOG, LABELS, TRAINED_ON, seed=1)
    assert learnt.folds is not None
    rows = np.flatnonzero(learnt.folds >= 0)
    assert len(rows) == 40
    assert rows.max() - rows.min() > 70
    changed = LABELS.tolil()
    others = np.setdiff1d(TRAINED_ON, rows)
    changed[others] = np.roll(LABELS[others].toarray(), 7, axis=1)
    again = NightlyRecommender(recipe, threads=1).fit(LOG, csr_matrix(changed), TRAINED_ON, seed=1)
    np.testing.assert_array_equal(again.recommend(TEST, 5)[1], learnt.recommend(TEST, 5)[1])
