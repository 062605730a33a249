"""The customer x item matrices that models train on, kept from night to night by their changed rows."""

from collections.abc import Iterator, Mapping
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
from portrait.features.engine import Engine
from portrait.features.weight import fading

CHUNK = 6_000_000
"""Interactions whose cells are counted at a time."""

_TYPES = dict.fromkeys(WEIGHTS, np.float64) | dict.fromkeys(COUNTS, np.float32)


@dataclass(frozen=True)
class Cells:
    """Customers x items: `pointer` int64 [n + 1] and `item` int32 as in CSR, and the values of every matrix.

    Weights are counted at the epoch (`portrait.features.weight`), float64; the others are float32.
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
                values[name].append(found[name].to_numpy().astype(_TYPES[name], copy=False))
        pointer = np.concatenate([[0], np.cumsum(counts)])
        return cls(pointer, np.concatenate(items), {n: np.concatenate(v) for n, v in values.items()})

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Memory-mapped."""
        arrays = {p.stem: np.load(p, mmap_mode="r") for p in folder.glob("*.npy")}
        return cls(arrays.pop("pointer"), arrays.pop("item"), arrays)

    def write(self, folder: Path) -> None:
        folder.mkdir(parents=True)
        for name, array in (("pointer", self.pointer), ("item", self.item), *self.values.items()):
            np.save(folder / f"{name}.npy", array)

    def replaced(self, changed: np.ndarray, fresh: "Cells") -> "Cells":
        """These cells with the rows of `changed` (bool [n], n of `fresh`) taken from `fresh`."""
        n = len(changed)
        kept = ~changed[: len(self.pointer) - 1]
        counts = np.diff(fresh.pointer)
        counts[: len(kept)] += np.where(kept, np.diff(self.pointer), 0)
        pointer = np.concatenate([[0], np.cumsum(counts)])
        stays = np.repeat(kept, np.diff(self.pointer))
        old_to = _targets(pointer, self.pointer, len(kept))[stays]
        new_to = _targets(pointer, fresh.pointer, n)

        def merged(old: np.ndarray, new: np.ndarray) -> np.ndarray:
            made = np.empty(pointer[-1], dtype=new.dtype)
            made[old_to] = old[stays]
            made[new_to] = new
            return made

        values = {name: merged(self.values[name], fresh.values[name]) for name in VALUES}
        return Cells(pointer, merged(self.item, fresh.item), values)

    def matrices(
        self, as_of: date, epoch: date, holdout_days: int, config: FeatureConfig, items: int
    ) -> "Matrices":
        """What the models see: weights as they are on the last day of their part."""
        last = last_days(as_of, holdout_days)
        factors = {f"{part}_weights": fading(epoch, day, config.half_life_days) for part, day in last.items()}
        return Matrices(self, factors, items)


@dataclass(frozen=True)
class Matrices:
    """CSR float32 [customers, items] by name, made one at a time."""

    cells: Cells
    factors: Mapping[str, float]
    items: int

    def __iter__(self) -> Iterator[tuple[str, csr_matrix]]:
        for name in VALUES:
            yield name, self._one(name)

    def _one(self, name: str) -> csr_matrix:
        value = self.cells.values[name]
        there = np.asarray(value > 0)
        data = (value[there] * self.factors.get(name, 1.0)).astype(np.float32)
        before = np.concatenate([[0], np.cumsum(there)])
        pointer = before[self.cells.pointer]
        if pointer[-1] < 2**31:
            pointer = pointer.astype(np.int32)
        shape = (len(self.cells.pointer) - 1, self.items)
        return csr_matrix((data, self.cells.item[there], pointer), shape=shape)


def write_matrices(matrices: Matrices, customers: pa.Table, items: pa.Table, folder: Path) -> None:
    """Write `customers.parquet` (row, customer_id, current), `items.parquet` (col, sku) and a folder for each matrix.

    Rows and columns are the positions of `positions.py`: they never move. A customer who is no more (not
    `current`), or did nothing yet, has an empty row.
    """
    folder.mkdir(parents=True)
    pq.write_table(customers, folder / "customers.parquet", compression="zstd")
    pq.write_table(items, folder / "items.parquet", compression="zstd")
    for name, matrix in matrices:
        write_csr(matrix, folder / name)


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


def _targets(pointer: np.ndarray, own: np.ndarray, rows: int) -> np.ndarray:
    """Where each stored value of the first `rows` rows goes, when rows start at `pointer` in place of `own`."""
    counts = np.diff(own)[:rows]
    shift = np.repeat(pointer[:rows] - own[:rows], counts)
    return shift + np.arange(len(shift))
