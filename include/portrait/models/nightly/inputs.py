"""What the feature stage left for the models of a run."""

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from scipy.sparse import csr_matrix

from portrait.config import Settings
from portrait.drafts import draft_of
from portrait.features.matrix import read_csr
from portrait.models.base import Recommender
from portrait.run import Run
from portrait.warehouse import open_warehouse

VALIDATION_SHARE = 0.1

Part = Literal["full", "train", "validation"]
"""What was known on as_of, `holdout_days` before it, and twice as many before it."""


@dataclass(frozen=True)
class Inputs:
    """The matrices of a run (CSR float32 [customers, items]), memory-mapped and read-only.

    Rows and columns are positions that never move; customers who are no more, or did nothing yet, have empty rows.
    """

    folder: Path

    def matrix(self, name: str) -> csr_matrix:
        """`train_weights`, `train_bought`, `target`, `validation_weights`, `validation_target`,
        `full_weights` or `full_bought`."""
        return read_csr(self.folder / name, self.width)

    @cached_property
    def width(self) -> int:
        """Columns up to the last item that anybody touched, or that is new in the shop.

        The item index also holds what later nights appended; an earlier night that is run again must not differ.
        """
        touched = max(_last_column(self.folder / f"full_{name}") for name in ("weights", "bought"))
        new = np.flatnonzero(~np.isnan(self._launched))
        return 1 + max(touched, int(new.max(initial=-1)))

    @property
    def launched(self) -> np.ndarray:
        """float64 [items]: day since 1970 from which an item is sold, of those new in the shop; NaN of all others."""
        return self._launched[: self.width]

    @cached_property
    def _launched(self) -> np.ndarray:
        table = pq.read_table(self.folder / "items.parquet")
        if "launched_on" not in table.column_names:  # features of an earlier version
            return np.full(table.num_rows, np.nan)
        days: np.ndarray = table.sort_by("col")["launched_on"].cast(pa.int32()).to_numpy()
        return days.astype(float)

    @cached_property
    def height(self) -> int:
        """Rows of the matrices: positions of customers."""
        return int(np.load(self.folder / "full_weights" / "shape.npy")[0])

    @property
    def customers(self) -> np.ndarray:
        """customer_id of each row, object [customers]."""
        return pq.read_table(self.folder / "customers.parquet").sort_by("row")["customer_id"].to_numpy()

    @property
    def current(self) -> np.ndarray:
        """Rows of the customers there are today, int64."""
        table = pq.read_table(self.folder / "customers.parquet").sort_by("row")
        return np.flatnonzero(table["current"].to_numpy())

    @property
    def items(self) -> np.ndarray:
        """sku of each column, object [items]."""
        skus: np.ndarray = pq.read_table(self.folder / "items.parquet").sort_by("col")["sku"].to_numpy()
        return skus[: self.width]


def _last_column(folder: Path) -> int:
    """-1 for an empty matrix."""
    return int(np.load(folder / "indices.npy", mmap_mode="r").max(initial=-1))


def inputs_of(settings: Settings, run: Run) -> Inputs:
    return Inputs(settings.run_dir(run.run_id) / "features" / "matrix")


def models_folder(settings: Settings, run: Run) -> Path:
    """Where the model stages of a run leave what the next one needs."""
    return settings.run_dir(run.run_id) / "models"


def runtime(
    settings: Settings, model: type[Recommender], checkpoint_dir: Path, start_from: Path | None = None
) -> dict[str, Any]:
    """Parameters that say how, not what, a model trains."""
    return model.taken(
        threads=settings.models.threads,
        device=settings.models.device,
        checkpoint_dir=str(checkpoint_dir),
        start_from=str(start_from) if start_from else None,
    )


def validation_split(inputs: Inputs, seed: int) -> tuple[csr_matrix, tuple[csr_matrix, csr_matrix] | None]:
    """Training rows, and a validation pair of customers that are not among them.

    The pair is what these customers did until `holdout_days` before the cut-off, and what they bought between
    then and the cut-off: the same question as the night's evaluation, one window earlier. Who buys in the
    window decides who is in the pair, and a lot that a customer keeps: of those a model that goes on has seen hardly any before.
    """
    train = inputs.matrix("train_weights")
    target = inputs.matrix("validation_target")
    buyers = np.flatnonzero(np.diff(target.indptr))
    lot = np.random.default_rng(seed).random(train.shape[0])  # a customer's stays, however many there are
    held = buyers[np.argsort(lot[buyers])[: int(len(buyers) * VALIDATION_SHARE)]]
    if not len(held):
        return train, None
    held.sort()
    kept = np.setdiff1d(np.arange(train.shape[0]), held)
    return train[kept], (inputs.matrix("validation_weights")[held], target[held])


def published_before(settings: Settings, run: Run) -> str | None:
    """The run published last of those for earlier dates."""
    found = open_warehouse(settings).scalar(
        "select run_id from ops.run where as_of < :d and status = 'published' "
        "order by as_of desc, finished_at desc limit 1",
        d=run.as_of,
    )
    return str(found) if found is not None else None


def write_json(path: Path, content: Any) -> None:
    """Write a small result for the next stage, whole or not at all."""
    with draft_of(path) as draft:
        draft.write_text(json.dumps(content))
