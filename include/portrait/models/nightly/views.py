"""All views of the customers as they were on a day, and what came after it, from the facts of a run.

Whatever is asked of a day looks at rows dated up to it; only labels look at the days after it, and not beyond the
end of the training window.
"""

from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeVar

import ibis
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from ibis.expr import types as ir
from scipy.sparse import csr_matrix

from portrait.config import Settings
from portrait.errors import PortraitError
from portrait.features.attribution import attribute, without_codes
from portrait.features.build import features_dir
from portrait.features.catalogue import catalogue
from portrait.features.customer import declared
from portrait.features.engine import Engine, open_engine
from portrait.features.facts import PARTS, fact_rows
from portrait.features.families.wide import features_at
from portrait.features.preprocess import Preprocessor
from portrait.features.searches import searches
from portrait.features.sequence import sequences
from portrait.features.state import read_state
from portrait.features.tables import lake_table, products, visible
from portrait.features.text import (
    TextModel,
    asked_queries,
    customer_interest,
    load_model,
    product_vectors,
    searched_touches,
    train_text,
)
from portrait.features.weight import days_before, epoch_of, fading, weight_at
from portrait.models.events import Events
from portrait.models.profile.examples import UNKNOWN, Examples, Group, Labels, Meaning
from portrait.models.profile.predictions import AGE_BAND_FROM, AGE_BANDS
from portrait.models.profile.views import Views
from portrait.run import Run

T = TypeVar("T")

PURCHASE_DAYS, SPEND_DAYS = 30, 90
"""Windows of the purchase (and next category) and of the spend."""


@dataclass(frozen=True)
class NightRows:
    """The attributed interactions of a run, ready to be asked about any day."""

    engine: Engine
    settings: Settings
    run: Run
    rows: ir.Table
    owners: ir.Table
    customers: int
    skus: pa.ChunkedArray
    text_model: Path
    answers: dict[Any, Any] = field(default_factory=dict, repr=False)

    def once(self, question: Hashable, answer: Callable[[], T]) -> T:
        """What a question was answered the first time: training windows overlap and ask the same of the same days."""
        if question not in self.answers:
            self.answers[question] = answer()
        found: T = self.answers[question]
        return found

    @property
    def first_day(self) -> date | None:
        """Date of the first interaction."""
        found: date | None = self.engine.arrow(self.rows.aggregate(day=self.rows.business_date.min()))["day"][
            0
        ].as_py()
        return found

    def until(self, day: date) -> ir.Table:
        return visible(self.rows, day)


@contextmanager
def night_rows(settings: Settings, run: Run) -> Iterator[NightRows]:
    """Open the facts that the run's features were made from.

    Raises
    ------
    PortraitError : when they are gone, because a later night replaced them.
    """
    folder = features_dir(settings, run)
    state = read_state(settings, folder)
    if state is None or not (state.facts.is_there and state.owners.is_file()):
        raise PortraitError(
            f"the facts that the features of {run.run_id} were made from are gone; "
            f"run `portrait features --run {run.run_id}` first"
        )
    with (
        TemporaryDirectory(dir=settings.run_dir(run.run_id), prefix="views.") as working,
        open_engine(settings, Path(working)) as engine,
    ):
        owners = engine.read(state.owners)
        parts = [fact_rows(engine, state.facts, part, run.as_of) for part in PARTS]
        attributed = [without_codes(attribute(p, owners, settings.identity.priority)) for p in parts]
        rows = ibis.union(*attributed)
        rows = rows.filter(rows.customer.notnull())
        epoch = epoch_of(run.as_of, settings.features.half_life_days)
        rows = rows.mutate(weight=weight_at(rows, settings.features, epoch))
        rows = engine.kept(rows, Path(working) / "rows.parquet")
        customers = pq.read_metadata(folder / "matrix" / "customers.parquet").num_rows
        skus = pq.read_table(folder / "matrix" / "items.parquet").sort_by("col")["sku"]
        yield NightRows(engine, settings, run, rows, owners, customers, skus, state.text_model)


