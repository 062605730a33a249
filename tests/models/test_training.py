"""Seeds, batches, and what is left of a run that was killed."""

import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from portrait.errors import PortraitError
from portrait.models import create
from portrait.models.checkpoint import Checkpoint, fingerprint
from portrait.models.training import sparse_batch, train
from scipy.sparse import csr_matrix, save_npz
from torch import nn

CHECKPOINTED = ("article", "mult_vae", "rec_vae", "profile_autoencoder")

KILLED_WHILE_TRAINING = """
import os, signal, sys
from scipy.sparse import load_npz
from portrait.models import checkpoint, create

folder, name, params = sys.argv[1], sys.argv[2], eval(sys.argv[3])
save = checkpoint.Checkpoint.save
def save_and_die(self, module, optimiser, noise, progress, best):
    save(self, module, optimiser, noise, progress, best)
    if progress.step == 13:  # in the middle of the third epoch of five steps
        os.kill(os.getpid(), signal.SIGKILL)
checkpoint.Checkpoint.save = save_and_die
pair = load_npz(folder + "/tr.npz"), load_npz(folder + "/te.npz")
model = create(name, checkpoint_dir=folder, checkpoint_seconds=0.0, **params)
model.fit(load_npz(folder + "/train.npz"), pair, seed=5)
"""


def test_sparse_batch() -> None:
    batch = sparse_batch(csr_matrix([[0.0, 2.0, 3.0], [0.0, 0.0, 0.0], [1.0, 0.0, 0.0]]))
    assert batch.items.tolist() == [1, 2, 0]
    assert batch.offsets.tolist() == [0, 2, 2]
    assert batch.weights.tolist() == [2, 3, 1]
    assert batch.rows.tolist() == [0, 0, 2]


@pytest.mark.parametrize("name", CHECKPOINTED)
def test_a_killed_run_resumes_and_ends_the_same(
    name: str,
    small: dict[str, dict[str, Any]],
    train: csr_matrix,
    validation: tuple[csr_matrix, csr_matrix],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """kill -9 in the middle of an epoch, then the same call again, against a run left in peace."""
    for matrix, file in zip((train, *validation), ("train", "tr", "te"), strict=True):
        save_npz(tmp_path / f"{file}.npz", matrix)
    arguments = [str(tmp_path), name, repr(small[name])]
    killed = subprocess.run([sys.executable, "-c", KILLED_WHILE_TRAINING, *arguments])
    assert killed.returncode == -signal.SIGKILL

    with caplog.at_level("INFO"):
        resumed = create(name, checkpoint_dir=str(tmp_path), **small[name]).fit(train, validation, seed=5)
    assert "epoch 3, step 13" in caplog.text
    peaceful = create(name, **small[name]).fit(train, validation, seed=5)
    assert resumed.log_ == peaceful.log_  # type: ignore[attr-defined]
    for ours, theirs in zip(resumed.recommend(train, 5), peaceful.recommend(train, 5), strict=True):
        assert (ours == theirs).all()


def test_a_finished_run_returns_at_once(
    small: dict[str, dict[str, Any]], train: csr_matrix, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    params = {**small["article"], "checkpoint_dir": str(tmp_path)}
    first = create("article", **params).fit(train, seed=1)
    monkeypatch.setattr(torch.optim.Adam, "step", lambda self: pytest.fail("it trains again"))
    again = create("article", **params).fit(train, seed=1)
    assert (first.embed(train) == again.embed(train)).all()


def test_a_checkpoint_of_other_data_is_not_used(
    small: dict[str, dict[str, Any]], train: csr_matrix, tmp_path: Path
) -> None:
    params = {**small["article"], "checkpoint_dir": str(tmp_path)}
    create("article", **params).fit(train, seed=1)
    other = create("article", **params).fit(train[:40], seed=1)
    plain = create("article", **small["article"]).fit(train[:40], seed=1)
    assert (other.embed(train) == plain.embed(train)).all()


def test_fingerprint_knows_data_and_settings(train: csr_matrix) -> None:
    same = fingerprint({"a": 1, "b": 2}, train)
    assert same == fingerprint({"b": 2, "a": 1}, train.copy())
    changed = train.copy()
    changed.data[0] += 1
    assert len({same, fingerprint({"a": 1, "b": 3}, train), fingerprint({"a": 1, "b": 2}, changed)}) == 3


def test_checkpoint_waits_for_its_time(tmp_path: Path) -> None:
    module = nn.Linear(1, 1)
    optimiser = torch.optim.Adam(module.parameters())
    checkpoint = Checkpoint(tmp_path, "x", seconds=3600)
    train(module, optimiser, lambda rows, step, noise: module.weight.sum(), 4, epochs=1, batch_size=2, seed=0)
    assert not checkpoint.file.exists()


def test_training_leaves_global_randomness_alone(small: dict[str, dict[str, Any]], train: csr_matrix) -> None:
    before = torch.get_rng_state()
    numpy_before = np.random.get_state()[1].copy()  # type: ignore[index,union-attr]
    create("mult_vae", **small["mult_vae"]).fit(train)
    assert (np.random.get_state()[1] == numpy_before).all()  # type: ignore[index]
    assert (torch.get_rng_state() == before).all()


def test_divergence_is_said(train: csr_matrix) -> None:
    with pytest.raises(PortraitError, match=r"training diverged in epoch 1 .*: lower learning_rate"):
        create("mult_vae", hidden=4, latent=2, batch_size=16, learning_rate=1e6).fit(train)
