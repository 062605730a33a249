"""Checkpoints: what a killed training goes on from."""

import hashlib
import json
import logging
import os
import time
from dataclasses import asdict, dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.sparse import csr_matrix
from torch import Tensor, nn

logger = logging.getLogger(__name__)

CHECKPOINT_FILE = "checkpoint.pt"


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
        """Write beside, then rename: a kill leaves the previous checkpoint whole. What is written lies on the CPU."""
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
        torch.save(on_the_cpu(state), beside)
        beside.replace(self.file)
        self.saved_at = time.monotonic()


def on_the_cpu(state: Any) -> Any:
    """A (nested) dictionary with all its tensors on the CPU, readable on any machine."""
    if isinstance(state, dict):
        return {name: on_the_cpu(value) for name, value in state.items()}
    return state.cpu() if isinstance(state, Tensor) else state


def fingerprint(settings: dict[str, Any], *data: object) -> str:
    """A digest of parameters and data: equal digests mean that training would do the same.

    Data are CSR matrices, arrays, and dataclasses, tuples and lists of these; what else is in them counts as it is printed.
    """
    digest = hashlib.blake2b(json.dumps(settings, sort_keys=True).encode(), digest_size=16)
    for part in data:
        _add(digest, part)
    return digest.hexdigest()


def _add(digest: "hashlib.blake2b", part: object) -> None:
    if isinstance(part, csr_matrix):
        _add(digest, part.shape)
        for array in (part.indptr.astype(np.int64), part.indices.astype(np.int64), part.data):
            digest.update(np.ascontiguousarray(array).data)
    elif isinstance(part, np.ndarray):
        digest.update(f"{part.dtype}{part.shape}".encode())
        digest.update(np.ascontiguousarray(part).data)
    elif is_dataclass(part):
        for each in fields(part):
            _add(digest, getattr(part, each.name))
    elif isinstance(part, list | tuple):
        for each in part:
            _add(digest, each)
    else:
        digest.update(repr(part).encode())