@dataclass(frozen=True)
class World:
    """What is known at the end of a training window of products and words; searches after it taught no word.

    Attributes
    ----------
    end : last day of the window.
    catalogue : item, category, price_tier, ...
    text : the words' vectors.
    item_text : float32 [n_items, t].
    """

    end: date
    catalogue: ir.Table
    text: TextModel
    item_text: np.ndarray
    categories: tuple[str, ...]
    item_category: np.ndarray


def world_at(night: NightRows, end: date) -> World:
    """Products and words as of `end`.

    Tonight's text model is used for as_of, another one is trained for an earlier day. Products are master data of which
    only the latest delivery is kept: names, categories and prices are tonight's.
    """
    engine, config = night.engine, night.settings.features
    product = products(engine, night.settings, night.run.as_of)
    index = ibis.memtable(
        pa.table({"col": pa.array(range(len(night.skus)), pa.int32()), "sku": night.skus.cast(pa.string())})
    )
    found = engine.arrow(catalogue(product, index))
    texts = engine.arrow(product.order_by("sku"))
    if end == night.run.as_of:
        text = load_model(night.text_model)
    else:
        queries = asked_queries(_searched(night, end))
        text = train_text(texts, queries, config.text, night.run.seed)
    vectors = product_vectors(text, texts)
    place = pc.index_in(texts["sku"], value_set=night.skus.combine_chunks()).to_numpy(zero_copy_only=False)
    item_text = np.zeros((len(night.skus), vectors.shape[1]), np.float32)
    there = ~np.isnan(place.astype(float))
    item_text[place[there].astype(int)] = vectors[there]
    named = found["category"].combine_chunks()
    words = tuple(sorted(pc.unique(named.drop_null()).to_pylist()))
    item_category = np.full(len(night.skus), UNKNOWN, np.int64)
    item_category[found["item"].to_numpy()] = _places(named, words)
    return World(end, ibis.memtable(found), text, item_text, words, item_category)


@dataclass(frozen=True)
class Snapshot:
    """Customers seen up to a day, as they were then.

    Attributes
    ----------
    rows : int64 [n], their positions.
    features : the feature table, in their order.
    views : without the preprocessed features, which `with_features` adds.
    """

    day: date
    rows: np.ndarray
    features: pa.Table
    views: Views

    def with_features(self, preprocessor: Preprocessor) -> Views:
        """All views."""
        values, _ = preprocessor.transform(self.features)
        observed = observed_features(preprocessor, self.features)
        return Views(self.views.basket, self.views.events, self.views.interest, values, observed)


@dataclass(frozen=True)
class _Seen:
    """What was seen up to a day, whatever the words then meant."""

    rows: np.ndarray
    features: pa.Table
    basket: csr_matrix
    searched: pa.Table


def snapshot_at(night: NightRows, world: World, day: date, with_events: bool = True) -> Snapshot:
    """Everyone seen up to `day`, which is not after the end of the world."""
    if day > world.end:
        raise ValueError(f"{day} is after {world.end}")
    # Products are tonight's for every day: a snapshot differs between windows by the words alone.
    seen = night.once(("seen", day), lambda: _seen(night, world.catalogue, day))
    rows, basket = seen.rows, seen.basket
    events = night.once(("events", day), lambda: _events(night, day, rows)) if with_events else None
    searched = seen.searched
    asked = asked_queries(searched)
    typed = searched_touches(
        searched, asked, np.searchsorted(rows, searched["customer"].to_numpy()), len(rows)
    )
    interest = customer_interest((typed, world.text.embed(asked["query"])), (basket, world.item_text))
    return Snapshot(day, rows, seen.features, Views(basket, events, interest))


