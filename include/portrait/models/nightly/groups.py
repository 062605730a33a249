"""Groups of customers by which a night's evaluation is split, and the figures of each."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from portrait.config import Settings
from portrait.models.evaluation import Evaluation, bootstrap_interval
from portrait.models.nightly.inputs import Inputs, published_before
from portrait.run import Run
from portrait.warehouse import open_warehouse

Groups = dict[tuple[str, str], np.ndarray]
"""(dimension, group) -> bool [rows of the matrices]."""

LIGHT = 5
"""Distinct items bought, up to which a customer counts as light."""
EXACT = 20_000
"""Customers up to whom intervals are bootstrapped; beyond, the normal interval is the same to the third digit."""


@dataclass(frozen=True)
class GroupFigure:
    """The mean of a metric over a group's customers with a 95 % interval."""

    task: str
    dimension: str
    group: str
    metric: str
    k: int
    value: float
    low: float
    high: float
    customers: int


def groups(settings: Settings, run: Run, inputs: Inputs) -> Groups:
    """By what was known before the cut-off (history: cold bought nothing, light up to five items, regular more), by where
    the customer is seen (channel: online, store, both; as of the night), and by the segment that the last published
    night had put them in (its number)."""
    items = np.diff(inputs.matrix("train_bought").indptr)
    found: Groups = {
        ("all", "all"): np.ones(len(items), dtype=bool),
        ("history", "cold"): items == 0,
        ("history", "light"): (items > 0) & (items <= LIGHT),
        ("history", "regular"): items > LIGHT,
    }
    activity = inputs.folder.parent / "activity.parquet"
    if activity.is_file():
        found |= _channels(activity, inputs.customers)
    earlier = published_before(settings, run)
    return found | _segments(settings, earlier, inputs.customers) if earlier else found


def _channels(path: Path, customers: np.ndarray) -> Groups:
    seen = pq.read_table(path, columns=["customer_id", "online_events", "store_receipts"]).to_pydict()
    row = {customer: place for place, customer in enumerate(customers)}
    online, store = (np.zeros(len(customers), dtype=bool) for _ in range(2))
    for customer, events, receipts in zip(*seen.values(), strict=True):
        online[row[customer]], store[row[customer]] = events > 0, receipts > 0
    return {
        ("channel", "online"): online & ~store,
        ("channel", "store"): store & ~online,
        ("channel", "both"): online & store,
    }


def _segments(settings: Settings, run_id: str, customers: np.ndarray) -> Groups:
    """Of the customers whom that run put in one; none once its tables are dropped."""
    table = open_warehouse(settings).read_arrow(
        f"select customer_id, segment_id from profile_store.segment where run_id = '{run_id}'"
    )
    place = pc.index_in(table["customer_id"], value_set=pa.array(customers, pa.string()))
    still = pc.and_(place.is_valid(), table["segment_id"].is_valid())
    row, segment = (column.filter(still).to_numpy() for column in (place, table["segment_id"]))
    of_row = np.zeros(len(customers), dtype=np.int64)
    of_row[row] = segment
    return {("segment", str(number)): of_row == number for number in np.unique(segment)}


def figures(evaluation: Evaluation, found: Groups, seed: int) -> Iterator[GroupFigure]:
    """Of each group that has customers in a task."""
    for (task, metric, k), values in evaluation.per_user.items():
        for (dimension, group), member in found.items():
            theirs = values[member[evaluation.users[task]]]
            if len(theirs):
                low, high = interval(theirs, seed)
                yield GroupFigure(
                    task, dimension, group, metric, k, float(theirs.mean()), low, high, len(theirs)
                )


def interval(values: np.ndarray, seed: int) -> tuple[float, float]:
    """95 % of the mean: percentile bootstrap of 1,000 samples; NaN for a single customer."""
    if len(values) < 2:
        return np.nan, np.nan
    if len(values) > EXACT:
        error = 1.96 * float(values.std(ddof=1)) / len(values) ** 0.5
        return float(values.mean()) - error, float(values.mean()) + error
    return bootstrap_interval(values, seed, resamples=1000)
