"""The sampled softmax against the full one: exact when all is drawn, in expectation when little is."""

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from portrait.models import create
from portrait.models.mult_dae import MultDae
from portrait.models.multinomial import multinomial_log_likelihood
from portrait.models.sampled_softmax import draw, inclusion_chances, sampled_log_likelihood
from portrait.models.training import sparse_batch, torch_threads
from scipy.sparse import csr_matrix


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Hundreds of tiny steps: threads would only wait for each other on a busy machine."""
    with torch_threads(1):
        yield


N_ITEMS = 300
COUNTS = csr_matrix((np.random.default_rng(0).random((6, N_ITEMS)) < 0.03) * np.float32(1.5))


@pytest.fixture
def layer() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    random = torch.Generator().manual_seed(1)
    hidden, weight = torch.randn(6, 4, generator=random), torch.randn(N_ITEMS, 4, generator=random) / 4
    bias = torch.randn(N_ITEMS, generator=random) / 4
    return hidden.requires_grad_(), weight.requires_grad_(), bias.requires_grad_()


def _gradients(loss: torch.Tensor, layer: tuple[torch.Tensor, ...]) -> torch.Tensor:
    return torch.cat([g.flatten() for g in torch.autograd.grad(loss, layer)])


def _full(layer: tuple[torch.Tensor, ...]) -> torch.Tensor:
    hidden, weight, bias = layer
    return multinomial_log_likelihood(hidden @ weight.t() + bias, sparse_batch(COUNTS))


def test_exact_when_everything_is_drawn(layer: tuple[torch.Tensor, ...]) -> None:
    chances, everything = torch.ones(N_ITEMS), torch.arange(N_ITEMS)
    found = sampled_log_likelihood(*layer, sparse_batch(COUNTS), chances, everything)
    torch.testing.assert_close(found, _full(layer), rtol=1e-5, atol=1e-4)
    ours, theirs = _gradients(found.sum(), layer), _gradients(_full(layer).sum(), layer)
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)


def test_the_gradient_is_right_in_expectation(layer: tuple[torch.Tensor, ...]) -> None:
    """Mean of 400 draws of 100 of 300 items; one draw alone is much further off."""
    share = np.arange(N_ITEMS, 0, -1) / np.arange(N_ITEMS + 1).sum()
    chances = torch.from_numpy(inclusion_chances(share, 100))
    noise = torch.Generator().manual_seed(2)
    batch = sparse_batch(COUNTS)
    draws = torch.stack(
        [
            _gradients(sampled_log_likelihood(*layer, batch, chances, draw(chances, noise)).sum(), layer)
            for _ in range(400)
        ]
    )
    full = _gradients(_full(layer).sum(), layer)
    off = (draws.mean(dim=0) - full).norm() / full.norm()
    alone = (draws[0] - full).norm() / full.norm()
    assert off < 0.06
    assert alone > 3 * off


def test_chances() -> None:
    """They add up to the samples, grow with the share, never exceed one; an unseen item has some."""
    share = np.array([0.9, 0.05, 0.03, 0.02, 0.0, 0.0])
    chances = inclusion_chances(share, 3)
    assert chances.sum() == pytest.approx(3, abs=1e-5)
    assert chances[0] == 1
    assert (np.diff(chances) <= 0).all()
    assert chances[-1] > 0
    assert inclusion_chances(share, 10).tolist() == [1] * 6


def test_draws_follow_the_chances() -> None:
    chances = torch.tensor([1.0, 0.5, 0.1])
    noise = torch.Generator().manual_seed(3)
    counts = torch.zeros(3)
    for _ in range(2000):
        counts[draw(chances, noise)] += 1
    assert counts[0] == 2000
    assert counts[1].item() == pytest.approx(1000, abs=100)
    assert counts[2].item() == pytest.approx(200, abs=60)


@pytest.mark.parametrize("name", ["mult_dae", "mult_vae", "rec_vae"])
def test_models_beyond_the_full_softmax(
    name: str, train: csr_matrix, validation: tuple[csr_matrix, csr_matrix], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With ten of twenty items a step a model still learns which of the two tastes a customer has."""
    sizes = {"latent": 8} if name == "mult_dae" else {"latent": 8, "hidden": 16}
    params = {
        **sizes,
        "batch_size": 16,
        "epochs": 12,
        "full_softmax_items": 10,
        "softmax_samples": 10,
        "threads": 1,
    }
    monkeypatch.setattr(
        "portrait.models.multinomial.item_log_likelihood", lambda *a: pytest.fail("full softmax")
    )
    model = create(name, learning_rate=0.01, **params).fit(train, validation, seed=3)
    items, _ = model.recommend(csr_matrix(([1.0, 1.0, 1.0], ([0, 0, 0], [1, 4, 6])), shape=(1, 20)), 5)
    assert (items < 10).sum() >= 4
    again = create(name, learning_rate=0.01, **params).fit(train, validation, seed=3)
    assert (again.embed(train) == model.embed(train)).all()


def test_small_catalogues_take_the_full_softmax(train: csr_matrix, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "portrait.models.multinomial.sampled_log_likelihood", lambda *a: pytest.fail("sampled")
    )
    MultDae(latent=4, epochs=1).fit(train)
