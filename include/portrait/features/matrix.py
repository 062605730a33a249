"""The customer x item matrices that models train on, kept from night to night by their changed rows."""

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Self

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from ibis.expr import types as ir
from scipy.sparse import csr_matrix

from portrait.config import FeatureConfig
from portrait.features.cells import COUNTS, VALUES, WEIGHTS, last_days
from portrait.features.engine import THREADS, Engine
from portrait.features.ragged import Ragged
from portrait.features.weight import fading

CHUNK = 6_000_000
"""Interactions whose cells are counted at a time."""

_TYPES = dict.fromkeys(WEIGHTS, np.float32) | dict.fromkeys(COUNTS, np.int64)


@dataclass(frozen=True)
class Cells:
    """Customers x items: `pointer` int64 [n + 1] and `item` int32 as in CSR, and the values of every matrix.

    Weights are counted at the epoch (`portrait.features.weight`), float32; the others are the smallest whole numbers
    that hold them: what is written each night is half as much.
    """

    pointer: np.ndarray
    item: np.ndarray
    values: Mapping[str, np.ndarray]

    @classmethod
    def compute(cls, engine: Engine, cell: ir.Table, rows: int, customers: int) -> Self:
        """All cells of a table made by `cells.cells`, a range of customers at a time.

        Parameters
        ----------
        rows : interactions that the table is made of.
        customers : number of positions.
        """
        step = max(1, int(np.ceil(customers / max(1, -(-rows // CHUNK)))))
        counts = np.zeros(customers, dtype=np.int64)
        items: list[np.ndarray] = [np.empty(0, np.int32)]
        values: dict[str, list[np.ndarray]] = {v: [np.empty(0, t)] for v, t in _TYPES.items()}
        for start in range(0, customers, step):
            some = cell.filter((cell.customer >= start) & (cell.customer < start + step))
            found = engine.arrow(some.order_by("customer", "item"))
            counts += np.bincount(found["customer"].to_numpy(), minlength=customers)
            items.append(found["item"].to_numpy())
            for name in VALUES:
                values[name].append(_smallest(found[name].to_numpy(), _TYPES[name]))
        pointer = np.concatenate([[0], np.cumsum(counts)])
        joined = {n: _smallest(np.concatenate(v[1:] or v), _TYPES[n]) for n, v in values.items()}
        return cls(pointer, np.concatenate(items), joined)

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Memory-mapped."""
        return cls._of(Ragged.read(folder))

    @classmethod
    def _of(cls, found: Ragged) -> Self:
        return cls(found.pointer, found.values["item"], {n: found.values[n] for n in VALUES})

    def _ragged(self) -> Ragged:
        return Ragged(self.pointer, {"item": self.item, **self.values})

    def write(self, folder: Path) -> None:
        self._ragged().write(folder)

    def replaced(self, changed: np.ndarray, fresh: "Cells") -> "Cells":
        """These cells with the rows of `changed` (bool [n], n of `fresh`) taken from `fresh`."""
        return self._of(self._ragged().replaced(changed, fresh._ragged()))

    def matrices(
        self, as_of: date, epoch: date, holdout_days: int, config: FeatureConfig, items: int
    ) -> "Matrices":
        """What the models see: weights as they are on the last day of their part."""
        last = last_days(as_of, holdout_days)
        factors = {f"{part}_weights": fading(epoch, day, config.half_life_days) for part, day in last.items()}
        return Matrices(self, factors, items)


@dataclass(frozen=True)
class Matrices:
    """CSR float32 [customers, items] by name, made when asked for."""

    cells: Cells
    factors: Mapping[str, float]
    items: int

    def one(self, name: str) -> csr_matrix:
        """The matrix of one of `VALUES`."""
        value = self.cells.values[name]
        pointer, item = self.cells.pointer, self.cells.item
        there = value > 0
        number = int(np.count_nonzero(there))
        if number < len(value):
            before = np.concatenate([[0], np.cumsum(there, dtype=np.int32 if number < 2**31 else np.int64)])
            pointer, item, value = before[pointer], item[there], value[there]
        # A product of float32 and a double is rounded once.
        data = np.multiply(value, self.factors.get(name, 1.0), dtype=np.float64).astype(np.float32)
        shape = (len(pointer) - 1, self.items)
        return csr_matrix((data, item, pointer.astype(np.int32 if number < 2**31 else np.int64)), shape=shape)


def write_matrices(matrices: Matrices, customers: pa.Table, items: pa.Table, folder: Path) -> None:
    """Write `customers.parquet` (row, customer_id, current), `items.parquet` (col, sku, launched_on) and a folder for each matrix.

    Rows and columns are the positions of `positions.py`: they never move. A customer who is no more (not
    `current`), or did nothing yet, has an empty row.
    """
    folder.mkdir(parents=True)
    pq.write_table(customers, folder / "customers.parquet", compression="zstd")
    pq.write_table(items, folder / "items.parquet", compression="zstd")
    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(lambda name: write_csr(matrices.one(name), folder / name), VALUES))


def write_csr(matrix: csr_matrix, folder: Path) -> None:
    """`data.npy`, `indices.npy`, `indptr.npy`, which training maps into memory, and `shape.npy`."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("data", "indices", "indptr"):
        np.save(folder / f"{name}.npy", getattr(matrix, name))
    np.save(folder / "shape.npy", np.array(matrix.shape, dtype=np.int64))


def read_csr(folder: Path, columns: int | None = None) -> csr_matrix:
    """A matrix written by `write_csr`, memory-mapped and read-only.

    Parameters
    ----------
    columns : its width, at least one more than the last column in use; as written by default.
    """
    data, indices, indptr = (
        np.load(folder / f"{n}.npy", mmap_mode="r") for n in ("data", "indices", "indptr")
    )
    rows, width = np.load(folder / "shape.npy")
    matrix = csr_matrix((int(rows), int(columns if columns is not None else width)), dtype=data.dtype)
    # The constructor would read everything to check it.
    matrix.data, matrix.indices, matrix.indptr = data, indices, indptr
    matrix.has_sorted_indices = matrix.has_canonical_format = True
    return matrix


def _smallest(values: np.ndarray, kind: np.dtype | type) -> np.ndarray:
    """Weights as they are kept, and counts as the smallest unsigned integers that hold them."""
    if kind == np.float32:
        return values.astype(np.float32, copy=False)
    return values.astype(np.min_scalar_type(int(values.max(initial=0))), copy=False)
