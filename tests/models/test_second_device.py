"""All networks on another device than the CPU: a GPU where there is one, and the rehearsal of `second_device.py` everywhere."""

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from portrait.models import Recommender, create, load
from portrait.models.checkpoint import Checkpoint
from portrait.models.events import Events
from portrait.models.profile.examples import Examples, Group, Labels, Meaning
from portrait.models.profile.model import ProfileAutoencoder
from portrait.models.profile.views import Views
from portrait.models.reasons import VectorAffinity
from scipy.sparse import csr_matrix, save_npz, vstack
from scipy.sparse import random as random_sparse

from .second_device import NAME, SecondDevice, second_device

SAMPLED = {"full_softmax_items": 5, "softmax_samples": 12}
WITH_EXPERTS = {"experts": ["ease", "mult_dae"], "settings": {"mult_dae": {"latent": 8, "epochs": 2}}}
MODELS: dict[str, tuple[str, dict[str, Any]]] = {
    "article": ("article", {}),
    "mult_dae": ("mult_dae", {}),
    "mult_dae, sampled softmax": ("mult_dae", SAMPLED),
    "mult_dae, bfloat16": ("mult_dae", {"precision": "bfloat16"}),
    "mult_vae": ("mult_vae", {}),
    "mult_vae, shallow": ("mult_vae", {"hidden": 0}),
    "mult_vae, sampled softmax in bfloat16": ("mult_vae", {**SAMPLED, "precision": "bfloat16"}),
    "rec_vae": ("rec_vae", {}),
    "rec_vae, sampled softmax": ("rec_vae", SAMPLED),
    "sequence": ("sequence", {}),
    "sequence, lstm, sampled": ("sequence", {"encoder": "lstm", "sampled_above": 5, "negatives": 8}),
    "sequence, convolution": ("sequence", {"encoder": "causal_convolution"}),
    "product_of_experts": ("product_of_experts", {}),
    "profile_autoencoder": ("profile_autoencoder", WITH_EXPERTS),
}


@dataclass(frozen=True)
class Second:
    """A device beside the CPU, and how far its numbers may be from the CPU's after a short training."""

    name: str
    tolerance: float
    rehearsal: SecondDevice | None


@pytest.fixture(params=["rehearsed", "cuda"])
def second(request: pytest.FixtureRequest) -> Iterator[Second]:
    if request.param == "rehearsed":
        with second_device() as rehearsal:
            yield Second(NAME, 1e-5, rehearsal)
    elif torch.cuda.is_available():
        # Other kernels add up in another order; what training makes of that is bounded by its steps.
        yield Second("cuda", 5e-3, None)
    else:
        pytest.skip("needs a CUDA GPU; rehearsed instead")


def weights(model: Any) -> dict[str, np.ndarray]:
    """Of a model and its experts."""
    found = {}
    if hasattr(model, "module_"):
        found = {name: value.cpu().float().numpy() for name, value in model.module_.state_dict().items()}
    for expert in getattr(model, "experts_", ()):
        found |= {f"{expert.name}.{name}": value for name, value in weights(expert).items()}
    return found


def assert_on(model: Any, device: str) -> None:
    """Everything of a model and its experts lies there."""
    if hasattr(model, "module_"):
        assert {value.device.type for value in model.module_.state_dict().values()} == {device}
    for expert in getattr(model, "experts_", ()):
        assert_on(expert, device)


def assert_same(ours: Recommender, theirs: Recommender, history: csr_matrix, tolerance: float) -> None:
    """Weights, vectors and lists."""
    one, other = weights(ours), weights(theirs)
    assert one.keys() == other.keys()
    for name in one:
        np.testing.assert_allclose(one[name], other[name], rtol=tolerance, atol=tolerance, err_msg=name)
    np.testing.assert_allclose(
        ours.embed(history), theirs.embed(history), rtol=10 * tolerance, atol=10 * tolerance
    )
    for exclude_seen in (True, False):
        items, scores = ours.recommend(history, 5, exclude_seen)
        their_items, their_scores = theirs.recommend(history, 5, exclude_seen)
        np.testing.assert_allclose(scores, their_scores, rtol=10 * tolerance, atol=10 * tolerance)
        assert (items == their_items).mean() > 0.95  # near ties may change places


@pytest.mark.parametrize("case", MODELS)
def test_what_is_learnt_there_is_what_the_cpu_learns(
    case: str,
    small: dict[str, dict[str, Any]],
    train: csr_matrix,
    validation: tuple[csr_matrix, csr_matrix],
    second: Second,
    tmp_path: Path,
) -> None:
    """Trained, stopped, ranked and embedded; then saved there and served on the CPU, and the other way round."""
    name, params = MODELS[case]
    params = {**small[name], **params}
    tolerance = 2e-2 if "bfloat16" in case and second.rehearsal is None else second.tolerance
    here = create(name, device="cpu", **params).fit(train, validation, seed=5)
    there = create(name, device=second.name, **params).fit(train, validation, seed=5)
    assert_on(there, second.name)
    assert second.rehearsal is None or second.rehearsal.operations
    assert_same(there, here, train[:20], tolerance)

    there.save(tmp_path / "there")
    for file in (tmp_path / "there").rglob("*.pt"):
        kept = torch.load(file, weights_only=True)
        assert {(type(value), value.device.type) for value in kept.values()} == {(torch.Tensor, "cpu")}
    served = load(tmp_path / "there", device="cpu")
    assert_on(served, "cpu")
    assert_same(served, there, train[:20], tolerance)
    here.save(tmp_path / "here")
    back = load(tmp_path / "here", device=second.name)
    assert_on(back, second.name)
    assert_same(back, here, train[:20], tolerance)


