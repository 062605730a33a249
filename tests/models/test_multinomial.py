from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from portrait.errors import PortraitError
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
from scipy.sparse import csr_matrix, hstack

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


@pytest.mark.parametrize("name", MULTINOMIAL)
def test_goes_on_from_a_saved_model(name: str, train: csr_matrix, tmp_path: Path) -> None:
    """Two passes and two more are not four at once, because Adam starts anew; but it is the same way down."""
    settings = {"latent": 8, "threads": 1, "batch_size": 20, "learning_rate": 0.002}
    first: Any = create(name, epochs=4, **settings).fit(train, seed=0)
    first.save(tmp_path / "first")
    second: Any = create(name, epochs=2, start_from=str(tmp_path / "first"), **settings).fit(train, seed=0)
    assert second.log_[0]["loss"] < first.log_[0]["loss"]
    assert second.passes_ == 6 * first._passes_a_validation
    second.save(tmp_path / "second")
    third: Any = create(name, epochs=1, start_from=str(tmp_path / "second"), **settings).fit(train, seed=0)
    assert third.passes_before_ == second.passes_
    moved = (third.module_.to_items.weight - second.module_.to_items.weight).abs().mean()
    assert moved < (third.module_.to_items.weight - first.module_.to_items.weight).abs().mean()


def test_the_start_stays_when_no_epoch_improves_on_it(
    train: csr_matrix, validation: tuple[csr_matrix, csr_matrix], tmp_path: Path
) -> None:
    settings = {"latent": 8, "threads": 1, "batch_size": 20}
    good: Any = create("mult_dae", epochs=30, learning_rate=0.01, **settings).fit(train, validation, seed=0)
    good.save(tmp_path / "good")
    ruined: Any = create(
        "mult_dae", epochs=9, patience=2, learning_rate=3.0, start_from=str(tmp_path / "good"), **settings
    )
    with pytest.raises(PortraitError, match="other parameters"):
        ruined.fit(train, validation, seed=0)
    (tmp_path / "good" / "model.json").write_text(
        (tmp_path / "good" / "model.json")
        .read_text()
        .replace('"learning_rate": 0.01', '"learning_rate": 3.0')
    )
    ruined.fit(train, validation, seed=0)
    assert [entry["epoch"] for entry in ruined.log_] == [-1, 0, 1]
    assert "loss" not in ruined.log_[0]
    assert ruined.log_[0]["score"] == max(entry["score"] for entry in ruined.log_)
    assert ruined.passes_ == good.passes_
    assert (ruined.recommend(train, 5)[0] == good.recommend(train, 5)[0]).all()


def test_new_items_start_at_the_level_of_those_known(train: csr_matrix, tmp_path: Path) -> None:
    """Known items' biases moved while training; a new item of the same popularity must not stand out."""
    settings = {"latent": 8, "threads": 1, "batch_size": 20, "learning_rate": 0.01}
    first: Any = create("mult_vae", epochs=20, hidden=16, popularity_start=False, **settings).fit(
        train, seed=0
    )
    first.save(tmp_path / "first")
    wider = csr_matrix(hstack([train, train[:, :3]]))
    second: Any = create(
        "mult_vae",
        epochs=1,
        hidden=16,
        popularity_start=False,
        start_from=str(tmp_path / "first"),
        **settings,
    )
    second.n_items = wider.shape[1]
    module = second._begin(0)
    second.module_ = module
    second._start_at_popularity(second._counts(wider))
    before, n = first.module_.to_items.bias.detach(), train.shape[1]
    torch.testing.assert_close(module.to_items.bias[:n].detach(), before)
    torch.testing.assert_close(module.to_items.weight[:n].detach(), first.module_.to_items.weight.detach())
    assert (module.to_items.bias[n:].detach() - before[:3]).abs().max() < before.max() - before.min() + 0.5
    assert module.to_items.bias[n:].detach().mean() == pytest.approx(before.mean().item(), abs=1.0)


def test_what_cannot_be_gone_on_from(train: csr_matrix, tmp_path: Path) -> None:
    settings = {"latent": 8, "threads": 1, "epochs": 1}
    create("mult_dae", **settings).fit(train, seed=0).save(tmp_path / "dae")
    start = {"start_from": str(tmp_path / "dae")}
    with pytest.raises(PortraitError, match="knows more items"):
        create("mult_dae", **settings, **start).fit(train[:, :5], seed=0)
    with pytest.raises(PortraitError, match="with other parameters"):
        create("mult_dae", **{**settings, "latent": 4}, **start).fit(train, seed=0)
    with pytest.raises(PortraitError, match="holds a model 'mult_dae', not 'mult_vae'"):
        create("mult_vae", **settings, **start).fit(train, seed=0)
    with pytest.raises(PortraitError, match="cannot go on from another"):
        create("profile_autoencoder", experts=(), **settings, **start).fit(train, seed=0)


def test_a_checkpoint_belongs_to_its_start(train: csr_matrix, tmp_path: Path) -> None:
    settings = {"latent": 8, "threads": 1, "epochs": 2, "checkpoint_dir": str(tmp_path / "checkpoint")}
    first: Any = create("mult_dae", **settings).fit(train, seed=0)
    first.save(tmp_path / "first")
    again: Any = create("mult_dae", **settings, start_from=str(tmp_path / "first")).fit(train, seed=0)
    assert again.log_[0]["loss"] < first.log_[0]["loss"]
