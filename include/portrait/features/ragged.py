"""Rows of different lengths in flat arrays, and how some of them are exchanged without touching the order of the others."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np


@dataclass(frozen=True)
class Ragged:
    """`pointer` int64 [n + 1] as in CSR: row i has the values from pointer[i] to pointer[i + 1] of each array."""

    pointer: np.ndarray
    values: Mapping[str, np.ndarray]

    @classmethod
    def of_rows(cls, row: np.ndarray, rows: int, values: Mapping[str, np.ndarray]) -> Self:
        """From the row of each value, in order."""
        counts = np.bincount(row, minlength=rows)
        return cls(np.concatenate([[0], np.cumsum(counts)]).astype(np.int64), values)

    @property
    def rows(self) -> int:
        return len(self.pointer) - 1

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Memory-mapped."""
        arrays = {p.stem: np.load(p, mmap_mode="r") for p in sorted(folder.glob("*.npy"))}
        return cls(arrays.pop("pointer"), arrays)

    def write(self, folder: Path) -> None:
        folder.mkdir(parents=True)
        for name, array in (("pointer", self.pointer), *self.values.items()):
            np.save(folder / f"{name}.npy", array)

    def replaced(self, changed: np.ndarray, fresh: "Ragged") -> "Ragged":
        """These rows with those of `changed` (bool [n], n of `fresh`) taken from `fresh`, which has no others."""
        kept = ~changed[: self.rows]
        counts = np.diff(fresh.pointer)
        own = np.diff(self.pointer)
        counts[: self.rows] += np.where(kept, own, 0)
        pointer = np.concatenate([[0], np.cumsum(counts)])
        # Both sides are in the order of rows: a mask says where each comes from, and no place has to be computed.
        stays, new = np.repeat(kept, own), np.repeat(changed, counts)
        old = ~new

        def merged(before: np.ndarray, after: np.ndarray) -> np.ndarray:
            made = np.empty(pointer[-1], dtype=np.result_type(before.dtype, after.dtype))
            made[old] = before[stays]
            made[new] = after
            return made

        return Ragged(pointer, {n: merged(self.values[n], fresh.values[n]) for n in fresh.values})
