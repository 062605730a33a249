import numpy as np
import torch
from portrait.models.rec_vae import RecVae, RecVaeNetwork, log_composite_prior, log_normal
from portrait.models.training import generator, initialised, sparse_batch
from scipy.sparse import csr_matrix
from scipy.stats import norm

BATCH = csr_matrix([[1.0, 0.0, 2.0, 0.0], [0.0, 1.0, 0.0, 1.0]])


def built(**params: float) -> RecVae:
    model = RecVae(hidden=6, latent=3, **params)  # type: ignore[arg-type]
    model.n_items = 4
    model.module_ = initialised(model._build, 0)
    return model


def changed(model: RecVae, epoch: float) -> set[str]:
    """The parts of the network that a step of plain gradient descent at this epoch changes."""
    before = {name: value.clone() for name, value in model.module_.state_dict().items()}
    model.module_.zero_grad(set_to_none=True)
    model._loss(sparse_batch(BATCH), epoch, generator(1)).backward()
    torch.optim.SGD(model.module_.parameters(), lr=0.1).step()
    after = model.module_.state_dict()
    return {name.split(".")[0] for name, value in before.items() if not torch.equal(value, after[name])}


def test_log_normal_is_scipys() -> None:
    values, mean, log_variance = torch.tensor([0.5, -2.0]), torch.tensor([1.0, 0.0]), torch.tensor([0.0, 1.2])
    expected = norm.logpdf([0.5, -2.0], [1.0, 0.0], np.exp([0.0, 0.6]))
    np.testing.assert_allclose(log_normal(values, mean, log_variance), expected, rtol=1e-5)


def test_composite_prior_is_the_mixture() -> None:
    """3/20 N(0, 1) + 3/4 N(1, 4) + 1/10 N(0, e^10), the density at 0.7."""
    density = 3 / 20 * norm.pdf(0.7) + 3 / 4 * norm.pdf(0.7, 1, 2) + norm.pdf(0.7, 0, np.exp(5)) / 10
    found = log_composite_prior(torch.tensor(0.7), torch.tensor(1.0), torch.tensor(np.log(4)))
    np.testing.assert_allclose(found, np.log(density), rtol=1e-5)


def test_encoder_and_decoder_are_trained_in_turn() -> None:
    """Three passes for the encoder and one for the decoder; the prior's encoder follows in between."""
    for epoch in (0.0, 1.5, 2.9, 4.0, 6.5):
        assert changed(built(), epoch) == {"encoder"}
    assert changed(built(), 3.0) == {"encoder_before", "to_items"}
    assert changed(built(), 3.5) == {"to_items"}
    assert changed(built(encoder_passes=1, decoder_passes=2), 2.0) == {"to_items"}


def test_the_prior_remembers_the_encoder() -> None:
    model = built()
    model._loss(sparse_batch(BATCH), 3.0, generator(1))
    for now, before in zip(
        model.module_.encoder.parameters(), model.module_.encoder_before.parameters(), strict=True
    ):
        assert torch.equal(now, before)
        assert now.requires_grad
        assert not before.requires_grad


def test_the_kl_weight_grows_with_the_customers_weight() -> None:
    """Loss at gamma 1 less loss at gamma 0 is total weight x KL: doubled counts, twice the difference."""

    def divergence(counts: csr_matrix) -> float:
        batch = sparse_batch(counts)
        with_kl, without = (
            built(gamma=gamma, dropout=0.0)._encoder_loss(batch, generator(1)) for gamma in (1.0, 0.0)
        )
        return (with_kl - without).item()

    np.testing.assert_allclose(divergence(BATCH * 2), 2 * divergence(BATCH), rtol=1e-4)


def test_layer_norms_start_as_the_identity() -> None:
    network = initialised(lambda: RecVaeNetwork(4, 6, 3), 0)
    for layer in network.encoder.norms:
        assert (layer.weight == 1).all()
        assert (layer.bias == 0).all()


def test_validated_after_each_alternation(
    train: csr_matrix, validation: tuple[csr_matrix, csr_matrix]
) -> None:
    model = RecVae(hidden=8, latent=4, batch_size=40, epochs=3, threads=1).fit(train, validation, seed=0)
    assert [entry["epoch"] for entry in model.log_ if "score" in entry] == [3, 7, 11]
    assert len(model.log_) == 12
