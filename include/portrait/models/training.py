"""What the PyTorch models share: sparse batches, threads, the training loop and its checkpoints."""

import hashlib
import json
import logging
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np
import torch
from scipy.sparse import csr_matrix
from torch import Tensor, nn

from portrait.errors import PortraitError

logger = logging.getLogger(__name__)

Module = TypeVar("Module", bound=nn.Module)

CHECKPOINT_FILE = "checkpoint.pt"


class SparseBatch(NamedTuple):
    """Some rows of a CSR matrix in the form `F.embedding_bag` takes.

    `items` int64 [nnz], `offsets` int64 [n] (where each row starts), `weights` float32 [nnz] and
    `rows` int64 [nnz] (which row each value belongs to).
    """

    items: Tensor
    offsets: Tensor
    weights: Tensor
    rows: Tensor


def sparse_batch(matrix: csr_matrix) -> SparseBatch:
    """A CSR matrix (a chunk of rows) as tensors; nothing dense is made."""
    rows = np.repeat(np.arange(matrix.shape[0], dtype=np.int64), np.diff(matrix.indptr))
    return SparseBatch(
        items=torch.from_numpy(matrix.indices.astype(np.int64)),
        offsets=torch.from_numpy(matrix.indptr[:-1].astype(np.int64)),
        weights=torch.from_numpy(matrix.data.astype(np.float32)),
        rows=torch.from_numpy(rows),
    )


@contextmanager
def torch_threads(threads: int) -> Iterator[None]:
    """Cap torch's threads inside the block; 0 means the cores this process may run on."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads or len(os.sched_getaffinity(0)))
    try:
        yield
    finally:
        torch.set_num_threads(before)


def generator(seed: int) -> torch.Generator:
    """A private source of randomness, so that nobody else's draws move ours."""
    return torch.Generator().manual_seed(seed)


def initialised(build: Callable[[], Module], seed: int) -> Module:
    """A new module with Glorot-uniform weights and small normal biases (as in Liang et al.).

    Drawn from a private generator; what torch's own constructors draw is put back. Layer norms keep their 1 and 0.
    """
    with torch.random.fork_rng(devices=[]):
        module = build()
    random = generator(seed)
    normalising = {id(p) for m in module.modules() if isinstance(m, nn.LayerNorm) for p in m.parameters()}
    for parameter in module.parameters():
        if id(parameter) in normalising:
            continue
        if parameter.dim() > 1:
            nn.init.xavier_uniform_(parameter, generator=random)
        else:
            nn.init.trunc_normal_(parameter, std=0.001, a=-0.002, b=0.002, generator=random)
    return module


@dataclass
class Progress:
    """Where training stands; with the tensors beside it, all that a resumed run needs."""

    epoch: int = 0
    next_row: int = 0
    step: int = 0
    loss_sum: float = 0.0
    best: float = -np.inf
    best_epoch: int = -1
    log: list[dict[str, Any]] = field(default_factory=list)


def train(
    module: nn.Module,
    optimiser: torch.optim.Optimizer,
    batch_loss: Callable[[np.ndarray, int, torch.Generator], Tensor],
    n_rows: int,
    *,
    epochs: int,
    batch_size: int,
    seed: int,
    validate: Callable[[], float] | None = None,
    validate_every: int = 1,
    patience: int = 0,
    checkpoint: "Checkpoint | None" = None,
) -> Progress:
    """Train for some epochs, keep the best state, and go on where a killed run stopped.

    Parameters
    ----------
    batch_loss : (row positions, step, noise generator) -> scalar mean loss of those rows
    validate : () -> score, higher is better, optional
        At the end `module` holds the state that scored best; without it, the last.
    validate_every : int
        Epochs from one validation to the next.
    patience : int
        Stop after so many epochs without a better score; 0 never stops early.

    Raises
    ------
    PortraitError
        If the loss is no longer finite.
    """
    noise = generator(seed)
    best: dict[str, Tensor] = {}
    progress = Progress()
    if checkpoint is not None:
        progress, best = checkpoint.restore(module, optimiser, noise) or (progress, best)

    while progress.epoch < epochs and not _out_of_patience(progress, patience):
        started = time.monotonic()
        order = np.random.default_rng([seed, progress.epoch]).permutation(n_rows)
        module.train()
        while progress.next_row < n_rows:
            rows = order[progress.next_row : progress.next_row + batch_size]
            loss = batch_loss(rows, progress.step, noise)
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            optimiser.step()
            progress.loss_sum += _finite(loss.item(), progress.epoch) * len(rows)
            progress.next_row += len(rows)
            progress.step += 1
            if checkpoint is not None:
                checkpoint.save_if_due(module, optimiser, noise, progress, best)

        module.eval()
        entry: dict[str, Any] = {"epoch": progress.epoch, "loss": progress.loss_sum / n_rows}
        if validate is not None and (progress.epoch + 1) % validate_every == 0:
            entry["score"] = validate()
            if entry["score"] > progress.best:
                progress.best, progress.best_epoch = entry["score"], progress.epoch
                best = {name: value.clone() for name, value in module.state_dict().items()}
        logger.info("%s (%.1f s)", _describe(entry, epochs, progress), time.monotonic() - started)
        progress.log.append(entry)
        progress.epoch, progress.next_row, progress.loss_sum = progress.epoch + 1, 0, 0.0

    if checkpoint is not None:
        checkpoint.save(module, optimiser, noise, progress, best)
    if best:
        module.load_state_dict(best)
    module.eval()
    return progress


