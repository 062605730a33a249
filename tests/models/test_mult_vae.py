import numpy as np
import pytest
import torch
from portrait.models.mult_vae import MultVae, ShallowVaeNetwork, kl_from_standard_normal
from portrait.models.training import generator, initialised, sparse_batch
from scipy.sparse import csr_matrix


def test_kl_by_hand() -> None:
    """N(1, 1) against N(0, 1): 1/2. N(0, 4): (4 - 1 - ln 4) / 2."""
    mean = torch.tensor([[1.0, 0.0]])
    log_variance = torch.tensor([[0.0, np.log(4)]], dtype=torch.float32)
    expected = 0.5 + (3 - np.log(4)) / 2
    np.testing.assert_allclose(kl_from_standard_normal(mean, log_variance), [expected], rtol=1e-6)


def test_without_hidden_layers_it_is_two_linear_maps() -> None:
    """hidden=0: the mean is linear in the normalised row, and the logits are linear in the mean."""
    model = MultVae(hidden=0, latent=2)
    model.n_items = 3
    model.module_ = network = initialised(model._build, 0)
    rows = csr_matrix([[3.0, 0.0, 4.0]])
    model.log_counts = False
    encoder = network.to_latent
    assert isinstance(network, ShallowVaeNetwork)
    mean = torch.tensor([[0.6, 0.0, 0.8]]) @ encoder.item_vectors.weight[:, :2] + encoder.bias[:2]
    torch.testing.assert_close(torch.from_numpy(model._embed(rows)), mean.detach())
    logits = mean @ network.to_items.weight.T + network.to_items.bias
    torch.testing.assert_close(torch.from_numpy(model._scores(rows)), logits.detach())


def test_beta_grows_to_its_cap() -> None:
    """The loss less that at beta 0 is beta x KL: 0 at the start, half the cap halfway, the cap from then on."""
    batch = sparse_batch(csr_matrix([[1.0, 0.0, 2.0, 0.0], [0.0, 1.0, 0.0, 1.0]]))
    losses = []
    for epoch in (0.0, 5.0, 10.0, 30.0):
        model = MultVae(hidden=4, latent=2, dropout=0.0, anneal_cap=0.8, anneal_epochs=10.0)
        model.n_items = 4
        model.module_ = initialised(model._build, 0)
        losses.append(model._loss(batch, epoch, generator(1)).item())
    start, half, cap, later = losses
    assert half - start == pytest.approx((cap - start) / 2, rel=1e-3)
    assert later == cap > half > start


def test_early_stopping_restores_the_best_state(
    train: csr_matrix, validation: tuple[csr_matrix, csr_matrix]
) -> None:
    """A step far too long makes it worse soon: it stops after `patience` epochs, on the best one's state."""
    model = MultVae(hidden=16, latent=8, batch_size=16, epochs=50, patience=3, learning_rate=0.1, threads=1)
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