def _seen(night: NightRows, catalogue: ir.Table, day: date) -> _Seen:
    config = night.settings.features
    wanted = features_at(night.until(day), catalogue, config, day)
    features = night.engine.arrow(wanted.order_by("customer"))
    rows = features["customer"].to_numpy().astype(np.int64)
    return _Seen(rows, features, _basket(night, day)[rows], _searched(night, day))


def _events(night: NightRows, day: date, rows: np.ndarray) -> Events:
    steps = night.engine.arrow(sequences(night.until(day), night.settings.features).order_by("customer"))
    return Events.of_steps(steps["steps"], np.searchsorted(rows, steps["customer"].to_numpy()), len(rows))


def labels_after(
    night: NightRows, snapshot: Snapshot, world: World, until: date, demographics: tuple[str, ...]
) -> Labels:
    """What came after a snapshot, as far as its windows end by `until`; declared ages and genders as of the world's end.

    Parameters
    ----------
    demographics : the genders there are.
    """
    labels = Labels.unknown(len(snapshot.rows))
    engine, config, day = night.engine, night.settings.features, snapshot.day
    buying = night.until(until)
    buying = buying.filter(
        buying.event_name.isin(config.purchases) & (buying.business_date > ibis.literal(day))
    )
    age = -days_before(day, buying.business_date)
    if day + timedelta(days=PURCHASE_DAYS) <= until:
        soon = buying.filter(age <= PURCHASE_DAYS)
        bought = engine.arrow(soon.select("customer").distinct())["customer"].to_numpy()
        labels.purchase[:] = np.isin(snapshot.rows, bought)
        labels.category[:] = _first_category(night, soon, world, snapshot.rows)
    if day + timedelta(days=SPEND_DAYS) <= until:
        soon = buying.filter(age <= SPEND_DAYS)
        spent = engine.arrow(soon.group_by("customer").agg(amount=soon.amount.sum().cast("float64")))
        labels.spend[:] = 0
        at, there = _at(snapshot.rows, spent["customer"].to_numpy())
        amount = np.nan_to_num(spent["amount"].to_numpy(zero_copy_only=False))
        labels.spend[at] = np.maximum(amount[there], 0)
    _declare(night, snapshot, world.end, labels, demographics)
    return labels


def genders(night: NightRows, end: date) -> tuple[str, ...]:
    """The values that members declared by `end`, in order."""
    found = _declared(night, end)["gender"].drop_null()
    return tuple(sorted(pc.unique(found).to_pylist()))


def meaning_of(preprocessor: Preprocessor, world: World, names: tuple[str, ...]) -> Meaning:
    """What the positions of views and labels stand for."""
    return Meaning(
        groups=feature_groups(preprocessor),
        categories=world.categories,
        age_bands=AGE_BANDS,
        genders=names,
        item_text=world.item_text if world.item_text.shape[1] else None,
        item_category=world.item_category if world.categories else None,
        item_categories=len(world.categories),
    )


def feature_groups(preprocessor: Preprocessor) -> tuple[Group, ...]:
    """Output columns of each entry; the indicators of missing values are not reconstructed."""
    found = []
    for entry in preprocessor.entries:
        columns = preprocessor.transformer.output_indices_[entry.column]
        found.append(Group("one_hot" if entry.encode == "one_hot" else "number", columns.start, columns.stop))
    return tuple(found)


def observed_features(preprocessor: Preprocessor, table: pa.Table) -> np.ndarray:
    """Bool [n, d]: False in the columns of an entry where the feature was missing; indicators are always there."""
    observed = np.ones((table.num_rows, len(preprocessor.names)), dtype=bool)
    for entry in preprocessor.entries:
        there = pc.is_valid(table[entry.column]).to_numpy()
        observed[:, preprocessor.transformer.output_indices_[entry.column]] = there[:, None]
    return observed


