"""What the PyTorch models share: sparse batches, threads and the training loop."""

import ctypes
import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple, TypeVar

import numpy as np
import torch
from scipy.sparse import csr_matrix
from torch import Tensor, nn

from portrait.errors import PortraitError
from portrait.models.checkpoint import Checkpoint, Progress
from portrait.models.device import CPU, repeatable
from portrait.models.workers import Workers, workers

logger = logging.getLogger(__name__)

Module = TypeVar("Module", bound=nn.Module)

_MMAP_THRESHOLD, _TRIM_THRESHOLD = -3, -1
"""M_MMAP_THRESHOLD and M_TRIM_THRESHOLD of glibc's malloc.h."""


class SparseBatch(NamedTuple):
    """Some rows of a CSR matrix in the form `F.embedding_bag` takes.

    `items` int64 [nnz], `offsets` int64 [n] (where each row starts), `weights` float32 [nnz] and
    `rows` int64 [nnz] (which row each value belongs to).
    """

    items: Tensor
    offsets: Tensor
    weights: Tensor
    rows: Tensor


def sparse_batch(matrix: csr_matrix, device: torch.device = CPU) -> SparseBatch:
    """A CSR matrix (a chunk of rows) as tensors on a device; nothing dense is made."""
    rows = np.repeat(np.arange(matrix.shape[0], dtype=np.int64), np.diff(matrix.indptr))
    return SparseBatch(
        items=torch.from_numpy(matrix.indices.astype(np.int64)).to(device),
        offsets=torch.from_numpy(matrix.indptr[:-1].astype(np.int64)).to(device),
        weights=torch.from_numpy(matrix.data.astype(np.float32)).to(device),
        rows=torch.from_numpy(rows).to(device),
    )


@contextmanager
def torch_threads(threads: int) -> Iterator[None]:
    """Cap torch's threads inside the block; 0 means this process's part of the cores that it may run on."""
    before = torch.get_num_threads()
    torch.set_num_threads(workers().cores(threads))
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def memory_kept() -> Iterator[None]:
    """Let the C library keep freed memory inside the block, and give it back to the system at its end.

    A step of a large network frees and takes blocks of tens of megabytes. By default each of them comes from the system
    as new pages, which must be cleared: a third of the time of a step with 20,000 items. Only glibc is asked.
    """
    try:
        library = ctypes.CDLL("libc.so.6")
        library.mallopt(_MMAP_THRESHOLD, 1 << 30)
        library.mallopt(_TRIM_THRESHOLD, (1 << 31) - 1)
    except (OSError, AttributeError):
        yield
        return
    try:
        yield
    finally:
        library.mallopt(_MMAP_THRESHOLD, 128 << 10)
        library.mallopt(_TRIM_THRESHOLD, 128 << 10)
        library.malloc_trim(0)


def generator(seed: int) -> torch.Generator:
    """A private source of randomness, so that nobody else's draws move ours.

    It draws on the CPU for every device: the numbers are the same, and a checkpoint goes on elsewhere.
    """
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


def take_over(module: nn.Module, before: nn.Module) -> None:
    """Copy the parameters of an earlier module of the same kind; what a parameter has more along a dimension stays.

    Items are only ever appended, so that the earlier module's items are the first ones of this one.

    Raises
    ------
    PortraitError
        If the earlier module has other parameters, or larger ones.
    """
    own, earlier = module.state_dict(), before.state_dict()
    fits = own.keys() == earlier.keys() and all(
        own[name].dim() == value.dim()
        and all(a >= b for a, b in zip(own[name].shape, value.shape, strict=True))
        for name, value in earlier.items()
    )
    if not fits:
        raise PortraitError("the model to start from is of another network, or knows more items")
    with torch.no_grad():
        for name, value in earlier.items():
            own[name][tuple(slice(size) for size in value.shape)] = value


