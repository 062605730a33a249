"""All features of one run, from the lake and the identity map to files that appear together.

What earlier runs left is used: only customers for whom something changed since are computed (`touched`), the rest is
taken over. Either way gives the same tables.
"""

import itertools
import logging
import shutil
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, replace
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import TypeVar

import ibis
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from ibis.expr import types as ir

from portrait.config import Settings
from portrait.features import rfm as rfm_table
from portrait.features.activity import activity
from portrait.features.affinity import affinity
from portrait.features.attribution import attribute, touching, without_codes, write_owners
from portrait.features.catalogue import catalogue
from portrait.features.cells import cells
from portrait.features.customer import customer
from portrait.features.engine import Engine, open_engine
from portrait.features.facts import PARTS, Facts, cleaned, digest, fact_rows, update_facts
from portrait.features.families import FAMILIES, Family, finish
from portrait.features.families.wide import side_by_side
from portrait.features.matrix import Cells, read_csr, write_matrices
from portrait.features.positions import customer_index, extend_index, item_index
from portrait.features.publish import Publisher, publisher, row_groups, write_all
from portrait.features.purchase import purchases
from portrait.features.ragged import Ragged
from portrait.features.repurchase import repurchase
from portrait.features.searches import searches
from portrait.features.sequence import sequence_arrays, steps
from portrait.features.sorted_tables import ahead, merged, write_groups
from portrait.features.state import FORMAT, State, last_state, state_dir
from portrait.features.tables import lake_table, products
from portrait.features.text import PRODUCT_TEXTS, asked_queries, load_model, searched_touches, write_text
from portrait.features.touched import touched
from portrait.features.weight import epoch_of, weight_at
from portrait.identity import map_path
from portrait.run import Run

log = logging.getLogger(__name__)

T = TypeVar("T")
MOST = 0.5
"""Share of customers touched from which everything is computed anew."""
SLICED = frozenset({"affinity"})
"""Tables that group by customer and item, whose groups take more memory than there is."""
NEW_DAYS = 90
"""After which an item that still nobody touched is no novelty any more, and is not offered."""
SLICE_ROWS = 12_500_000
"""About so many interactions at a time are looked at for these: the groups of 50 million took half as long again as four times these."""
ORDER = {
    "affinity": ("dimension", "rank"),
    "repurchase": ("category",),
    "search": ("query",),
    "purchase": ("day", "item"),
}
"""Of the rows of one customer, in tables that may have several."""


@dataclass(frozen=True)
class FeatureResult:
    """Counts of a run.

    Attributes
    ----------
    customers : customers of the identity map.
    interactions : events and receipt lines up to as_of, after cleaning.
    items : columns of the matrices.
    buyers : customers who bought.
    unattributed : interactions that belong to no customer.
    computed : customers whose features were computed; the others' were taken over from an earlier run.
    duplicates, bots, capped : events taken out as copies, as automatic, and lines whose quantity was cut.
    """

    customers: int
    interactions: int
    items: int
    buyers: int
    unattributed: int
    computed: int
    duplicates: int
    bots: int
    capped: int

    def as_dict(self) -> dict[str, int]:
        return asdict(self)


def features_dir(settings: Settings, run: Run) -> Path:
    """Folder of the run's feature files."""
    return settings.run_dir(run.run_id) / "features"


def build(settings: Settings, run: Run, rebuild: bool = False) -> FeatureResult:
    """Compute the run's features from the lake as it is and the run's identity map.

    Writes `rfm`, `activity`, `affinity`, `features`, `customer`, `repurchase`, `sequence`, `search`, `catalogue`, `cleaned` (Parquet),
    `matrix/`, `text/` and `state/` to `features_dir`. They are written to a folder beside and appear at once: a killed run leaves the
    old files or none.

    Parameters
    ----------
    rebuild : use nothing that earlier runs left.

    Raises
    ------
    PortraitError : when the run has no identity map.
    """
    started = time.monotonic()
    target = features_dir(settings, run)
    working = target.with_name("features.writing")
    shutil.rmtree(working, ignore_errors=True)
    out = working / "out"
    state_dir(out).mkdir(parents=True)
    with open_engine(settings, working) as engine:
        night = Night(engine, settings, run, working, out)
        result = night.build(rebuild)
    _swap(out, target)
    shutil.rmtree(working)
    night.facts.remove_others()
    log.info("%s: %s in %.1f s", run.run_id, result.as_dict(), time.monotonic() - started)
    return result


