"""What tonight's data knows beside the purchases: what customers declared, what products are called, and which are new."""

import logging
from dataclasses import dataclass
from datetime import date

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from scipy.sparse import csr_matrix, hstack

from portrait.config import Settings
from portrait.features.attribution import attribute
from portrait.features.build import features_dir
from portrait.features.cells import last_days
from portrait.features.customer import declared
from portrait.features.engine import small_engine
from portrait.features.state import read_state
from portrait.features.tables import lake_table, products
from portrait.features.text import product_vectors, train_text
from portrait.models.nightly.inputs import Inputs, Part
from portrait.models.profile.predictions import AGE_BAND_FROM
from portrait.models.rerank.side import Side
from portrait.run import Run

log = logging.getLogger(__name__)

WORDS = ("gender", "region", "city", "member_level", "home_store")
"""Declared columns that are a set of words; beside them the age band and how long ago the customer joined."""
JOINED_FROM = (30, 90, 365)
"""Days a member, from which the next band begins."""
NO_QUERIES = pa.table({"query": pa.array([], pa.string()), "count": pa.array([], pa.int64())})


@dataclass(frozen=True)
class Beside:
    """Asked for the end of any part of a night's data.

    Attributes
    ----------
    text : float32 [n_items, t]; of products' words alone: what was searched for after a part must not show in it.
    """

    settings: Settings
    run: Run
    inputs: Inputs
    text: np.ndarray

    def at(self, part: Part) -> Side:
        """What was known on the last day of a part."""
        day = last_days(self.run.as_of, self.settings.models.holdout_days)[part]
        age = np.datetime64(day, "D").astype(int) - self.inputs.launched
        return Side(
            signals={"weight": self.inputs.matrix(f"{part}_weights")},
            profile=profile_at(self.settings, self.run, self.inputs, day),
            text=self.text,
            new=np.where(age >= 0, age, np.nan).astype(np.float32),
        )


def beside(settings: Settings, run: Run, inputs: Inputs) -> Beside:
    """Of the products as the latest delivery has them."""
    with small_engine(settings, settings.run_dir(run.run_id)) as engine:
        found = engine.arrow(products(engine, settings, run.as_of).order_by("sku"))
    place = pc.index_in(pa.array(inputs.items, pa.string()), value_set=found["sku"].combine_chunks())
    there = place.is_valid().to_numpy(zero_copy_only=False)
    row = place.drop_null().to_numpy()
    # Product names alone are few words: too few for skip-gram, and quickly done.
    config = settings.features.text.model_copy(update={"method": "tfidf"})
    model = train_text(found, NO_QUERIES, config, run.seed)
    text = np.zeros((len(there), model.dimensions), np.float32)
    text[there] = product_vectors(model, found)[row]
    return Beside(settings, run, inputs, text)


def profile_at(settings: Settings, run: Run, inputs: Inputs, day: date) -> csr_matrix:
    """float32 [customers, d]: 1 for each thing that a customer had declared by `day`; d is 0 where nobody declared anything."""
    state = read_state(settings, features_dir(settings, run))
    if state is None or not state.owners.is_file():
        log.warning("%s: the features do not say whose member rows are whose: no profiles", run.run_id)
        return csr_matrix((inputs.height, 0), dtype=np.float32)
    with small_engine(settings, settings.run_dir(run.run_id)) as engine:
        member = lake_table(engine, settings, "member", day)
        own = attribute(member, engine.read(state.owners), settings.identity.priority)
        table = engine.arrow(declared(own, settings.features, day).order_by("customer"))
    columns = {name: table[name] for name in WORDS}
    ages = pc.years_between(table["birth_date"], pa.scalar(day))
    columns["age"] = _banded(ages, AGE_BAND_FROM)
    joined = pc.days_between(table["joined_on"], pa.scalar(day))
    columns["joined"] = _banded(joined, JOINED_FROM)
    customer = table["customer"].to_numpy()
    blocks = [_indicators(column, customer, inputs.height) for column in columns.values()]
    return csr_matrix(hstack(blocks, dtype=np.float32))


def _banded(values: pa.ChunkedArray, starts: tuple[int, ...]) -> pa.Array:
    number = values.to_numpy(zero_copy_only=False).astype(float)
    return pa.array(np.searchsorted(starts, number, side="right"), mask=np.isnan(number))


def _indicators(values: pa.ChunkedArray | pa.Array, customer: np.ndarray, height: int) -> csr_matrix:
    """A column a value, in their order."""
    words = pc.unique(values.drop_null()).sort()
    place = pc.index_in(values, value_set=words)
    known = place.is_valid().to_numpy(zero_copy_only=False)
    column = place.drop_null().to_numpy()
    ones = np.ones(len(column), np.float32)
    return csr_matrix((ones, (customer[known], column)), shape=(height, len(words)))
