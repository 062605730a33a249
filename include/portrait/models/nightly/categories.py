"""The category of each item of a night."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from portrait.config import Settings
from portrait.features.engine import small_engine
from portrait.features.tables import products
from portrait.models.nightly.inputs import Inputs
from portrait.run import Run

UNKNOWN = -1


@dataclass(frozen=True)
class Categories:
    """Categories as the features call them (the second level, else the first).

    Attributes
    ----------
    names : object [categories], ascending.
    of_item : int32 [n_items], place in `names`, -1 for an item that no product file names or that has none.
    """

    names: np.ndarray
    of_item: np.ndarray


def categories_of(settings: Settings, run: Run, inputs: Inputs) -> Categories:
    """Of the items that tonight's matrices have; products are the latest that were delivered up to as_of."""
    with small_engine(settings, settings.run_dir(run.run_id)) as engine:
        found = engine.arrow(products(engine, settings, run.as_of).select("sku", "category").order_by("sku"))
    found = found.filter(found["category"].is_valid())
    named = np.asarray(found["category"].to_pylist(), dtype=object)
    names, place = np.unique(named, return_inverse=True)
    row = pc.index_in(pa.array(inputs.items, pa.string()), value_set=found["sku"].combine_chunks())
    of_item = np.full(len(row), UNKNOWN, dtype=np.int32)
    known = row.is_valid().to_numpy(zero_copy_only=False)
    of_item[known] = place[row.drop_null().to_numpy()]
    return Categories(names, of_item)
