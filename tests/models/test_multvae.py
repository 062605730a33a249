import numpy as np
import pytest
import torch
from portrait.models.multvae import (
    MultVae,
    MultVaeNetwork,
    drop,
    kl_from_standard_normal,
    l2_normalised,
    multinomial_log_likelihood,
)
from portrait.models.training import generator, sparse_batch
from scipy.sparse import csr_matrix


def test_log_likelihood_by_hand() -> None:
    """Logits ln(1, 2, 1): probabilities 1/4, 1/2, 1/4. Counts 2 of item 0 and 1 of item 1:
    2 ln(1/4) + ln(1/2) = -5 ln 2. Second row: 3 of item 2 under equal logits, 3 ln(1/3).
    """
    logits = torch.log(torch.tensor([[1.0, 2.0, 1.0], [1.0, 1.0, 1.0]]))
    batch = sparse_batch(csr_matrix([[2.0, 1.0, 0.0], [0.0, 0.0, 3.0]]))
    found = multinomial_log_likelihood(logits, batch)
    np.testing.assert_allclose(found, [-5 * np.log(2), -3 * np.log(3)], rtol=1e-6)


def test_kl_by_hand() -> None:
    """N(1, 1) against N(0, 1): 1/2. N(0, 4): (4 - 1 - ln 4) / 2."""
    mean = torch.tensor([[1.0, 0.0]])
    log_variance = torch.tensor([[0.0, np.log(4)]], dtype=torch.float32)
    expected = 0.5 + (3 - np.log(4)) / 2
    np.testing.assert_allclose(kl_from_standard_normal(mean, log_variance), [expected], rtol=1e-6)


def test_the_sparse_input_layer_is_a_linear_layer() -> None:
    matrix = csr_matrix([[3.0, 0.0, 4.0], [0.0, 0.0, 0.0], [0.0, 2.0, 0.0]])
    batch = sparse_batch(matrix)
    network = MultVaeNetwork(3, hidden=5, latent=2)
    weights = torch.tensor([0.6, 0.8, 1.0])
    np.testing.assert_allclose(l2_normalised(batch), weights)
    dense = torch.tensor([[0.6, 0.0, 0.8], [0.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
    hidden = torch.tanh(dense @ network.item_vectors.weight + network.input_bias)
    expected = network.to_latent(hidden)[:, :2]
    torch.testing.assert_close(network.encode(batch, weights)[0], expected)


def test_dropout_keeps_the_expectation() -> None:
    dropped = drop(torch.ones(100_000), 0.75, generator(0))
    assert set(dropped.unique().tolist()) == {0.0, 4.0}
    assert dropped.mean().item() == pytest.approx(1, abs=0.03)
    assert (drop(torch.ones(5), 0.0, generator(0)) == 1).all()


def test_log_counts_leave_one_as_it_is() -> None:
    counts = MultVae()._counts(csr_matrix([[1.0, 3.0, 7.0]])).data
    np.testing.assert_allclose(counts, [1, 2, 3], rtol=1e-6)
    assert MultVae(log_counts=False)._counts(csr_matrix([[1.0, 3.0]])).data.tolist() == [1, 3]


def test_learns_tastes(train: csr_matrix) -> None:
    """Customers with three items of one half get items of that half."""
    model = MultVae(hidden=32, latent=8, batch_size=20, epochs=60, learning_rate=0.01).fit(train, seed=0)
    first = csr_matrix(([1.0] * 3, ([0, 0, 0], [0, 1, 2])), shape=(1, 20))
    last = csr_matrix(([1.0] * 3, ([0, 0, 0], [10, 11, 12])), shape=(1, 20))
    assert (model.recommend(first, 5)[0] < 10).all()
    assert (model.recommend(last, 5)[0] >= 10).all()


def test_early_stopping_restores_the_best_state(
    train: csr_matrix, validation: tuple[csr_matrix, csr_matrix]
) -> None:
    """A step far too long makes it worse soon: it stops after `patience` epochs, on the best one's state."""
    model = MultVae(hidden=16, latent=8, batch_size=16, epochs=50, patience=3, learning_rate=0.1)
    model.validation_k = 5
    model.fit(train, validation, seed=1)
    scores = [entry["score"] for entry in model.log_]
    best = int(np.argmax(scores))
    assert len(scores) == best + 1 + 3 < 50
    assert model._validation_ndcg(validation, 5, True) == pytest.approx(scores[best])


def test_repeats_can_count_in_validation(train: csr_matrix) -> None:
    """A target that repeats the history: nothing is left to judge unless repeats count."""
    model = MultVae(hidden=4, latent=2, epochs=1).fit(train)
    same = train[:10], train[:10]
    assert model._validation_ndcg(same, 5, exclude_seen=True) == 0
    assert model._validation_ndcg(same, 5, exclude_seen=False) > 0