@pytest.mark.parametrize("case", ["mult_vae", "mult_dae, sampled softmax", "sequence"])
def test_the_same_seed_gives_the_same_there(
    case: str, small: dict[str, dict[str, Any]], train: csr_matrix, second: Second
) -> None:
    """Bit by bit."""
    name, params = MODELS[case]
    first, again = (
        create(name, device=second.name, **{**small[name], **params}).fit(train, seed=5) for _ in range(2)
    )
    one, other = weights(first), weights(again)
    for name in one:
        np.testing.assert_array_equal(one[name], other[name])


@pytest.mark.parametrize("name", ["article", "mult_vae", "sequence"])
@pytest.mark.parametrize("starts_there", [True, False])
def test_a_killed_training_goes_on_elsewhere(
    name: str,
    starts_there: bool,
    small: dict[str, dict[str, Any]],
    train: csr_matrix,
    validation: tuple[csr_matrix, csr_matrix],
    second: Second,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    first, then = (second.name, "cpu") if starts_there else ("cpu", second.name)
    peaceful = create(name, device="cpu", **small[name]).fit(train, validation, seed=5)
    save = Checkpoint.save

    def save_and_die(self: Checkpoint, *state: Any) -> None:
        save(self, *state)
        if state[3].step == 7:
            raise KeyboardInterrupt

    kept = {"checkpoint_dir": str(tmp_path), "checkpoint_seconds": 0.0}
    with monkeypatch.context() as patch:
        patch.setattr(Checkpoint, "save", save_and_die)
        with pytest.raises(KeyboardInterrupt):
            create(name, device=first, **kept, **small[name]).fit(train, validation, seed=5)
    with caplog.at_level("INFO"):
        resumed = create(name, device=then, **kept, **small[name]).fit(train, validation, seed=5)
    assert "epoch 2, step 7" in caplog.text
    assert_on(resumed, then)
    assert_same(resumed, peaceful, train[:20], second.tolerance)


def test_going_on_from_a_saved_model(train: csr_matrix, second: Second, tmp_path: Path) -> None:
    settings: dict[str, Any] = {"latent": 8, "epochs": 2, "batch_size": 16, "threads": 1}
    create("mult_dae", device=second.name, **settings).fit(train[:, :15], seed=0).save(tmp_path / "first")
    found = [
        create("mult_dae", device=device, start_from=str(tmp_path / "first"), **settings).fit(train, seed=0)
        for device in (second.name, "cpu")
    ]
    assert_same(*found, train[:20], second.tolerance)


TWO_PROCESSES = """
import sys
from contextlib import nullcontext
from pathlib import Path
from scipy.sparse import load_npz
from portrait.models import create
from portrait.models.workers import workers
sys.path.insert(0, sys.argv[3])
from second_device import NAME, second_device

folder, device = Path(sys.argv[1]), sys.argv[2]
with second_device() if device == NAME else nullcontext():
    model = create("mult_dae", latent=8, batch_size=33, epochs=2, dropout=0.0, threads=1, device=device)
    model.fit(load_npz(folder / "train.npz"), seed=5).save(folder / f"model_{workers().rank}")
"""


def test_two_processes_there_learn_what_one_does_here(
    train: csr_matrix, second: Second, tmp_path: Path
) -> None:
    """Gradients are added up on the CPU, and go back."""
    save_npz(tmp_path / "train.npz", train)
    script = tmp_path / "train.py"
    script.write_text(TWO_PROCESSES)
    subprocess.run(
        [
            *(sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"),
            *(str(script), str(tmp_path), second.name, str(Path(__file__).parent)),
        ],
        check=True,
        timeout=300,
        env={**os.environ, "GLOO_SOCKET_IFNAME": "lo", "OMP_NUM_THREADS": "1"},
    )
    settings: dict[str, Any] = {"latent": 8, "batch_size": 33, "epochs": 2, "dropout": 0.0, "threads": 1}
    alone = create("mult_dae", device="cpu", **settings).fit(train, seed=5)
    for rank in (0, 1):
        assert_same(load(tmp_path / f"model_{rank}", device="cpu"), alone, train[:20], 10 * second.tolerance)


@pytest.mark.parametrize("k", [3, 40])
def test_long_catalogues_are_ranked_there(k: int, second: Second, monkeypatch: pytest.MonkeyPatch) -> None:
    """1,500 items: the three best by the maxima of blocks, the forty best on the CPU.

    Some customers are cold; of one only two items are left, so that the third place is nobody's.
    """
    history = csr_matrix(
        vstack(
            [
                random_sparse(60, 1500, density=0.01, rng=0, dtype=np.float32),
                csr_matrix((9, 1500), dtype=np.float32),
                csr_matrix(np.arange(1500) > 1, dtype=np.float32),
            ]
        )
    )
    monkeypatch.setattr("portrait.models.device.CELLS_ON_A_GPU", 20 * 1500)
    model: Any = create("mult_dae", device="cpu", latent=8, epochs=1, threads=1).fit(history, seed=1)
    items, scores = model.recommend(history, k)
    model.module_.to(second.name)
    found, values = model.recommend(history, k)
    np.testing.assert_allclose(values, scores, rtol=1e-4)
    assert (found == items).mean() > 0.99


def examples(n: int, seed: int) -> Examples:
    """Two tastes that all views and labels know of; items 8 and 9 are never taken and have texts and categories."""
    random = np.random.default_rng(seed)
    taste = random.integers(0, 2, n)
    chance = np.where((np.arange(8) < 4) == (taste[:, None] == 0), 0.7, 0.05)
    basket = csr_matrix(
        np.hstack([random.random((n, 8)) < chance, np.zeros((n, 2), bool)]).astype(np.float32)
    )
    features = random.normal(taste[:, None], 1, (n, 4)).astype(np.float32)
    features[:, 2:] = np.eye(2)[taste]
    observed = np.ones((n, 4), bool)
    observed[::7] = False
    views = Views(basket, Events.of_matrix(basket), np.eye(2, dtype=np.float32)[taste], features, observed)
    spend = (20 * taste + random.random(n) * taste).astype(np.float32)
    labels = Labels(
        taste.astype(np.float32), spend, taste, np.where(random.random(n) < 0.5, taste, -1), taste
    )
    groups = Group("number", 0, 1), Group("number", 1, 2), Group("one_hot", 2, 4)
    by_taste = np.array([0, 0, 0, 0, 1, 1, 1, 1, 0, 1])
    text = np.eye(2, dtype=np.float32)[by_taste]
    return Examples(
        views,
        labels,
        Meaning(groups, ("food", "toys"), ("young", "old"), ("f", "m"), text, by_taste, 2),
    )


def test_a_profile_with_all_views_and_heads(second: Second, tmp_path: Path) -> None:
    def learnt(device: str) -> ProfileAutoencoder:
        model = ProfileAutoencoder(
            latent=8, hidden=8, epochs=2, batch_size=32, event_width=4, threads=1, experts=("mult_dae",),
            settings={"mult_dae": {"latent": 4, "epochs": 2}}, device=device,
        )  # fmt: skip
        history = examples(30, 3).views.basket
        return model.fit_examples(examples(90, 1), examples(40, 2), 5, item_validation=(history, history))

    here, there = learnt("cpu"), learnt(second.name)
    assert_on(there, second.name)
    test = examples(30, 9).views
    there.save(tmp_path / "there")
    served = load(tmp_path / "there", device="cpu")
    assert isinstance(served, ProfileAutoencoder)
    assert here.shares_ == pytest.approx(there.shares_, abs=0.1)
    for views in (test, test.only(["basket", "events"])):
        ours, theirs, again = (model.predict(views) for model in (there, here, served))
        assert ours.keys() == theirs.keys() == {"purchase", "spend", "category", "age_band", "gender"}
        for head in ours:
            np.testing.assert_allclose(ours[head], theirs[head], rtol=second.tolerance, atol=second.tolerance)
            np.testing.assert_allclose(ours[head], again[head], rtol=1e-4, atol=1e-4)
        for one, other in zip(
            there.recommend(views.basket, 3, views=views),
            here.recommend(views.basket, 3, views=views),
            strict=True,
        ):
            np.testing.assert_allclose(one, other, rtol=10 * second.tolerance, atol=10 * second.tolerance)
        np.testing.assert_allclose(
            there.embed(views.basket, views=views),
            here.embed(views.basket, views=views),
            rtol=second.tolerance,
            atol=second.tolerance,
        )
    there.weights_[1:] = 0  # no expert has a say: its own item vectors
    assert isinstance(there.affinity(test.basket), VectorAffinity)


def test_the_rehearsal_tells_devices_apart() -> None:
    """What the tests above rest on."""
    with second_device() as device:
        there = torch.arange(6.0).to(NAME)
        assert (there + torch.ones(6, device=NAME) * torch.tensor(2.0)).cpu().tolist() == [2, 3, 4, 5, 6, 7]
        assert there[2].item() == 2
        assert device.operations > 0
        for mixed in (
            lambda: there + torch.ones(6),
            lambda: torch.ones(6).index_add_(0, torch.arange(6), there),
            lambda: torch.mm(there[None], torch.ones(6, 1)),
        ):
            with pytest.raises(RuntimeError, match="a tensor of the CPU among those of the second device"):
                mixed()
        with pytest.raises(RuntimeError, match="numpy"):
            there.numpy()
    with pytest.raises(RuntimeError, match="outside"):
        there.sum()
