"""All features of one run, from the lake and the identity map to files that appear together.

What earlier runs left is used: only customers for whom something changed since are computed (`touched`), the rest is
taken over. Either way gives the same tables.
"""

import logging
import shutil
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
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
from portrait.features.families import FAMILIES, finish
from portrait.features.families.wide import side_by_side
from portrait.features.matrix import Cells, read_csr, write_matrices
from portrait.features.positions import customer_index, extend_index, item_index
from portrait.features.purchase import purchases
from portrait.features.repurchase import repurchase
from portrait.features.searches import searches
from portrait.features.sequence import sequences
from portrait.features.state import FORMAT, State, last_state, state_dir
from portrait.features.tables import lake_table, products
from portrait.features.text import load_model, touches, write_text
from portrait.features.touched import touched
from portrait.features.weight import epoch_of, weight_at
from portrait.identity import map_path
from portrait.run import Run

log = logging.getLogger(__name__)

T = TypeVar("T")
MOST = 0.5
"""Share of customers touched from which everything is computed anew."""


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
        some = self._touched(before, customers.num_rows)
        former, before = before, before if some is not None else None
        rows = self._rows(some)
        kept = {
            "rfm": rfm_table.rfm(rows, self.config, as_of),
            "activity": activity(rows, as_of),
            "affinity": affinity(rows, self.catalogue, self.config),
            "repurchase": repurchase(rows, self.catalogue, self.config),
            "sequence": sequences(rows, self.config),
            "search": searches(rows, self.config, self.epoch),
            "purchase": purchases(rows, self.config),
        }
        for name, family in FAMILIES.items():
            kept[name] = family(rows, self.catalogue, self.config, as_of)
        for name, table in kept.items():
            self._timed(name, partial(self._keep, name, table, before, some))
        self._timed("tables", lambda: self._publish(ibis.memtable(customers)))
        items = self._timed("matrix", lambda: self._matrix(rows, before, some, customers))
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
        return some if share <= MOST else None

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

    def _keep(self, name: str, fresh: ir.Table, before: State | None, some: ir.Table | None) -> None:
        """A table of the state: computed, and what is taken over."""
        if before is not None:
            former = self.engine.read(before.table(name))
            fresh = ibis.union(former.anti_join(some, "customer"), fresh.cast(former.schema()))
        self.engine.write(fresh, self.state.table(name))

    def _publish(self, customers: ir.Table) -> None:
        """The run's tables, by customer_id, of the customers there are today."""
        engine, as_of = self.engine, self.as_of
        member = lake_table(engine, self.settings, "member", as_of)
        who = customer(self.owners, member, self.settings.identity.priority, self.config, as_of)
        who = engine.kept(who, self.working / "customer.parquet")
        ids = who.select("customer").inner_join(customers.rename(customer="row"), "customer")
        ids = engine.kept(ids.select("customer", "customer_id"), self.working / "ids.parquet")

        def named(table: ir.Table, *order: str) -> ir.Table:
            joined = table.inner_join(ids, "customer")
            columns = [c for c in joined.columns if c not in ("customer", "customer_id")]
            return joined.select("customer_id", *columns).order_by("customer_id", *order)

        kept = {
            n: engine.read(self.state.table(n))
            for n in ("rfm", "activity", "affinity", "repurchase", "sequence", "search")
        }
        families = [finish(engine.read(self.state.table(n)), as_of) for n in FAMILIES]
        tables = {
            "customer": named(who),
            "rfm": named(rfm_table.finish(kept["rfm"], as_of)),
            "activity": named(kept["activity"]),
            "affinity": named(kept["affinity"], "dimension", "rank"),
            "repurchase": named(kept["repurchase"], "category"),
            "sequence": named(kept["sequence"]),
            "search": named(kept["search"], "query"),
            "features": named(side_by_side(kept["activity"], families)),
            "catalogue": self.catalogue.order_by("item"),
            "cleaned": cleaned(engine, self.facts, as_of),
        }
        for name, table in tables.items():
            engine.write(table, self.out / f"{name}.parquet")

    def _matrix(
        self, rows: ir.Table, before: State | None, some: ir.Table | None, customers: pa.Table
    ) -> int:
        holdout = self.settings.models.holdout_days
        cell = cells(rows, self.config, self.as_of, holdout)
        number = pq.read_metadata(self._rows_file).num_rows
        found = Cells.compute(self.engine, cell, number, customers.num_rows)
        if before is not None and some is not None:
            changed = np.zeros(customers.num_rows, dtype=bool)
            changed[self.engine.arrow(some)["customer"].to_numpy()] = True
            found = Cells.read(before.cells).replaced(changed, found)
        found.write(self.state.cells)
        items = self._items(found)
        matrices = found.matrices(self.as_of, self.epoch, holdout, self.config, items.num_rows)
        today = pq.read_table(self.out / "customer.parquet", columns=["customer_id"])["customer_id"]
        current = pc.is_in(customers["customer_id"], value_set=today.combine_chunks())
        write_matrices(matrices, customers.append_column("current", current), items, self.out / "matrix")
        bought = self.engine.read(self.state.table("purchase"))
        self.engine.write(
            bought.order_by("customer", "day", "item"), self.out / "matrix" / "purchases.parquet"
        )
        return int(items.num_rows)

    def _text(self, customers: pa.Table, former: State | None) -> None:
        """What customers are interested in by the words of it; weights are compared within a customer only."""
        model, trained_on = None, self.as_of
        since = former.text_trained_on if former is not None else None
        if former is not None and since and (self.as_of - since).days < self.config.text.retrain_days:
            model, trained_on = load_model(former.text_model), since
        self.state = replace(self.state, text_trained_on=trained_on)
        product = self.engine.arrow(products(self.engine, self.settings, self.as_of).order_by("sku"))
        search = pq.read_table(
            self.state.table("search"), columns=["customer", "query", "searches", "weight"]
        )
        queries = search.group_by("query").aggregate([("searches", "sum")]).sort_by("query")
        place = pc.index_in(search["query"], value_set=queries["query"].combine_chunks())
        searched = touches(
            search["customer"].to_numpy(), place.to_numpy(), search["weight"].to_numpy(),
            (customers.num_rows, queries.num_rows),
        )  # fmt: skip
        # Every product got its position in `_catalogue`.
        index = pq.read_table(self.out / "matrix" / "items.parquet")
        column = pc.index_in(product["sku"], value_set=index["sku"].combine_chunks()).to_numpy()
        write_text(
            self.out / "text",
            self.config.text,
            self.run.seed,
            products=product,
            queries=queries.rename_columns({"searches_sum": "count"}),
            customers=customers["customer_id"],
            searched=searched,
            touched=read_csr(self.out / "matrix" / "full_weights")[:, column],
            model=model,
        )

    def _items(self, found: Cells) -> pa.Table:
        """Positions up to the last item that is known at as_of: the index also holds what came later."""
        index = extend_index(item_index(self.settings), pa.array([], pa.string()))
        known = pq.read_table(self.state.table("catalogue"), columns=["item"])["item"].to_numpy()
        return index.slice(0, 1 + max(int(found.item.max(initial=-1)), int(known.max(initial=-1))))

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
            unattributed=interactions - sum(attributed.to_pylist()),
            computed=computed,
            duplicates=by_rule.get("duplicate", 0),
            bots=by_rule.get("bot", 0),
            capped=by_rule.get("quantity", 0),
        )

    def _timed(self, name: str, step: Callable[[], T]) -> T:
        started = time.monotonic()
        result = step()
        log.info("%s: %.1f s", name, time.monotonic() - started)
        return result


def _swap(new: Path, target: Path) -> None:
    """Put `new` in the place of `target`."""
    old = target.with_name("features.old")
    shutil.rmtree(old, ignore_errors=True)
    if target.exists():
        target.rename(old)
    new.rename(target)
    shutil.rmtree(old, ignore_errors=True)
