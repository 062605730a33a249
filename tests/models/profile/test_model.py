"""Views that are missing, labels that are not there, customers and items nobody knows."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from portrait.errors import PortraitError
from portrait.models import load
from portrait.models.events import Events
from portrait.models.profile.examples import Examples, Group, Labels, Meaning
from portrait.models.profile.model import ProfileAutoencoder
from portrait.models.profile.report import probabilities
from portrait.models.profile.views import Views
from scipy.sparse import csr_matrix

N_ITEMS = 10
SMALL = {
    "latent": 16, "hidden": 16, "epochs": 40, "batch_size": 32, "learning_rate": 0.01, "patience": 0, "experts": (),
    "event_width": 8, "threads": 1,
}  # fmt: skip


def examples(n: int, seed: int) -> Examples:
    """A taste decides on items (first or last four of the first eight), features, category, gender and spend.

    Items 8 and 9 are never taken; by text they belong to the first and to the second taste.
    """
    random = np.random.default_rng(seed)
    taste = random.integers(0, 2, n)
    chance = np.where((np.arange(8) < 4) == (taste[:, None] == 0), 0.7, 0.05)
    basket = np.hstack([random.random((n, 8)) < chance, np.zeros((n, 2), bool)]).astype(np.float32)
    features = np.stack([taste * 2 - 1 + random.normal(0, 0.3, n), random.normal(0, 1, n)], axis=1)
    text = np.zeros((N_ITEMS, 2), np.float32)
    text[[0, 1, 2, 3, 8], 0] = text[[4, 5, 6, 7, 9], 1] = 1
    matrix = csr_matrix(basket)
    interest = np.eye(2, dtype=np.float32)[taste]
    views = Views(
        matrix, Events.of_matrix(matrix), interest, features.astype(np.float32), np.ones((n, 2), bool)
    )
    labels = Labels(
        taste.astype(np.float32),
        np.where(taste == 1, np.exp(random.normal(3, 0.2, n)), 0).astype(np.float32),
        taste.astype(np.int64),
        np.full(n, -1, np.int64),
        np.where(random.random(n) < 0.5, taste, -1).astype(np.int64),
    )
    meaning = Meaning(
        (Group("number", 0, 1), Group("number", 1, 2)), ("food", "toys"), ("young", "old"), ("f", "m"), text
    )
    return Examples(views, labels, meaning)


@pytest.fixture(scope="module")
def fitted() -> ProfileAutoencoder:
    return ProfileAutoencoder(**SMALL).fit_examples(examples(300, 1), seed=5)


@pytest.mark.parametrize("kept", [["basket"], ["events"], ["interest"], ["features"], ["basket", "features"]])
def test_every_view_alone_says_who_it_is(fitted: ProfileAutoencoder, kept: list[str]) -> None:
    test = examples(200, 2)
    if kept != ["features"] and "features" not in kept:
        test = test.take(np.flatnonzero(test.views.present("basket")))
    outputs = fitted.predict(test.views.only(kept))
    assert (probabilities(outputs["purchase"]).argmax(axis=1) == test.labels.purchase).mean() > 0.85
    assert (outputs["category"].argmax(axis=1) == test.labels.category).mean() > 0.85


def test_a_customer_with_features_only_gets_items_of_their_taste(fitted: ProfileAutoencoder) -> None:
    test = examples(60, 3)
    cold = test.views.only(["features"])
    items, scores = fitted.recommend(cold.basket, 3, views=cold)
    assert np.isfinite(scores).all()
    second = np.isin(items, [4, 5, 6, 7, 9])
    assert (second == (test.labels.category[:, None] == 1)).mean() > 0.9


def test_an_item_nobody_took_is_ranked_by_its_text(fitted: ProfileAutoencoder) -> None:
    test = examples(100, 4)
    scores = fitted._view_scores(test.views)
    second = test.labels.category == 1
    assert np.isfinite(scores).all()
    assert (scores[second, 9] > scores[second, 8]).mean() > 0.9
    assert (scores[~second, 8] > scores[~second, 9]).mean() > 0.9


def test_spend_is_expected_where_it_was(fitted: ProfileAutoencoder) -> None:
    test = examples(300, 6)
    expected, second = fitted.predict(test.views)["spend"], test.labels.purchase == 1
    # exp(3 + 0.02) on average
    assert expected[second].mean() == pytest.approx(20.5, rel=0.15)
    assert expected[~second].mean() < 3


def test_a_label_nobody_has_gets_no_head(fitted: ProfileAutoencoder) -> None:
    assert set(fitted.predict(examples(5, 1).views)) == {"purchase", "spend", "category", "gender"}


def test_hidden_labels_are_not_learnt_from() -> None:
    """Labels made unknown, whatever they were, give the same model."""
    one = examples(80, 1)
    rows = np.arange(0, 80, 4)
    other = replace(
        one, labels=replace(one.labels, gender=np.where(np.isin(np.arange(80), rows), 0, one.labels.gender))
    )
    params = {**SMALL, "epochs": 2}
    first, second = (
        ProfileAutoencoder(**params).fit_examples(replace(e, labels=e.labels.without(rows, "gender")), seed=1)
        for e in (one, other)
    )
    test = examples(10, 2).views
    for name, values in first.predict(test).items():
        np.testing.assert_array_equal(values, second.predict(test)[name])


def test_saved_and_loaded(fitted: ProfileAutoencoder, tmp_path: Path) -> None:
    fitted.save(tmp_path / "m")
    again = load(tmp_path / "m")
    assert isinstance(again, ProfileAutoencoder)
    test = examples(20, 7).views
    for name, values in fitted.predict(test).items():
        np.testing.assert_array_equal(values, again.predict(test)[name])
    for ours, theirs in zip(
        fitted.recommend(test.basket, 4, views=test), again.recommend(test.basket, 4, views=test), strict=True
    ):
        np.testing.assert_array_equal(ours, theirs)
    assert again.meaning_.genders == ("f", "m")


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"experts": ["profile_autoencoder"]}, "cannot be its own expert"),
        ({"experts": ["ease"], "settings": {"rec_vae": {}}}, "settings of rec_vae, not among"),
        ({"experts": ["easy"]}, "unknown model 'easy'"),
    ],
)
def test_refused(params: dict[str, object], message: str) -> None:
    with pytest.raises(PortraitError, match=message):
        ProfileAutoencoder(**params)  # type: ignore[arg-type]
