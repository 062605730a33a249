"""What each customer did, as the models see it: the published night's matrices, mapped into memory."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.sparse import csr_matrix

from portrait.config import Settings
from portrait.models.nightly.inputs import Inputs, inputs_of
from portrait.run import Run


@dataclass(frozen=True)
class Row:
    """One customer's items: columns int32, weights float32, and the columns of what was bought."""

    items: np.ndarray
    weights: np.ndarray
    bought: np.ndarray


NOTHING = Row(np.empty(0, np.int32), np.empty(0, np.float32), np.empty(0, np.int32))


class Histories:
    """The rows of one run by customer id, and the columns by sku."""

    def __init__(self, inputs: Inputs, cache: Path) -> None:
        self._weights, self._bought = inputs.matrix("full_weights"), inputs.matrix("full_bought")
        self._ids, self._rows = _sorted_ids(inputs, cache)
        self.skus: list[str] = inputs.items.tolist()
        self.columns: dict[str, int] = {sku: column for column, sku in enumerate(self.skus)}

    def row(self, customer_id: str) -> Row:
        """Their row; empty for one who did nothing yet, or came after the night."""
        key = customer_id.encode()
        place = int(np.searchsorted(self._ids, key))
        if place == len(self._ids) or self._ids[place] != key:
            return NOTHING
        row = int(self._rows[place])
        items, weights = _cells(self._weights, row)
        return Row(items, weights, _cells(self._bought, row)[0])


def open_histories(settings: Settings, run: Run, cache: Path) -> Histories | None:
    """The histories of a run; None where its files are not on this machine."""
    inputs = inputs_of(settings, run)
    return Histories(inputs, cache) if (inputs.folder / "customers.parquet").is_file() else None


def _cells(matrix: csr_matrix, row: int) -> tuple[np.ndarray, np.ndarray]:
    start, end = int(matrix.indptr[row]), int(matrix.indptr[row + 1])
    return np.array(matrix.indices[start:end]), np.array(matrix.data[start:end])


def _sorted_ids(inputs: Inputs, cache: Path) -> tuple[np.ndarray, np.ndarray]:
    """Customer ids (bytes, sorted) and the row of each, mapped: a million texts would weigh on every worker."""
    cache.mkdir(parents=True, exist_ok=True)
    files = cache / "customer_id.npy", cache / "row.npy"
    if not all(f.is_file() for f in files):
        ids = np.char.encode(inputs.customers.astype(str), "utf-8")
        order = np.argsort(ids, kind="stable")
        for file, array in zip(files, (ids[order], order.astype(np.int32)), strict=True):
            draft = file.with_name(f".{file.name}.{np.random.default_rng().integers(1 << 62)}")
            with draft.open("wb") as opened:
                np.save(opened, array)
            draft.replace(file)
    mapped = [np.load(f, mmap_mode="r") for f in files]
    return mapped[0], mapped[1]
