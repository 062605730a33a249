"""All features of one run, from the lake and the identity map to files that appear together."""

import logging
import shutil
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import pyarrow.parquet as pq
from ibis.backends.duckdb import Backend
from ibis.expr import types as ir

from portrait.config import Settings
from portrait.features.activity import activity
from portrait.features.affinity import affinity
from portrait.features.cells import cells
from portrait.features.customer import customer
from portrait.features.engine import open_engine
from portrait.features.interactions import interactions
from portrait.features.matrix import write_matrices
from portrait.features.rfm import rfm
from portrait.features.tables import identity_map, lake_table, products
from portrait.identity import map_path
from portrait.run import Run

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class FeatureResult:
    """Counts of a run.

    Attributes
    ----------
    customers : customers of the identity map.
    interactions : events and receipt lines up to as_of.
    items : columns of the matrices.
    buyers : customers who bought.
    unattributed : interactions that belong to no customer.
    """

    customers: int
    interactions: int
    items: int
    buyers: int
    unattributed: int

    def as_dict(self) -> dict[str, int]:
        return asdict(self)


def features_dir(settings: Settings, run: Run) -> Path:
    """Folder of the run's feature files."""
    return settings.run_dir(run.run_id) / "features"


def build(settings: Settings, run: Run) -> FeatureResult:
    """Compute the run's features from the lake as it is and the run's identity map.

    Writes `rfm`, `activity`, `affinity`, `customer` (Parquet) and `matrix/` to `features_dir`. They are
    written to a folder beside and appear at once: a killed run leaves the old files or none.

    Raises
    ------
    PortraitError : when the run has no identity map.
    """
    started = time.monotonic()
    target = features_dir(settings, run)
    working = target.with_name("features.writing")
    shutil.rmtree(working, ignore_errors=True)
    out = working / "out"
    out.mkdir(parents=True)
    with open_engine(settings, working) as engine:
        result = _write(engine, settings, run, working, out)
    _swap(out, target)
    shutil.rmtree(working)
    log.info("%s: %s in %.1f s", run.run_id, result.as_dict(), time.monotonic() - started)
    return result


def _write(engine: Backend, settings: Settings, run: Run, working: Path, out: Path) -> FeatureResult:
    config, as_of = settings.features, run.as_of
    identity = identity_map(engine, map_path(settings, run))
    member = lake_table(engine, settings, "member", as_of)
    rows = _kept(engine, "interactions", interactions(engine, settings, identity, as_of), working)
    tables = {
        "rfm": rfm(rows, config, as_of),
        "activity": activity(rows, as_of),
        "affinity": affinity(rows, products(engine, settings, as_of), config, as_of),
        "customer": customer(identity, member, settings.identity.priority, as_of),
    }
    for name, table in tables.items():
        _save(engine, name, table, out)
    cell = _kept(engine, "cells", cells(rows, config, as_of, settings.models.holdout_days), working)
    started = time.monotonic()
    items = write_matrices(engine, cell, settings.lake_dir / "item_index.parquet", out / "matrix")
    log.info("matrix: %.1f s", time.monotonic() - started)
    counted = engine.to_pyarrow(
        rows.agg(interactions=rows.count(), unattributed=rows.count(where=rows.customer_id.isnull()))
    ).to_pylist()[0]
    return FeatureResult(
        customers=pq.read_metadata(out / "customer.parquet").num_rows,
        buyers=pq.read_metadata(out / "rfm.parquet").num_rows,
        items=items,
        **counted,
    )


def _kept(engine: Backend, name: str, table: ir.Table, folder: Path) -> ir.Table:
    """A table that is computed once and read several times."""
    return engine.read_parquet(_save(engine, name, table, folder))


def _save(engine: Backend, name: str, table: ir.Table, folder: Path) -> Path:
    started = time.monotonic()
    path = folder / f"{name}.parquet"
    engine.to_parquet(table, path, compression="zstd")
    log.info("%s: %.1f s", name, time.monotonic() - started)
    return path


def _swap(new: Path, target: Path) -> None:
    """Put `new` in the place of `target`."""
    old = target.with_name("features.old")
    shutil.rmtree(old, ignore_errors=True)
    if target.exists():
        target.rename(old)
    new.rename(target)
    shutil.rmtree(old, ignore_errors=True)
