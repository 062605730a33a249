"""Lists of a linear decoder against a sort of its whole score matrix."""

import tracemalloc
from typing import Any

import numpy as np
import pytest
import torch
from portrait.models import create
from portrait.models.ranking import top_k
from portrait.models.scoring import LinearDecoder, ranked
from scipy.sparse import csr_matrix
from scipy.sparse import random as random_sparse


def _full_sort(scores: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    order = np.lexsort((np.broadcast_to(np.arange(scores.shape[1]), scores.shape), -scores), axis=1)[:, :k]
    values = np.take_along_axis(scores, order, axis=1)
    return np.where(np.isneginf(values), -1, order), values


@pytest.mark.parametrize("n_items", [50, 2_000, 4_001])
@pytest.mark.parametrize("k", [1, 7])
def test_whole_numbers_with_ties_masks_and_cold_customers(
    n_items: int, k: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Scores are small whole numbers, so that most lists end in a tie; chunks of 40 customers, 7 at a time."""
    monkeypatch.setattr("portrait.models.scoring.ENCODED_ROWS", 40)
    monkeypatch.setattr("portrait.models.scoring.SCORED_CELLS", 7 * n_items)
    random = np.random.default_rng(0)
    weight = random.integers(-3, 4, (n_items, 4)).astype(np.float32)
    bias = random.integers(0, 50, n_items).astype(np.float32)
    hidden = random.integers(-9, 10, (90, 4)).astype(np.float32)
    prior = random.random(n_items).astype(np.float32)
    cold = np.arange(90) % 10 == 3
    mask = random_sparse(90, n_items, density=0.2, format="csr", rng=1, dtype=np.float32)
    mask = csr_matrix(mask)
    scores = hidden @ weight.T + bias
    scores[cold] = prior
    scores[mask.nonzero()] = -np.inf
    decoder = LinearDecoder(torch.from_numpy(weight), torch.from_numpy(bias))
    found = ranked(decoder, lambda rows: torch.from_numpy(hidden[rows]), cold, prior, mask, k)
    for ours, sorted_ in zip(found, _full_sort(scores, k), strict=True):
        assert (ours == sorted_).all()
    assert found[0].dtype == np.int32
    assert found[1].dtype == np.float32


def test_a_wide_catalogue_with_fewer_candidates_than_places() -> None:
    """All but three of 3,000 items are masked; five places."""
    weight, bias = torch.ones(3_000, 2), torch.arange(3_000.0)
    mask = np.ones((1, 3_000), dtype=np.float32)
    mask[0, [5, 7, 2_999]] = 0
    items, values = ranked(
        LinearDecoder(weight, bias),
        lambda rows: torch.zeros(1, 2),
        np.array([False]),
        np.zeros(3_000, np.float32),
        csr_matrix(mask),
        5,
    )
    assert items.tolist() == [[2_999, 7, 5, -1, -1]]
    assert values.tolist() == [[2_999, 7, 5, -np.inf, -np.inf]]


@pytest.mark.parametrize("distinct", [9, 10_000_000])
def test_blocks_in_numpy_agree_with_a_full_sort(distinct: int) -> None:
    scores = np.random.default_rng(0).integers(0, distinct, (30, 3_007)).astype(np.float32)
    scores[4, 3:] = -np.inf
    scores[5] = -np.inf
    for k in (1, 10, 20):
        for ours, sorted_ in zip(top_k(scores, k), _full_sort(scores, k), strict=True):
            assert (ours == sorted_).all()


@pytest.mark.parametrize("name", ["mult_dae", "mult_vae", "rec_vae"])
def test_models_rank_by_their_scores(name: str, small: dict[str, dict[str, Any]], train: csr_matrix) -> None:
    model = create(name, **small[name]).fit(train, seed=1)
    scores = model._scores(train)
    scores[train.nonzero()] = -np.inf
    items, values = model.recommend(train, 6)
    expected, best = _full_sort(scores, 6)
    np.testing.assert_allclose(values, best, rtol=1e-4)
    assert (items == expected).mean() > 0.99  # rounding may swap two equal ones


def test_nothing_of_the_size_of_customers_times_items() -> None:
    """20,000 customers x 5,000 items are 400 MB of scores."""
    history = csr_matrix(random_sparse(20_000, 5_000, density=0.001, format="csr", rng=0, dtype=np.float32))
    model = create("mult_dae", latent=4, epochs=1, threads=1).fit(history[:200])
    tracemalloc.start()
    model.recommend(history, 10)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 40e6
