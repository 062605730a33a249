import numpy as np
import torch
from portrait.models.mult_dae import MultDae
from portrait.models.training import generator, initialised, sparse_batch
from scipy.sparse import csr_matrix


def test_loss_and_scores_against_dense_layers() -> None:
    """Without dropout: tanh of the normalised row, a linear layer, minus counts x log softmax, mean of two rows."""
    rows = csr_matrix([[3.0, 0.0, 4.0], [0.0, 2.0, 0.0]])
    model = MultDae(latent=5, dropout=0.0)
    model.n_items = 3
    model.module_ = network = initialised(model._build, 0)
    dense = torch.tensor([[0.6, 0.0, 0.8], [0.0, 1.0, 0.0]])
    hidden = torch.tanh(dense @ network.to_latent.item_vectors.weight + network.to_latent.bias)
    logits = hidden @ network.to_items.weight.T + network.to_items.bias
    expected = -(torch.tensor(rows.toarray()) * torch.log_softmax(logits, dim=1)).sum(dim=1).mean()
    found = model._loss(sparse_batch(rows), 0.0, generator(0))
    np.testing.assert_allclose(found.item(), expected.item(), rtol=1e-5)

    model.log_counts = False
    np.testing.assert_allclose(model._embed(rows), hidden.detach(), rtol=1e-5)
    np.testing.assert_allclose(model._scores(rows), logits.detach(), rtol=1e-5)


def test_every_epoch_drops_other_items() -> None:
    """The same batch costs something else as the noise goes on: the input is dropped out anew."""
    model = MultDae(latent=4)
    model.n_items = 30
    model.module_ = initialised(model._build, 0)
    batch, noise = sparse_batch(csr_matrix(np.ones((2, 30)))), generator(1)
    assert model._loss(batch, 0.0, noise).item() != model._loss(batch, 0.0, noise).item()
