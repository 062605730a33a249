"""A saved model whose big arrays lie in memory once, however many workers score with it."""

import fcntl
import os
import shutil
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from portrait.models import Recommender, load, model_class
from portrait.models.base import ARRAYS_FILE, read_metadata

SHARED_BYTES = 1_000_000
"""Arrays below it are not worth a file."""


def load_mapped(folder: Path, cache: Path, threads: int = 1) -> Recommender:
    """The model in `folder`, its arrays memory-mapped from files under `cache`, read-only.

    The files are made by the first who asks: the operating system then keeps one copy for all processes. Of a model
    that reads its state in its own way the arrays are exchanged after it was loaded (a torch module stays private, and on the
    CPU: one customer at a time is nothing for a GPU, whose memory each worker would take for itself).

    Raises
    ------
    PortraitError : when there is no readable model in the folder.
    """
    cache.mkdir(parents=True, exist_ok=True)
    with _alone(cache / ".lock"):
        metadata = read_metadata(folder)
        cls = model_class(metadata["model"])
        if cls._load_state is not Recommender._load_state:
            model = load(folder, threads, device="cpu")
            _exchange(model, cache / "arrays")
            return model
        arrays = cache / "arrays"
        if not arrays.is_dir():
            _unpack(folder / ARRAYS_FILE, arrays)
        model = cls(**metadata["params"])
        model.n_items, model.seed = metadata["n_items"], metadata["seed"]
        for file in arrays.glob("*.npy"):
            setattr(model, file.stem, np.load(file, mmap_mode="r", allow_pickle=False))
        return model


def _unpack(packed: Path, target: Path) -> None:
    """`NAME.npy` for each array of an .npz, without reading them into memory; whole or not at all."""
    beside = Path(tempfile.mkdtemp(prefix=".unpacking.", dir=target.parent))
    try:
        with zipfile.ZipFile(packed) as archive:
            for member in archive.namelist():
                with archive.open(member) as source, (beside / Path(member).name).open("wb") as file:
                    shutil.copyfileobj(source, file, 1 << 20)
        beside.rename(target)
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def _exchange(model: Recommender, folder: Path) -> None:
    """Put mapped files in the place of a loaded model's big arrays, and of those of the models inside it."""
    for name, value in vars(model).items():
        if isinstance(value, np.ndarray) and value.nbytes >= SHARED_BYTES and value.dtype != object:
            setattr(model, name, _written(value, folder / f"{name}.npy"))
        elif isinstance(value, list):
            for position, inner in enumerate(value):
                if isinstance(inner, Recommender):
                    _exchange(inner, folder / f"{name}_{position}")


def _written(array: np.ndarray, file: Path) -> np.ndarray:
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        draft = file.with_name(f".{file.name}.{os.getpid()}")
        with draft.open("wb") as opened:
            np.save(opened, array)
        draft.replace(file)
    mapped: np.ndarray = np.load(file, mmap_mode="r", allow_pickle=False)
    return mapped


@contextmanager
def _alone(file: Path) -> Iterator[None]:
    """One process at a time: two that load at once would hold two copies."""
    with file.open("w") as opened:
        fcntl.flock(opened, fcntl.LOCK_EX)
        yield
