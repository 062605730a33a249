"""A flagship that is killed while it learns from all views and labels, and goes on."""

import runpy
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from portrait.models.profile.model import ProfileAutoencoder

LEARNING = """
import os, signal, sys
import numpy as np
from portrait.models import checkpoint
from portrait.models.events import Events
from portrait.models.profile.examples import Examples, Group, Labels, Meaning
from portrait.models.profile.model import ProfileAutoencoder
from portrait.models.profile.views import Views
from scipy.sparse import csr_matrix

PARAMS = dict(latent=8, hidden=8, epochs=4, batch_size=32, learning_rate=0.01, experts=("ease",), event_width=4,
              settings={"ease": {"regularisation": 5.0}}, threads=1)

def examples(n, seed):
    random = np.random.default_rng(seed)
    taste = random.integers(0, 2, n)
    chance = np.where((np.arange(8) < 4) == (taste[:, None] == 0), 0.7, 0.05)
    matrix = csr_matrix((random.random((n, 8)) < chance).astype(np.float32))
    features = random.normal(taste[:, None], 1, (n, 2)).astype(np.float32)
    views = Views(matrix, Events.of_matrix(matrix), np.eye(2, dtype=np.float32)[taste], features, np.ones((n, 2), bool))
    labels = Labels(taste.astype(np.float32), 20.0 * taste.astype(np.float32), taste, np.full(n, -1), taste)
    return Examples(views, labels, Meaning((Group("number", 0, 2),), ("food", "toys"), ("young", "old"), ("f", "m")))

def learn(folder=None, seed=1):
    more = {"checkpoint_dir": folder, "checkpoint_seconds": 0.0} if folder else {}
    return ProfileAutoencoder(**PARAMS, **more).fit_examples(examples(150, seed), examples(40, 2), seed=5)

if __name__ == "__main__":
    save = checkpoint.Checkpoint.save
    def save_and_die(self, *state):
        save(self, *state)
        if state[3].step == 13:  # in the middle of the third epoch of five steps
            os.kill(os.getpid(), signal.SIGKILL)
    checkpoint.Checkpoint.save = save_and_die
    learn(sys.argv[1])
"""


def test_it_resumes_and_ends_the_same(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Also the heads and the experts; other labels on the same baskets are another training."""
    script = tmp_path / "learn.py"
    script.write_text(LEARNING)
    killed = subprocess.run([sys.executable, str(script), str(tmp_path)])
    assert killed.returncode == -signal.SIGKILL
    learn, examples = (runpy.run_path(str(script))[name] for name in ("learn", "examples"))

    with caplog.at_level("INFO"):
        other: ProfileAutoencoder = learn(str(tmp_path / "elsewhere"), seed=3)
        assert "resuming" not in caplog.text
        resumed: ProfileAutoencoder = learn(str(tmp_path))
        assert "epoch 3, step 13" in caplog.text
    peaceful: ProfileAutoencoder = learn()
    assert resumed.log_ == peaceful.log_
    assert resumed.log_ != other.log_
    views = examples(30, 9).views
    ours, theirs = resumed.predict(views), peaceful.predict(views)
    assert ours.keys() == theirs.keys() >= {"purchase", "spend", "category", "gender"}
    for name in ours:
        np.testing.assert_array_equal(ours[name], theirs[name])
    for one, two in zip(
        resumed.recommend(views.basket, 3, views=views),
        peaceful.recommend(views.basket, 3, views=views),
        strict=True,
    ):
        np.testing.assert_array_equal(one, two)
