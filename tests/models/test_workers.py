"""Several processes under torchrun against one."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from portrait.models import create
from portrait.models.workers import Workers, workers
from scipy.sparse import csr_matrix, save_npz

TRAINING = """
import json, sys
from pathlib import Path
from scipy.sparse import load_npz
from portrait.models import create
from portrait.models.workers import workers

assert (workers().on_this_machine, workers().place) == (2, workers().rank)
folder, models = Path(sys.argv[1]), json.loads(sys.argv[2])
train = load_npz(folder / "train.npz")
pair = load_npz(folder / "tr.npz"), load_npz(folder / "te.npz")
for name, params in models.items():
    model = create(name, checkpoint_dir=str(folder / name), checkpoint_seconds=0.0, **params).fit(train, pair, seed=5)
    model.save(folder / f"{name}_{workers().rank}")
    (folder / f"{name}_{workers().rank}.json").write_text(json.dumps(model.log_))
"""

PARAMS = {
    "latent": 8,
    "batch_size": 33,
    "epochs": 3,
    "learning_rate": 0.01,
    "threads": 1,
    "popularity_start": False,
}
MODELS = {
    # Without dropout there is no chance in it: the same batches give the same losses.
    "mult_dae": {**PARAMS, "dropout": 0.0},
    # Alternating, with parameters that get no gradient in a step, and noise of each process's own.
    "rec_vae": {**PARAMS, "hidden": 16},
}


def test_two_processes_learn_what_one_does(
    train: csr_matrix, validation: tuple[csr_matrix, csr_matrix], tmp_path: Path
) -> None:
    """80 customers in steps of 33: shares of 17 and 16, at last of 7 and 7."""
    for matrix, file in zip((train, *validation), ("train", "tr", "te"), strict=True):
        save_npz(tmp_path / f"{file}.npz", matrix)
    script = tmp_path / "train.py"
    script.write_text(TRAINING)
    subprocess.run(
        [
            *(sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"),
            *(str(script), str(tmp_path), json.dumps(MODELS)),
        ],
        check=True,
        timeout=300,
        env={**os.environ, "GLOO_SOCKET_IFNAME": "lo", "OMP_NUM_THREADS": "1"},
    )

    def log(name: str, rank: int) -> list[dict[str, float]]:
        found: list[dict[str, float]] = json.loads((tmp_path / f"{name}_{rank}.json").read_text())
        return found

    for name, params in MODELS.items():
        alone = create(name, **params).fit(train, validation, seed=5)
        assert log(name, 0) == log(name, 1)
        # Both end with the same weights.
        ours, theirs = (
            create(name, **params).load(tmp_path / f"{name}_{r}").recommend(train, 5)[1] for r in (0, 1)
        )
        assert (ours == theirs).all()
        tolerance = 1e-4 if name == "mult_dae" else 0.02
        for one, other in zip(log(name, 0), alone.log_, strict=True):  # type: ignore[attr-defined]
            assert one["loss"] == pytest.approx(other["loss"], rel=tolerance)
        assert (tmp_path / name / "checkpoint.pt").exists()
    single = create("mult_dae", **MODELS["mult_dae"]).fit(train, validation, seed=5)
    both = create("mult_dae", **MODELS["mult_dae"]).load(tmp_path / "mult_dae_0")
    np.testing.assert_allclose(both.embed(train), single.embed(train), atol=1e-4)


def test_shares_of_a_step() -> None:
    rows = np.arange(5)
    (first, counts_first), (second, counts_second) = (Workers(r, 2).share(rows) for r in (0, 1))
    assert sorted([*first, *second]) == rows.tolist()
    assert (counts_first, counts_second) == (3 / 5, 2 / 5)
    # Nothing to do, but it must take part.
    assert [x if isinstance(x, float) else x.tolist() for x in Workers(2, 3).share(rows[:2])] == [[0], 0.0]


def test_a_process_by_itself_is_a_group_of_one() -> None:
    assert (workers().first, workers().count, workers().place) == (True, 1, 0)
