"""One night of identity resolution, from new rows in `raw.*` to the run's identity map."""

import logging
import shutil
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from sqlalchemy import Connection, text

from portrait.config import Settings
from portrait.identity.caps import over_caps
from portrait.identity.components import components, oldest
from portrait.identity.graph import Graph, load_graph
from portrait.identity.ids import new_ids
from portrait.identity.kinds import LOCK
from portrait.identity.matching import Matching, match
from portrait.identity.sightings import read_sightings
from portrait.identity.state import (
    ID_CHANGE,
    REASSIGNED,
    Previous,
    latest_state,
    load_previous,
    write_state,
)
from portrait.run import Run
from portrait.warehouse import Warehouse, open_warehouse

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class IdentityResult:
    """Counts of a night.

    Attributes
    ----------
    identifiers : identifiers seen on or before `as_of`, demoted ones included.
    customers : customers that they make.
    new : customers none of whose identifiers had a customer before.
    merged : customers taken in by another one.
    split : customers that came out of another one.
    demoted : identifiers shared by too many to link anybody.
    """

    identifiers: int
    customers: int
    new: int
    merged: int
    split: int
    demoted: int

    def as_dict(self) -> dict[str, int]:
        return asdict(self)


def map_path(settings: Settings, run: Run) -> Path:
    """The run's identity map, a Parquet file with columns kind, value, customer_id."""
    return settings.run_dir(run.run_id) / "identity" / "customer_identifier.parquet"


def resolve(settings: Settings, run: Run) -> IdentityResult:
    """Give every identifier seen on or before `run.as_of` its customer.

    Writes `identity.*` and the map of `map_path`. A run for a date before the latest recorded one computes
    its map from the assignment of its own time and leaves the record as it is.

    Notes
    -----
    Exact shared identifiers link; components are found with scipy's `connected_components`.
    """
    started = time.monotonic()
    warehouse = open_warehouse(settings)
    read_sightings(settings, warehouse)
    target = map_path(settings, run)
    target.parent.mkdir(parents=True, exist_ok=True)
    spill = target.parent / "spill"
    with duckdb.connect() as engine, warehouse.begin() as connection:
        engine.execute(f"set memory_limit = '{settings.features.memory_limit}'")
        engine.execute(f"set temp_directory = '{spill}'")
        engine.execute("set threads = 2")
        connection.execute(text("select pg_advisory_xact_lock(:k)"), {"k": LOCK})
        result, table = _night(engine, settings, warehouse, run, connection)
    _write_map(table, target)
    shutil.rmtree(spill, ignore_errors=True)
    log.info("%s: %s in %.1f s", run.run_id, result.as_dict(), time.monotonic() - started)
    return result


def _night(
    engine: duckdb.DuckDBPyConnection,
    settings: Settings,
    warehouse: Warehouse,
    run: Run,
    connection: Connection,
) -> tuple[IdentityResult, pa.Table]:
    graph = load_graph(engine, settings, warehouse, run.as_of)
    demoted, audit = over_caps(graph, settings.identity)
    component = components(graph, demoted)
    previous = load_previous(engine, warehouse, graph, run.as_of)
    matching = match(component, previous.of, graph.codes("card"), previous.born)
    customers = _customer_ids(engine, graph, component, previous, matching)

    latest = latest_state(connection)
    if latest is None or latest <= run.as_of:
        reassigned = _reassigned(graph, component, previous, matching, customers)
        id_changes = _id_changes(previous, matching, customers)
        write_state(connection, warehouse, run.as_of, reassigned, id_changes, audit)
    else:
        log.info("%s: the record goes on to %s, it stays as it is", run.run_id, latest)

    mapped = pa.array(component >= 0)
    table = graph.table.filter(mapped).append_column(
        "customer_id", customers.take(pa.array(component[component >= 0]))
    )
    result = IdentityResult(
        identifiers=graph.size,
        customers=len(customers),
        new=int((matching.kept < 0).sum()) - len(matching.split),
        merged=len(matching.merged),
        split=len(matching.split),
        demoted=int(demoted.sum()),
    )
    return result, table


def _customer_ids(
    engine: duckdb.DuckDBPyConnection,
    graph: Graph,
    component: np.ndarray,
    previous: Previous,
    matching: Matching,
) -> pa.Array:
    """The customer id of each component."""
    fresh = matching.kept < 0
    made = new_ids(engine, graph, oldest(component)[fresh], previous.customers)
    at = np.where(fresh, np.cumsum(fresh) - 1 + len(previous.customers), matching.kept)
    return pa.concat_arrays([previous.customers, made]).take(pa.array(at))


def _reassigned(
    graph: Graph, component: np.ndarray, previous: Previous, matching: Matching, customers: pa.Array
) -> pa.Table:
    """Identifiers whose customer is not last night's, with both."""
    assigned = component >= 0
    now = np.full(graph.size, -1)
    now[assigned] = matching.kept[component[assigned]]
    changed = np.flatnonzero((now != previous.of) | (assigned & (now < 0)))
    table = graph.table.take(pa.array(changed))
    old, new = previous.of[changed], component[changed]
    table = table.append_column("old_customer_id", previous.customers.take(pa.array(old, mask=old < 0)))
    table = table.append_column("new_customer_id", customers.take(pa.array(new, mask=new < 0)))
    return pa.concat_tables([table.cast(REASSIGNED), previous.gone])


def _id_changes(previous: Previous, matching: Matching, customers: pa.Array) -> pa.Table:
    """Tonight's rows of identity.id_change."""
    fresh = matching.kept < 0
    fresh[matching.split[:, 0]] = False
    kept = previous.customers
    return pa.concat_tables(
        [
            _changes("new", customers.filter(pa.array(fresh))),
            _changes("merge", kept.take(matching.merged[:, 0]), kept.take(matching.merged[:, 1])),
            _changes("split", customers.take(matching.split[:, 0]), kept.take(matching.split[:, 1])),
            _changes("retired", kept.take(matching.retired)),
        ]
    )


def _changes(change: str, customer: pa.Array, other: pa.Array | None = None) -> pa.Table:
    count = len(customer)
    columns = [pa.repeat(change, count), customer, pa.repeat("", count) if other is None else other]
    return pa.table(columns, schema=ID_CHANGE)


def _write_map(table: pa.Table, target: Path) -> None:
    beside = target.with_suffix(".writing")
    pq.write_table(table, beside, compression="zstd")
    beside.replace(target)