class Night:
    """The steps of one build."""

    facts: Facts

    def __init__(self, engine: Engine, settings: Settings, run: Run, working: Path, out: Path) -> None:
        self.engine, self.settings, self.run, self.working, self.out = engine, settings, run, working, out
        self.config, self.as_of = settings.features, run.as_of
        self.epoch = epoch_of(run.as_of, self.config.half_life_days)

    def build(self, rebuild: bool) -> FeatureResult:
        engine, settings, as_of = self.engine, self.settings, self.as_of
        self.facts = update_facts(engine, settings, rebuild)
        self.state = State(state_dir(self.out), self._made_with(), as_of, self.facts)
        customers = write_owners(map_path(settings, self.run), customer_index(settings), self.state.owners)
        self.owners = engine.read(self.state.owners)
        self.catalogue = self._catalogue()
        before = None if rebuild else last_state(settings, self.run, self.state.made_with)
        self.changed = np.ones(customers.num_rows, dtype=bool)
        some = self._touched(before, customers.num_rows)
        former, before = before, before if some is not None else None
        rows = self._rows(some)
        kept: dict[str, Callable[[ir.Table], ir.Table]] = {
            "rfm": lambda rows: rfm_table.rfm(rows, self.config, as_of),
            "activity": lambda rows: activity(rows, as_of),
            "affinity": lambda rows: affinity(rows, self.catalogue, self.config),
            "repurchase": lambda rows: repurchase(rows, self.catalogue, self.config),
            "search": lambda rows: searches(rows, self.config, self.epoch),
            "purchase": lambda rows: purchases(rows, self.config),
        }
        for name, family in FAMILIES.items():
            kept[name] = self._of(family)
        for name, table in kept.items():
            parts = self._slices(rows, customers.num_rows) if name in SLICED else [rows]
            self._timed(name, partial(self._keep, name, table, parts, before))
        self._timed("sequence", lambda: self._sequences(rows, before, customers.num_rows))
        publish = self._timed("who", lambda: self._publisher(customers))
        self._timed("tables", lambda: self._publish(publish))
        items = self._timed("matrix", lambda: self._matrix(rows, before, customers, publish.current))
        self._timed("text", lambda: self._text(customers, former))
        self.state.write()
        return self._result(items, some, customers.num_rows)

    def _made_with(self) -> str:
        """What two runs must share to use each other's tables."""
        settings = self.settings
        content = [
            FORMAT,
            self.engine.name,
            settings.features.model_dump(mode="json", exclude={"memory_limit", "spark_master", "preprocess"}),
            settings.models.holdout_days,
            settings.identity.priority,
            str(self.epoch),
        ]
        return digest(content, octets=16)

    def _catalogue(self) -> ir.Table:
        product = products(self.engine, self.settings, self.as_of)
        skus = self.engine.arrow(product.select("sku"))["sku"].combine_chunks()
        index = extend_index(item_index(self.settings), skus)
        return self.engine.kept(catalogue(product, ibis.memtable(index)), self.state.table("catalogue"))

    def _touched(self, before: State | None, customers: int) -> ir.Table | None:
        """Customers to compute (column customer); None: all."""
        if before is None:
            return None
        holdout = self.settings.models.holdout_days
        found = touched(self.engine, before, self.facts, self.owners, self.catalogue, self.as_of, holdout)
        path = self.working / "touched.parquet"
        some = self.engine.kept(found, path)
        share = pq.read_metadata(path).num_rows / max(customers, 1)
        log.info("%.1f %% of customers changed since %s", 100 * share, before.as_of)
        if share > MOST:
            return None
        self.changed[:] = False
        self.changed[self.engine.arrow(some)["customer"].to_numpy()] = True
        return some

    def _rows(self, some: ir.Table | None) -> ir.Table:
        """The interactions of these customers, each with its customer."""
        priority = self.settings.identity.priority
        theirs = None if some is None else self.owners.semi_join(some, "customer")
        if theirs is not None:
            theirs = self.engine.kept(theirs, self.working / "theirs.parquet")
        parts = []
        for part in PARTS:
            found = fact_rows(self.engine, self.facts, part, self.as_of)
            if theirs is not None:
                found = touching(found, theirs)
            parts.append(without_codes(attribute(found, self.owners, priority)))
        rows = ibis.union(*parts)
        rows = rows.filter(rows.customer.notnull()) if some is None else rows.semi_join(some, "customer")
        rows = rows.mutate(weight=weight_at(rows, self.config, self.epoch))
        self._timed("rows", lambda: self.engine.write(rows, self._rows_file))
        return self.engine.read(self._rows_file)

    @property
    def _rows_file(self) -> Path:
        return self.working / "rows.parquet"

    def _of(self, family: Family) -> Callable[[ir.Table], ir.Table]:
        return lambda rows: family(rows, self.catalogue, self.config, self.as_of)

    def _slices(self, rows: ir.Table, customers: int) -> list[ir.Table]:
        """The rows of some customers at a time, in the order of positions."""
        number = max(1, round(pq.read_metadata(self._rows_file).num_rows / SLICE_ROWS))
        bounds = [customers * n // number for n in range(number + 1)]
        return [
            rows.filter((rows.customer >= first) & (rows.customer < end))
            for first, end in itertools.pairwise(bounds)
        ]

    def _keep(
        self, name: str, family: Callable[[ir.Table], ir.Table], parts: list[ir.Table], before: State | None
    ) -> None:
        """A table of the state: computed from the rows of each part, and what is taken over."""
        fresh = [family(rows).order_by("customer", *ORDER.get(name, ())) for rows in parts]
        target = self.state.table(name)
        if before is None and len(fresh) == 1:
            self.engine.write(fresh[0], target)
            return
        tables: Iterable[pa.Table] = map(self.engine.arrow, fresh)
        if before is not None:
            tables = merged(before.table(name), pa.concat_tables(tables), self.changed)
        write_groups(ahead(tables), target)

    def _sequences(self, rows: ir.Table, before: State | None, customers: int) -> None:
        found = sequence_arrays(self.engine, steps(rows, self.config), customers)
        if before is not None:
            found = Ragged.read(before.sequences).replaced(self.changed, found)
        found.write(self.state.sequences)

    def _publisher(self, customers: pa.Table) -> Publisher:
        """For the customers there are today."""
        member = lake_table(self.engine, self.settings, "member", self.as_of)
        who = customer(self.owners, member, self.settings.identity.priority, self.config, self.as_of)
        who = self.engine.kept(who.order_by("customer"), self.working / "customer.parquet")
        return publisher(self.engine, who, customers, self.out)

    def _publish(self, publish: Publisher) -> None:
        """The run's tables."""
        engine, state, as_of = self.engine, self.state, self.as_of

        def finished(table: ir.Table) -> pa.Table:
            return engine.arrow(table.order_by("customer"))

        families = [finish(engine.read(state.table(n)), as_of) for n in FAMILIES]
        wide = side_by_side(engine.read(state.table("activity")), families)
        write_all(
            [
                publish.lists("sequence", Ragged.read(state.sequences)),
                publish.table("features", finished(wide)),
                *(publish.kept(n, state.table(n)) for n in ("activity", "affinity", "repurchase", "search")),
                publish.table("rfm", finished(rfm_table.finish(engine.read(state.table("rfm")), as_of))),
                publish.kept("customer", self.working / "customer.parquet"),
            ]
        )
        engine.write(self.catalogue.order_by("item"), self.out / "catalogue.parquet")
        engine.write(cleaned(engine, self.facts, as_of), self.out / "cleaned.parquet")

    def _matrix(self, rows: ir.Table, before: State | None, customers: pa.Table, current: np.ndarray) -> int:
        holdout = self.settings.models.holdout_days
        cell = cells(rows, self.config, self.as_of, holdout)
        number = pq.read_metadata(self._rows_file).num_rows
        found = Cells.compute(self.engine, cell, number, customers.num_rows)
        if before is not None:
            found = Cells.read(before.cells).replaced(self.changed, found)
        found.write(self.state.cells)
        items = self._items(found)
        matrices = found.matrices(self.as_of, self.epoch, holdout, self.config, items.num_rows)
        index = customers.append_column("current", pa.array(current))
        write_matrices(matrices, index, items, self.out / "matrix")
        write_groups(row_groups(self.state.table("purchase")), self.out / "matrix" / "purchases.parquet")
        return int(items.num_rows)

    def _text(self, customers: pa.Table, former: State | None) -> None:
        """What customers are interested in by the words of it; weights are compared within a customer only."""
        model, trained_on = None, self.as_of
        since = former.text_trained_on if former is not None else None
        if former is not None and since and (self.as_of - since).days < self.config.text.retrain_days:
            model, trained_on = load_model(former.text_model), since
        product = self.engine.arrow(products(self.engine, self.settings, self.as_of).order_by("sku"))
        texts = digest(
            product.select(["sku", *(c for c in PRODUCT_TEXTS if c in product.column_names)]).to_pydict(),
            octets=16,
        )
        self.state = replace(self.state, text_trained_on=trained_on, text_products=texts)
        same = former is not None and model is not None and former.text_products == texts
        search = pq.read_table(
            self.state.table("search"), columns=["customer", "query", "searches", "weight"]
        )
        queries = asked_queries(search)
        searched = searched_touches(search, queries, search["customer"].to_numpy(), customers.num_rows)
        # Every product got its position in `_catalogue`.
        index = pq.read_table(self.out / "matrix" / "items.parquet")
        column = pc.index_in(product["sku"], value_set=index["sku"].combine_chunks()).to_numpy()
        write_text(
            self.out / "text",
            self.config.text,
            self.run.seed,
            products=product,
            queries=queries,
            customers=customers["customer_id"],
            searched=searched,
            touched=read_csr(self.out / "matrix" / "full_weights"),
            columns=column,
            model=model,
            items_of=former.text if former is not None and same else None,
        )

    def _items(self, found: Cells) -> pa.Table:
        """Positions up to the last item that is known at as_of (the index also holds what came later): col, sku, and
        launched_on of those that came on sale in the last `NEW_DAYS`."""
        index = extend_index(item_index(self.settings), pa.array([], pa.string()))
        known = pq.read_table(self.state.table("catalogue"), columns=["item"])["item"].to_numpy()
        index = index.slice(0, 1 + max(int(found.item.max(initial=-1)), int(known.max(initial=-1))))
        product = products(self.engine, self.settings, self.as_of)
        first = ibis.literal(self.as_of - timedelta(days=NEW_DAYS))
        new = product.filter(
            (product.launched_on > first) & (product.launched_on <= ibis.literal(self.as_of))
        )
        launched = self.engine.arrow(new.select("sku", "launched_on"))
        place = pc.index_in(index["sku"], value_set=launched["sku"].combine_chunks())
        return index.append_column("launched_on", launched["launched_on"].combine_chunks().take(place))

    def _result(self, items: int, some: ir.Table | None, positions: int) -> FeatureResult:
        counts = [fact_rows(self.engine, self.facts, part, self.as_of).count() for part in PARTS]
        interactions = sum(int(self.engine.backend.execute(c)) for c in counts)
        attributed = pq.read_table(self.state.table("activity"), columns=["interactions"])["interactions"]
        cut = pq.read_table(self.out / "cleaned.parquet").group_by("rule").aggregate([("rows", "sum")])
        by_rule = dict(zip(cut["rule"].to_pylist(), map(int, cut["rows_sum"].to_pylist()), strict=True))
        computed = positions if some is None else pq.read_metadata(self.working / "touched.parquet").num_rows
        return FeatureResult(
            customers=pq.read_metadata(self.out / "customer.parquet").num_rows,
            interactions=interactions,
            items=items,
            buyers=pq.read_metadata(self.out / "rfm.parquet").num_rows,
            unattributed=interactions - (pc.sum(attributed).as_py() or 0),
            computed=computed,
            duplicates=by_rule.get("duplicate", 0),
            bots=by_rule.get("bot", 0),
            capped=by_rule.get("quantity", 0),
        )

    def _timed(self, name: str, step: Callable[[], T]) -> T:
        started, used = time.monotonic(), time.process_time()
        result = step()
        log.info("%s: %.1f s, processor %.1f s", name, time.monotonic() - started, time.process_time() - used)
        return result


def _swap(new: Path, target: Path) -> None:
    """Put `new` in the place of `target`."""
    old = target.with_name("features.old")
    shutil.rmtree(old, ignore_errors=True)
    if target.exists():
        target.rename(old)
    new.rename(target)
    shutil.rmtree(old, ignore_errors=True)
