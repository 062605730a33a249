"""The autoencoder among the ranker's models."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from portrait.errors import PortraitError
from portrait.models.rerank.autoencoder import Decoded
from portrait.models.rerank.evidence import BEHAVIOUR, evidence
from portrait.models.rerank.model import NightlyRecommender
from portrait.models.rerank.purchases import Purchases
from portrait.models.rerank.recipe import Recipe
from portrait.models.rerank.side import Side
from scipy.sparse import csr_matrix

N_CUSTOMERS, N_ITEMS = 60, 12
SMALL = Recipe(
    popular=2, candidates_per_model=2, linear_least=1, regularisation=1.0, neighbours=5, rounds=5, folds=1
)


def two_tastes() -> csr_matrix:
    """Even customers know the first six items, odd ones the others; the last customer knows nothing."""
    random = np.random.default_rng(2)
    dense = np.zeros((N_CUSTOMERS, N_ITEMS), dtype=np.float32)
    for customer in range(N_CUSTOMERS - 1):
        dense[customer, 6 * (customer % 2) + random.permutation(6)[:4]] = 1
    return csr_matrix(dense)


HISTORY = two_tastes()
LEARNT = Decoded.trained(replace(SMALL, autoencoder_params={"epochs": 60}), HISTORY, seed=1, threads=1)


def log_of(history: csr_matrix) -> Purchases:
    customer, item = history.nonzero()
    return Purchases.of(customer, item % 3, item, *history.shape)


def test_scores_are_chances_that_know_a_taste() -> None:
    scores = LEARNT.scores(np.arange(N_CUSTOMERS))
    np.testing.assert_allclose(scores.sum(axis=1), 1, rtol=1e-5)
    assert (scores[:-1:2, :6].sum(axis=1) > 0.8).all()
    assert (scores[1:-1:2, 6:].sum(axis=1) > 0.8).all()


def test_whoever_did_nothing_gets_the_shares() -> None:
    share = np.asarray(HISTORY.sum(axis=0)).ravel() / HISTORY.sum()
    np.testing.assert_allclose(LEARNT.scores(np.array([N_CUSTOMERS - 1]))[0], share, rtol=1e-5)


@pytest.mark.parametrize("width", [N_ITEMS - 3, N_ITEMS + 2])
def test_items_that_came_and_went(width: int) -> None:
    """An item that it has not met has no chance; one that is gone has no column."""
    history = HISTORY[:5].copy()
    history.resize(5, width)
    scores = Decoded(LEARNT.model, history).scores(np.arange(5))
    assert scores.shape == (5, width)
    assert (scores[:, N_ITEMS:] == 0).all()
    assert (scores[:, : min(width, N_ITEMS)] > 0).all()


def test_learns_from_some_customers_evenly_spread() -> None:
    """Every second customer is taken: nobody of them knows the other half of the items."""
    some = Decoded.trained(replace(SMALL, autoencoder_customers=30), HISTORY[:-2], seed=1, threads=1)
    every_second = np.unique(np.linspace(0, 57, 30).astype(int))
    expected = np.asarray(HISTORY[every_second].sum(axis=0)).ravel()
    np.testing.assert_allclose(some.model.prior_, expected / expected.sum(), rtol=1e-5)


def test_reads_all_behaviour_where_it_is_handed_over() -> None:
    """The customer who bought nothing looked at an item of the first taste."""
    seen = HISTORY.tolil()
    seen[N_CUSTOMERS - 1, 0] = 1
    known = evidence(log_of(HISTORY), SMALL, Side({BEHAVIOUR: csr_matrix(seen)}), LEARNT.model)
    (chunk,) = known.chunks(np.array([N_CUSTOMERS - 1]), [])
    chance = chunk.columns["autoencoder"]
    assert chance[chunk.item < 6].min() > chance[chunk.item >= 6].max()
    assert {"autoencoder", "autoencoder_relative"} <= set(chunk.columns)
    # Its best ones are candidates.
    best = np.argsort(-known.decoded.scores(np.array([N_CUSTOMERS - 1]))[0])[:2] if known.decoded else []
    assert set(best) <= set(chunk.item)


def test_goes_without() -> None:
    known = evidence(log_of(HISTORY), replace(SMALL, autoencoder=""))
    (chunk,) = known.chunks(np.arange(5), [])
    assert known.decoded is None
    assert "autoencoder" not in chunk.columns


def test_stays_as_it_is_when_a_later_log_is_looked_at(tmp_path: Path) -> None:
    labels = HISTORY.copy()
    model = NightlyRecommender(SMALL, threads=1).fit(log_of(HISTORY), labels, np.arange(40), seed=3)
    learnt = model.autoencoder
    assert learnt is not None
    model.save(tmp_path / "m")
    later = csr_matrix(np.roll(HISTORY.toarray(), 1, axis=0))
    again = NightlyRecommender.load(tmp_path / "m", threads=1).observe(log_of(later))
    assert again.evidence is not None
    assert again.evidence.decoded is not None
    found = again.evidence.decoded.scores(np.arange(20))
    np.testing.assert_array_equal(found, Decoded(learnt, log_of(later).counts).scores(np.arange(20)))


def test_refused() -> None:
    with pytest.raises(PortraitError, match="'ease' is no autoencoder; take mult_dae, mult_vae or rec_vae"):
        evidence(log_of(HISTORY), replace(SMALL, autoencoder="ease"))
    with pytest.raises(PortraitError, match="unknown model 'mult_dea'"):
        evidence(log_of(HISTORY), replace(SMALL, autoencoder="mult_dea"))
    with pytest.raises(PortraitError, match="has no parameter layers"):
        evidence(log_of(HISTORY), replace(SMALL, autoencoder_params={"layers": 3}))


@pytest.mark.parametrize("asked", ["nowhere", "cuda:99"])
def test_the_device_is_the_one_asked_for(asked: str, tmp_path: Path) -> None:
    """One that is not there is refused wherever the autoencoder would be put on it."""
    labels = HISTORY.copy()
    with pytest.raises(PortraitError, match=f"device '{asked}'"):
        NightlyRecommender(SMALL, threads=1, device=asked).fit(log_of(HISTORY), labels, np.arange(40))
    NightlyRecommender(SMALL, threads=1, device="cpu").fit(log_of(HISTORY), labels, np.arange(40)).save(
        tmp_path / "m"
    )
    with pytest.raises(PortraitError, match=f"device '{asked}'"):
        NightlyRecommender.load(tmp_path / "m", threads=1, device=asked)