def adam(module: nn.Module, learning_rate: float, weight_decay: float = 0.0) -> torch.optim.Adam:
    """The optimiser of all models, for a module that lies where it will be trained."""
    fused = next(module.parameters()).device.type in ("cpu", "cuda")
    return torch.optim.Adam(module.parameters(), lr=learning_rate, weight_decay=weight_decay, fused=fused)


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
    judge_start: bool = False,
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
    judge_start : bool
        Validate once before the first step, so that a start that no epoch improves on stays as it is (an entry of the log with
        epoch -1, and no loss).
    patience : int
        Stop after so many epochs without a better score; 0 never stops early.

    Raises
    ------
    PortraitError
        If the loss is no longer finite.
    """
    group = workers()
    noise = generator(seed)
    best: dict[str, Tensor] = {}
    progress = Progress()
    if checkpoint is not None:
        progress, best = checkpoint.restore(module, optimiser, noise) or (progress, best)
    if group.rank:  # each process has noise of its own
        noise = generator(seed + group.rank * 1_000_003 + progress.step)

    def judge(entry: dict[str, Any], judged: Callable[[], float]) -> None:
        nonlocal best
        entry["score"] = group.agreed(judged)
        if entry["score"] > progress.best:
            progress.best, progress.best_epoch = entry["score"], entry["epoch"]
            best = {name: value.clone() for name, value in module.state_dict().items()}

    with memory_kept(), repeatable(next(module.parameters()).device):
        if judge_start and validate is not None and progress.step == 0:
            module.eval()
            start: dict[str, Any] = {"epoch": -1}
            judge(start, validate)
            logger.info("the start's validation %.4f", start["score"])
            progress.log.append(start)
        while progress.epoch < epochs and not _out_of_patience(progress, patience):
            started = time.monotonic()
            order = np.random.default_rng([seed, progress.epoch]).permutation(n_rows)
            module.train()
            while progress.next_row < n_rows:
                rows = order[progress.next_row : progress.next_row + batch_size]
                loss = _step(module, optimiser, batch_loss, rows, progress.step, noise, group)
                progress.loss_sum += _finite(loss, progress.epoch) * len(rows)
                progress.next_row += len(rows)
                progress.step += 1
                if checkpoint is not None and group.first:
                    checkpoint.save_if_due(module, optimiser, noise, progress, best)

            module.eval()
            entry: dict[str, Any] = {"epoch": progress.epoch, "loss": progress.loss_sum / n_rows}
            if validate is not None and (progress.epoch + 1) % validate_every == 0:
                judge(entry, validate)
            logger.info("%s (%.1f s)", _describe(entry, epochs, progress), time.monotonic() - started)
            progress.log.append(entry)
            progress.epoch, progress.next_row, progress.loss_sum = progress.epoch + 1, 0, 0.0

    if checkpoint is not None and group.first:
        checkpoint.save(module, optimiser, noise, progress, best)
    if best:
        module.load_state_dict(best)
    module.eval()
    return progress


def _step(
    module: nn.Module,
    optimiser: torch.optim.Optimizer,
    batch_loss: Callable[[np.ndarray, int, torch.Generator], Tensor],
    rows: np.ndarray,
    step: int,
    noise: torch.Generator,
    group: Workers,
) -> float:
    """One step on all rows, of which this process takes its share; the mean loss of all of them."""
    own, counts_for = group.share(rows)
    loss = batch_loss(own, step, noise) * counts_for if group.count > 1 else batch_loss(own, step, noise)
    optimiser.zero_grad(set_to_none=True)
    loss.backward()
    total = group.add_up(module, loss.detach())
    optimiser.step()
    return total


def _out_of_patience(progress: Progress, patience: int) -> bool:
    return 0 < patience <= progress.epoch - 1 - progress.best_epoch and np.isfinite(progress.best)


def _finite(loss: float, epoch: int) -> float:
    if not np.isfinite(loss):
        raise PortraitError(f"training diverged in epoch {epoch + 1} (loss {loss}): lower learning_rate")
    return loss


def _describe(entry: dict[str, Any], epochs: int, progress: Progress) -> str:
    text = f"epoch {entry['epoch'] + 1}/{epochs} loss {entry['loss']:.5g}"
    if "score" in entry:
        text += f" validation {entry['score']:.4f} (best {progress.best:.4f} in {progress.best_epoch + 1})"
    return text
