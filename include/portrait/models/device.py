"""Which device a PyTorch model is trained and asked on, and what differs from device to device."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from portrait.errors import PortraitError
from portrait.models.workers import workers

CPU = torch.device("cpu")
CELLS_ON_A_GPU = 1 << 26
"""Cells of a matrix (256 MB of float32) that keep a GPU busy."""


def chosen(device: str) -> torch.device:
    """The device that a runtime parameter `device` means.

    Parameters
    ----------
    device : str
        "auto" (a CUDA GPU where there is one, else the CPU) or a device of torch's: "cpu", "cuda", "cuda:1". Without a
        number, each of the processes that `torchrun` started on a machine takes the next of its GPUs.

    Raises
    ------
    PortraitError
        If torch knows no such device, or it is a GPU that is not there.
    """
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        found = torch.device(device)
    except RuntimeError as error:
        raise PortraitError(
            f"device {device!r} is none that torch knows ({str(error).splitlines()[0]}); set auto, cpu, cuda or cuda:1"
        ) from error
    return _gpu(found) if found.type == "cuda" else found


def _gpu(asked: torch.device) -> torch.device:
    if not torch.cuda.is_available():
        why = "no GPU is visible" if torch.backends.cuda.is_built() else "this torch is built without CUDA"
        raise PortraitError(
            f"device '{asked}' is asked for, but {why} (torch {torch.__version__}); install a CUDA build of torch on a machine "
            "with an NVIDIA GPU and its driver, or set device to cpu or auto"
        )
    count = torch.cuda.device_count()
    number = workers().place % count if asked.index is None else asked.index
    if number >= count:
        raise PortraitError(
            f"device '{asked}' is asked for, but of the {count} GPUs the last is cuda:{count - 1}; set device to one of them or auto"
        )
    # Read with the first product on a GPU; without it cuBLAS may add up in another order each time.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    return torch.device("cuda", number)


@contextmanager
def repeatable(device: torch.device) -> Iterator[None]:
    """Inside the block a GPU adds up in the same order each time, as the CPU does anyway.

    Then one GPU (of the same kind, with the same versions of torch and CUDA) gives the same numbers from the same data,
    parameters and seed. What torch has no such kernel for makes it warn and go on. Another kind of device differs in the last
    digits, which training makes larger.
    """
    if device.type != "cuda":
        yield
        return
    before, warned = (
        torch.are_deterministic_algorithms_enabled(),
        torch.is_deterministic_algorithms_warn_only_enabled(),
    )
    torch.use_deterministic_algorithms(True, warn_only=True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before, warn_only=warned)


def cells_at_once(device: torch.device, on_the_cpu: int) -> int:
    """Cells of a matrix to work on together: there as many as stay in a cache, on a GPU as many as keep it busy."""
    return on_the_cpu if device.type == "cpu" else CELLS_ON_A_GPU
