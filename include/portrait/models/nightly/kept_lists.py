"""The lists of the last published night, of customers who did nothing since: they may stay for some nights."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from portrait.config import Settings
from portrait.features.weight import fading
from portrait.models.nightly.inputs import Inputs, inputs_of, models_folder, published_before
from portrait.run import Run

TOLERANCE = 2e-5
"""Relative, of a customer's weights: rounding stays below it, and whatever somebody does tonight lies above."""


@dataclass(frozen=True)
class KeptLists:
    """What may be taken over.

    Attributes
    ----------
    lists : as `score.RECOMMENDATION`, strings as dictionaries: spelled out, a million customers' lists are some five gigabytes.
    row : int64 [len(lists)], the row of a line's customer, -1 where that is no more.
    stay : bool [rows of the matrices], whose lists may stay.
    """

    lists: pa.Table
    row: np.ndarray
    stay: np.ndarray

    def split(self, kind: str, version: str, rows: np.ndarray) -> tuple[pa.Table, np.ndarray]:
        """The lists of a kind that stay, and the customers (of `rows`) whose lists are to be made.

        Only lists of the same model stay, of whichever night: another champion lists everybody anew.
        """
        model = version.rsplit("/", 1)[-1]
        asked = np.zeros(len(self.stay), dtype=bool)
        asked[rows] = True
        mask = (self.row >= 0) & (self.stay & asked)[self.row]
        mask &= _looked_up(self.lists["kind"], lambda kinds: pc.equal(kinds, kind))
        mask &= _looked_up(self.lists["model_version"], lambda versions: pc.ends_with(versions, f"/{model}"))
        kept = self.lists.filter(pa.array(mask))
        strings = [f.with_type(pa.string()) if pa.types.is_dictionary(f.type) else f for f in kept.schema]
        return kept.cast(pa.schema(strings)), np.setdiff1d(rows, self.row[mask])


def kept_lists(settings: Settings, run: Run, inputs: Inputs) -> KeptLists | None:
    """None where everybody's lists are to be made: every night by default, on the first one, where the last night's files are gone,
    and after a change of how long lists are.

    A list is renewed when its customer did anything, and by turns, so that none is as old as `renew_lists_every` days.
    """
    every = settings.models.renew_lists_every
    earlier = published_before(settings, run) if every > 1 else None
    if earlier is None:
        return None
    before = Run.of_id(earlier)
    path, former = models_folder(settings, before) / "recommendation.parquet", inputs_of(settings, before)
    if not path.is_file() or not (former.folder / "purchases.parquet").is_file():
        return None
    strings = [f.name for f in pq.read_schema(path) if f.type == pa.string()]
    lists = pq.read_table(path, read_dictionary=strings).unify_dictionaries()
    if pc.max(lists["rank"]).as_py() != settings.models.recommendations:
        return None
    everyone = pa.array(inputs.customers, pa.string())
    row = _looked_up(lists["customer_id"], lambda ids: pc.fill_null(pc.index_in(ids, value_set=everyone), -1))
    # A customer has a day of their own; nights may have been left out since the last one.
    turn = (np.arange(inputs.height) + run.as_of.toordinal()) % every < (run.as_of - before.as_of).days
    faded = fading(before.as_of, run.as_of, settings.features.half_life_days)
    stay = unchanged(former, inputs, faded) & ~turn
    return KeptLists(lists, row.astype(np.int64), stay)


def _looked_up(column: pa.ChunkedArray, found: Callable[[pa.Array], pa.Array]) -> np.ndarray:
    """What `found` says of each value of a column of dictionaries, asked once for each different one."""
    values = found(column.chunk(0).dictionary).to_numpy(zero_copy_only=False)
    places: np.ndarray = np.concatenate([c.indices.to_numpy() for c in column.chunks])
    return np.asarray(values[places])


def unchanged(former: Inputs, inputs: Inputs, faded: float) -> np.ndarray:
    """Bool [rows of `inputs`]: who touched and bought nothing since an earlier night, of whose weights `faded` is left."""
    same = np.zeros(inputs.height, dtype=bool)
    known = min(former.height, inputs.height)
    old, new = former.matrix("full_weights"), inputs.matrix("full_weights")
    then, now = (np.asarray(m.sum(axis=1, dtype=np.float64)).ravel()[:known] for m in (old, new))
    same[:known] = np.isclose(now, then * faded, rtol=TOLERANCE, atol=0)
    for one, other in (
        (np.diff(old.indptr), np.diff(new.indptr)),
        (_purchases(former), _purchases(inputs)),
    ):
        same[:known] &= one[:known] == other[:known]
    return same


def _purchases(inputs: Inputs) -> np.ndarray:
    """int64 [rows]: lines of the log."""
    customer = pq.read_table(inputs.folder / "purchases.parquet", columns=["customer"])["customer"]
    return np.bincount(customer.to_numpy(), minlength=inputs.height)
