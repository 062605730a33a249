"""The documented command: one candidate trained by two processes."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from portrait.models import load
from scipy.sparse import csr_matrix

Make = Callable[..., Any]

DAE = "{name: mult_dae, params: {latent: 4, batch_size: 8, epochs: 3, dropout: 0.0, patience: 0}}"


@pytest.mark.slow
def test_torchrun_trains_a_candidate_and_one_process_saves_it(make_nights: Make, tmp_path: Path) -> None:
    nights = make_nights(DAE, k=1)
    train = np.random.default_rng(0).integers(0, 3, (24, 6))
    run = nights.write(1, train, train[:, ::-1] > 1)
    environment = {
        **os.environ,
        "PORTRAIT_HOME": str(nights.settings.home),
        "PORTRAIT_DATABASE_URL": nights.settings.database_url,
        "PORTRAIT_SOURCES": str(nights.settings.sources_path),
        "PORTRAIT_CONFIG_DIR": str(next(tmp_path.glob("config*"))),
        "PORTRAIT_PII_KEY": "test-key",
        "GLOO_SOCKET_IFNAME": "lo",
    }
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command = ["--module", "--", "portrait", "train", "--run", run.run_id, "--model", "mult_dae"]
    subprocess.run([*launcher, *command], check=True, env=environment, timeout=300)

    folder = nights.settings.run_dir(run.run_id) / "models"
    together = load(folder / "evaluated" / "mult_dae")
    losses = [e["loss"] for e in json.loads((folder / "curves" / "mult_dae.json").read_text())]
    assert not (folder / "checkpoints" / "mult_dae").exists()
    nights.train(run)
    alone = [e["loss"] for e in json.loads((folder / "curves" / "mult_dae.json").read_text())]
    assert losses == pytest.approx(alone, rel=1e-4)
    history = csr_matrix(train.astype(np.float32))
    np.testing.assert_allclose(
        together.embed(history), load(folder / "evaluated" / "mult_dae").embed(history), atol=1e-4
    )
