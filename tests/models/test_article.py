import numpy as np
import torch
from portrait.models.article import Article, scaled_rows
from scipy.sparse import csr_matrix


def test_the_articles_design() -> None:
    model = Article()
    model.n_items = 300
    layers = [str(layer).split(",")[0] for part in model._build().children() for layer in part]
    sizes = [tuple(p.shape) for p in model._build().parameters() if p.dim() == 2]
    assert [layer.split("(")[0] for layer in layers] == ["Linear", "ReLU"] * 3 + ["Linear", "Sigmoid"]
    assert sizes == [(128, 300), (64, 128), (128, 64), (300, 128)]
    assert (model.learning_rate, model.batch_size, model.epochs) == (1e-3, 64, 10)


def test_rows_are_scaled_to_one() -> None:
    scaled = scaled_rows(csr_matrix([[1.0, 5.0, 0.0], [0.0, 0.0, 0.0]]))
    np.testing.assert_allclose(scaled, [[0.2, 1, 0], [0, 0, 0]])


def test_loss_of_the_first_batch_by_hand(train: csr_matrix) -> None:
    """One epoch of one batch: the logged loss is the mean squared error of the untrained network."""
    model = Article(hidden=4, latent=2, epochs=1, batch_size=100).fit(train, seed=3)
    untrained = Article(hidden=4, latent=2, epochs=1, batch_size=100, learning_rate=0.0).fit(train, seed=3)
    x = train.toarray()
    x = x / x.max(axis=1, keepdims=True)
    w = [p.detach().numpy().astype(np.float64) for p in untrained.module_.parameters()]
    hidden = np.maximum(np.maximum(x @ w[0].T + w[1], 0) @ w[2].T + w[3], 0)
    output = 1 / (1 + np.exp(-(np.maximum(hidden @ w[4].T + w[5], 0) @ w[6].T + w[7])))
    assert np.isclose(model.log_[0]["loss"], ((output - x) ** 2).mean(), rtol=1e-5)


def test_learns_and_scores_within_zero_and_one(train: csr_matrix) -> None:
    model = Article(hidden=16, latent=8, batch_size=16, epochs=60).fit(train)
    losses = [entry["loss"] for entry in model.log_]
    assert len(losses) == 60
    assert losses[-1] < 0.8 * losses[0]
    scores = model.recommend(train, 20, exclude_seen=False)[1]
    assert ((scores >= 0) & (scores <= 1)).all()


def test_threads_are_given_back(train: csr_matrix) -> None:
    before = torch.get_num_threads()
    Article(hidden=4, latent=2, epochs=1, threads=1).fit(train)
    assert torch.get_num_threads() == before
