import numpy as np
import pytest
from portrait.errors import PortraitError
from portrait.models.rerank.ranker import Ranker, fit_ranker, standardised
from portrait.models.rerank.recipe import Recipe
from scipy.special import expit

NOT_OWN = np.zeros(600, dtype=bool)


def test_standardised_by_hand() -> None:
    """Customer 3: 1, 3 -> mean 2, deviation 1. Customer 5: equal scores. Customer 9: 0, 0, 3 -> mean 1, sqrt 2."""
    customer = np.array([3, 3, 5, 5, 9, 9, 9])
    found = standardised(np.array([1.0, 3, 4, 4, 0, 0, 3]), customer)
    np.testing.assert_allclose(found, [-1, 1, 0, 0, -np.sqrt(0.5), -np.sqrt(0.5), np.sqrt(2)])
    assert len(standardised(np.empty(0), np.empty(0, dtype=int))) == 0


@pytest.fixture(scope="module")
def fitted() -> tuple[Ranker, np.ndarray, np.ndarray, np.ndarray]:
    """60 customers with 10 candidates each; what has the greatest `telling` was bought, `noise` says nothing."""
    random = np.random.default_rng(0)
    table = random.random((600, 2)).astype(np.float32)
    customer = np.repeat(np.arange(60), 10)
    label = (table[:, 1].reshape(60, 10) == table[:, 1].reshape(60, 10).max(axis=1, keepdims=True)).ravel()
    ranker = fit_ranker(table, label, customer, ["noise", "telling"], Recipe(rounds=20), seed=1, threads=1)
    return ranker, table, label, customer


def test_what_tells_decides(fitted: tuple[Ranker, np.ndarray, np.ndarray, np.ndarray]) -> None:
    ranker, table, label, customer = fitted
    scores = ranker.scores(table, customer, NOT_OWN, ["noise", "telling"], threads=1).reshape(60, 10)
    found = np.take_along_axis(label.reshape(60, 10), scores.argmax(axis=1)[:, None], axis=1)
    assert found.mean() > 0.8  # by chance 0.1


def test_the_best_by_some_trees_are_ordered_by_all(
    fitted: tuple[Ranker, np.ndarray, np.ndarray, np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two each of those bought and not, by four of twenty trees, come first by all; the others keep the order of the four."""
    ranker, table, _, customer = fitted
    monkeypatch.setattr("portrait.models.rerank.ranker.LOOKED_AT_AGAIN", 2)
    own = np.arange(600) % 10 < 4

    def of(trees: int) -> list[np.ndarray]:
        return [b.predict(table, raw_score=True, num_iteration=trees) for b in ranker.boosters]

    first, whole = of(4), of(20)
    by_four = standardised(expit(first[0]), customer) + standardised(first[1], customer)
    chosen = np.zeros(600, dtype=bool)
    for some in np.arange(600).reshape(60, 10):
        for kind in (True, False):
            theirs = some[own[some] == kind]
            chosen[theirs[np.argsort(-by_four[theirs])][:2]] = True
    for all_trees, some_trees in zip(whole, first, strict=True):
        all_trees[~chosen] = some_trees[~chosen]
    expected = standardised(expit(whole[0]), customer) + standardised(whole[1], customer)
    found = ranker.scores(table, customer, own, ranker.names, threads=1)
    np.testing.assert_allclose(found[chosen], expected[chosen], rtol=1e-6)
    for some in np.arange(600).reshape(60, 10):
        assert found[some][chosen[some]].min() > found[some][~chosen[some]].max()
        rest = some[~chosen[some]]
        assert (np.argsort(-found[rest]) == np.argsort(-expected[rest])).all()


def test_any_number_of_threads_gives_the_same(
    fitted: tuple[Ranker, np.ndarray, np.ndarray, np.ndarray],
) -> None:
    ranker, table, label, customer = fitted
    again = fit_ranker(table, label, customer, ranker.names, Recipe(rounds=20), seed=1, threads=2)
    expected = ranker.scores(table, customer, NOT_OWN, ranker.names, threads=1)
    np.testing.assert_array_equal(again.scores(table, customer, NOT_OWN, ranker.names, threads=2), expected)


def test_texts_give_the_same_ranker(fitted: tuple[Ranker, np.ndarray, np.ndarray, np.ndarray]) -> None:
    ranker, table, _, customer = fitted
    again = Ranker.of_texts(ranker.names, ranker.texts())
    expected = ranker.scores(table, customer, NOT_OWN, ranker.names, threads=1)
    np.testing.assert_array_equal(again.scores(table, customer, NOT_OWN, ranker.names, threads=1), expected)


def test_other_columns_are_refused(fitted: tuple[Ranker, np.ndarray, np.ndarray, np.ndarray]) -> None:
    ranker, table, _, customer = fitted
    with pytest.raises(PortraitError, match="trained on columns noise, telling and is given a, b"):
        ranker.scores(table, customer, NOT_OWN, ["a", "b"], threads=1)
