"""What heads say before they learnt anything, and what one that learns nothing does to the others."""

import numpy as np
import torch
from portrait.models.profile.examples import Examples, Labels, Meaning
from portrait.models.profile.heads import Heads, expected_spend, head_losses
from portrait.models.profile.model import ProfileAutoencoder
from portrait.models.profile.network import Shape
from portrait.models.profile.views import Views
from scipy.sparse import csr_matrix

N = 400


def labels(random: np.random.Generator) -> Labels:
    spend = np.where(random.random(N) < 0.25, np.exp(random.normal(4, 0.5, N)), 0).astype(np.float32)
    return Labels(
        (random.random(N) < 0.3).astype(np.float32),
        spend,
        random.choice(3, N, p=[0.6, 0.3, 0.1]).astype(np.int64),
        np.full(N, -1, np.int64),
        random.choice(2, N, p=[0.8, 0.2]).astype(np.int64),
    )


def test_an_untrained_head_says_what_is_true_of_everyone() -> None:
    random = np.random.default_rng(1)
    known = labels(random)
    shape = Shape(10, 8, 4, 0, "gru", 0, 5, 0, 0, 3, 0, 2, purchase=True, spend=True)
    heads = Heads(shape)
    heads.start_at_base_rates(known)
    found = heads(torch.randn(50, 8), torch.randn(50, 5))
    assert found.purchase is not None
    np.testing.assert_allclose(torch.sigmoid(found.purchase).detach(), known.purchase.mean(), rtol=1e-5)
    assert found.category is not None
    share = (np.bincount(known.category) + 1) / (N + 3)
    np.testing.assert_allclose(found.category.softmax(dim=1).detach(), np.tile(share, (50, 1)), rtol=1e-5)
    assert found.spend is not None
    amounts = expected_spend(found.spend).detach().numpy()
    assert (amounts == amounts[0]).all()
    np.testing.assert_allclose(amounts[0], known.spend.mean(), rtol=0.1)


def test_a_head_that_learns_by_heart_does_not_count_worse_than_untrained() -> None:
    """Genders are drawn by lot: learnt by heart, they are said worse than by the base rate."""
    random = np.random.default_rng(2)
    basket = csr_matrix((random.random((N, 12)) < 0.4).astype(np.float32))
    all_of_them = Examples(Views(basket), labels(random), Meaning((), ("a", "b", "c"), (), ("f", "m")))
    train, others = all_of_them.take(np.arange(100)), all_of_them.take(np.arange(100, N))
    model = ProfileAutoencoder(latent=32, hidden=32, epochs=60, batch_size=25, learning_rate=0.01, patience=0,
                               experts=(), threads=1, dropout=0.0).fit_examples(train, seed=3)  # fmt: skip
    losses = {n: float(v) for n, v in head_losses(model._outputs(others.views), others.labels).items()}
    base = np.bincount(train.labels.gender) / 100
    untrained = {"gender": -float(np.log(base[others.labels.gender]).mean())}
    assert losses["gender"] > 1.5 * untrained["gender"]
    floor = losses | untrained
    assert model._validation_score(None, others, losses) == -np.mean(list(losses.values()))
    assert model._validation_score(None, others, floor) == -np.mean(list(floor.values()))