def examples_of(
    night: NightRows, world: World, snapshots: list[Snapshot], preprocessor: Preprocessor, until: date
) -> list[Examples]:
    """Views and labels of each snapshot."""
    names = genders(night, world.end)
    meaning = meaning_of(preprocessor, world, names)
    return [
        Examples(s.with_features(preprocessor), labels_after(night, s, world, until, names), meaning)
        for s in snapshots
    ]


def _basket(night: NightRows, day: date) -> csr_matrix:
    """Weights on a day, csr [customers, items], as the matrices have them."""
    config = night.settings.features
    rows = night.until(day)
    weighted = sorted(e for e, w in config.behaviour_weights.items() if w > 0)
    shown = rows.filter(rows["item"].notnull() & rows.event_name.isin(weighted))
    found = shown.group_by("customer", "item").agg(weight=shown.weight.sum().cast("float64"))
    table = night.engine.arrow(found.order_by("customer", "item"))
    factor = fading(epoch_of(night.run.as_of, config.half_life_days), day, config.half_life_days)
    return csr_matrix(
        (
            (table["weight"].to_numpy() * factor).astype(np.float32),
            (table["customer"].to_numpy(), table["item"].to_numpy()),
        ),
        shape=(night.customers, len(night.skus)),
    )


def _searched(night: NightRows, day: date) -> pa.Table:
    config = night.settings.features
    epoch = epoch_of(night.run.as_of, config.half_life_days)
    return night.engine.arrow(searches(night.until(day), config, epoch).order_by("customer", "query"))


def _first_category(night: NightRows, soon: ir.Table, world: World, rows: np.ndarray) -> np.ndarray:
    """Category of the first purchase (of several at once the dearest), -1 where there is none."""
    order = [soon.occurred_at, soon.amount.desc(), soon["item"]]
    first = soon.filter(soon["item"].notnull()).mutate(
        place=ibis.row_number().over(ibis.window(group_by="customer", order_by=order))
    )
    table = night.engine.arrow(first.filter(first.place == 0).select("customer", "item"))
    found = np.full(len(rows), UNKNOWN, np.int64)
    at, there = _at(rows, table["customer"].to_numpy())
    found[at] = world.item_category[table["item"].to_numpy()[there]]
    return found


def _declared(night: NightRows, end: date) -> pa.Table:
    return night.once(("declared", end), lambda: _asked_declared(night, end))


def _asked_declared(night: NightRows, end: date) -> pa.Table:
    member = lake_table(night.engine, night.settings, "member", end)
    attributed = attribute(member, night.owners, night.settings.identity.priority)
    return night.engine.arrow(declared(attributed, night.settings.features, end).order_by("customer"))


def _declare(night: NightRows, snapshot: Snapshot, end: date, labels: Labels, names: tuple[str, ...]) -> None:
    table = _declared(night, end)
    at, there = _at(snapshot.rows, table["customer"].to_numpy())
    labels.gender[at] = _places(table["gender"].combine_chunks(), names)[there]
    ages = [_band(born, end) for born in table["birth_date"].to_pylist()]
    labels.age_band[at] = np.array(ages, np.int64)[there]


def _band(born: date | None, day: date) -> int:
    if born is None:
        return UNKNOWN
    age = day.year - born.year - ((day.month, day.day) < (born.month, born.day))
    return int(np.searchsorted(AGE_BAND_FROM, age, side="right")) - 1


def _places(values: pa.Array, words: tuple[str, ...]) -> np.ndarray:
    place = pc.index_in(values.cast(pa.string()), value_set=pa.array(words, pa.string()))
    found: np.ndarray = pc.fill_null(place, UNKNOWN).to_numpy(zero_copy_only=False).astype(np.int64)
    return found


def _at(rows: np.ndarray, customers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where customers stand in sorted `rows`, and which of them are there."""
    place = np.minimum(np.searchsorted(rows, customers), max(len(rows) - 1, 0))
    there = rows[place] == customers if len(rows) else np.zeros(len(customers), bool)
    return place[there], there
