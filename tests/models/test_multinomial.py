import numpy as np
import pytest
import torch
from portrait.models import create
from portrait.models.multinomial import (
    MultinomialAutoencoder,
    SparseLinear,
    drop,
    l2_normalised,
    multinomial_log_likelihood,
    normal_sample,
)
from portrait.models.training import generator, sparse_batch
from scipy.sparse import csr_matrix

MULTINOMIAL = ("mult_dae", "mult_vae", "rec_vae")


def test_log_likelihood_by_hand() -> None:
    """Logits ln(1, 2, 1): probabilities 1/4, 1/2, 1/4. Counts 2 of item 0 and 1 of item 1:
    2 ln(1/4) + ln(1/2) = -5 ln 2. Second row: 3 of item 2 under equal logits, 3 ln(1/3).
    """
    logits = torch.log(torch.tensor([[1.0, 2.0, 1.0], [1.0, 1.0, 1.0]]))
    batch = sparse_batch(csr_matrix([[2.0, 1.0, 0.0], [0.0, 0.0, 3.0]]))
    found = multinomial_log_likelihood(logits, batch)
    np.testing.assert_allclose(found, [-5 * np.log(2), -3 * np.log(3)], rtol=1e-6)


def test_the_sparse_layer_is_a_linear_layer() -> None:
    batch = sparse_batch(csr_matrix([[3.0, 0.0, 4.0], [0.0, 0.0, 0.0], [0.0, 2.0, 0.0]]))
    layer = SparseLinear(3, width=5)
    torch.nn.init.normal_(layer.bias, generator=generator(0))
    weights = l2_normalised(batch)
    np.testing.assert_allclose(weights, [0.6, 0.8, 1.0])
    dense = torch.tensor([[0.6, 0.0, 0.8], [0.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
    torch.testing.assert_close(layer(batch, weights), dense @ layer.item_vectors.weight + layer.bias)


def test_dropout_keeps_the_expectation() -> None:
    dropped = drop(torch.ones(100_000), 0.75, generator(0))
    assert set(dropped.unique().tolist()) == {0.0, 4.0}
    assert dropped.mean().item() == pytest.approx(1, abs=0.03)
    assert (drop(torch.ones(5), 0.0, generator(0)) == 1).all()


def test_sample_has_the_mean_and_variance() -> None:
    """ln 4: a standard deviation of 2."""
    mean = torch.full((200_000, 1), 3.0)
    drawn = normal_sample(mean, torch.full_like(mean, np.log(4)), generator(0))
    assert drawn.mean().item() == pytest.approx(3, abs=0.02)
    assert drawn.std().item() == pytest.approx(2, abs=0.02)


@pytest.mark.parametrize("name", MULTINOMIAL)
def test_learns_tastes(name: str, train: csr_matrix) -> None:
    """Customers with three items of one half get items of that half."""
    sizes = {"latent": 8} if name == "mult_dae" else {"latent": 8, "hidden": 32}
    passes = {"epochs": 30 if name == "rec_vae" else 60}
    model = create(name, threads=1, batch_size=20, learning_rate=0.01, **sizes, **passes).fit(train, seed=0)
    first = csr_matrix(([1.0] * 3, ([0, 0, 0], [0, 1, 2])), shape=(1, 20))
    last = csr_matrix(([1.0] * 3, ([0, 0, 0], [10, 11, 12])), shape=(1, 20))
    assert (model.recommend(first, 5)[0] < 10).all()
    assert (model.recommend(last, 5)[0] >= 10).all()


@pytest.mark.parametrize("name", MULTINOMIAL)
def test_starts_at_popularity(name: str) -> None:
    """Item totals 3, 1 and 0, one added to each: shares 4/7, 2/7, 1/7. A rate of 0 leaves it at the start."""
    train = csr_matrix([[1.0, 1.0, 0.0], [1.0, 0.0, 0.0], [1.0, 0.0, 0.0]])
    model = create(name, latent=2, epochs=1, learning_rate=0.0, threads=1).fit(train)
    bias = model.module_.to_items.bias  # type: ignore[attr-defined]
    np.testing.assert_allclose(bias.detach(), np.log([4 / 7, 2 / 7, 1 / 7]), rtol=1e-5)
    at_nothing = create(name, latent=2, epochs=1, learning_rate=0.0, threads=1, popularity_start=False).fit(
        train
    )
    assert at_nothing.module_.to_items.bias.abs().max() < 0.01  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", MULTINOMIAL)
def test_log_counts_leave_one_as_it_is(name: str) -> None:
    model = create(name)
    assert isinstance(model, MultinomialAutoencoder)
    np.testing.assert_allclose(model._counts(csr_matrix([[1.0, 3.0, 7.0]])).data, [1, 2, 3], rtol=1e-6)
    model.log_counts = False
    assert model._counts(csr_matrix([[1.0, 3.0]])).data.tolist() == [1, 3]