def _out_of_patience(progress: Progress, patience: int) -> bool:
    return 0 < patience <= progress.epoch - 1 - progress.best_epoch and progress.best_epoch >= 0


def _finite(loss: float, epoch: int) -> float:
    if not np.isfinite(loss):
        raise PortraitError(f"training diverged in epoch {epoch + 1} (loss {loss}): lower learning_rate")
    return loss


def _describe(entry: dict[str, Any], epochs: int, progress: Progress) -> str:
    text = f"epoch {entry['epoch'] + 1}/{epochs} loss {entry['loss']:.5g}"
    if "score" in entry:
        text += f" validation {entry['score']:.4f} (best {progress.best:.4f} in {progress.best_epoch + 1})"
    return text


class Checkpoint:
    """The state of one training run in a folder, rewritten at most every `seconds`.

    A checkpoint belongs to a fingerprint of data, parameters and seed: a run with another one ignores it
    and overwrites it. After training it stays (a rerun returns at once); delete it when the model is saved.
    """

    def __init__(self, folder: str | os.PathLike[str], fingerprint: str, seconds: float) -> None:
        self.file = Path(folder) / CHECKPOINT_FILE
        self.fingerprint = fingerprint
        self.seconds = seconds
        self.saved_at = time.monotonic()

    def restore(
        self, module: nn.Module, optimiser: torch.optim.Optimizer, noise: torch.Generator
    ) -> tuple[Progress, dict[str, Tensor]] | None:
        """Load the state into the three objects; None where there is none of this very run."""
        if not self.file.exists():
            return None
        state = torch.load(self.file, weights_only=True, map_location="cpu")
        if state["fingerprint"] != self.fingerprint:
            logger.info("%s is of another run (data, parameters or seed differ): starting anew", self.file)
            return None
        module.load_state_dict(state["module"])
        optimiser.load_state_dict(state["optimiser"])
        noise.set_state(state["noise"])
        progress = Progress(**state["progress"])
        logger.info("resuming from %s: epoch %d, step %d", self.file, progress.epoch + 1, progress.step)
        return progress, state["best"]

    def save_if_due(self, *state: Any) -> None:
        if time.monotonic() - self.saved_at >= self.seconds:
            self.save(*state)

    def save(
        self,
        module: nn.Module,
        optimiser: torch.optim.Optimizer,
        noise: torch.Generator,
        progress: Progress,
        best: dict[str, Tensor],
    ) -> None:
        """Write beside, then rename: a kill leaves the previous checkpoint whole."""
        self.file.parent.mkdir(parents=True, exist_ok=True)
        beside = self.file.with_suffix(".tmp")
        state = {
            "fingerprint": self.fingerprint,
            "module": module.state_dict(),
            "optimiser": optimiser.state_dict(),
            "noise": noise.get_state(),
            "progress": asdict(progress),
            "best": best,
        }
        torch.save(state, beside)
        beside.replace(self.file)
        self.saved_at = time.monotonic()


def fingerprint(settings: dict[str, Any], *matrices: csr_matrix) -> str:
    """A digest of parameters and data: equal digests mean that training would do the same."""
    digest = hashlib.blake2b(json.dumps(settings, sort_keys=True).encode(), digest_size=16)
    for matrix in matrices:
        digest.update(repr(matrix.shape).encode())
        for array in (matrix.indptr.astype(np.int64), matrix.indices.astype(np.int64), matrix.data):
            digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()
