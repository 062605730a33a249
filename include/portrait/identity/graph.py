"""Identifiers and edges as integer codes, so that the rest is arithmetic on arrays."""

from dataclasses import dataclass
from datetime import date

import duckdb
import numpy as np
import pyarrow as pa

from portrait.config import Settings
from portrait.warehouse import Warehouse


@dataclass(frozen=True)
class Graph:
    """What had been seen by a business date. An identifier's code is its place in order of age.

    Attributes
    ----------
    table : kind, value; ordered by first day seen, then priority of the kind, then value.
    kind : int8 [n], position of the kind in `priority`.
    left, right : int32 [m], the two ends of each distinct edge.
    """

    table: pa.Table
    kind: np.ndarray
    left: np.ndarray
    right: np.ndarray
    priority: tuple[str, ...]

    @property
    def size(self) -> int:
        return int(self.table.num_rows)

    def codes(self, kind: str) -> np.ndarray:
        """bool [n]: which identifiers are of a kind; none where the kind is not in use."""
        place = self.priority.index(kind) if kind in self.priority else -1
        return np.asarray(self.kind == place)


def load_graph(
    engine: duckdb.DuckDBPyConnection, settings: Settings, warehouse: Warehouse, as_of: date
) -> Graph:
    """Load identifiers and edges first seen on or before `as_of`; kinds left out of `priority` are ignored.

    Leaves the table `identifier(code, kind, value)` in `engine` for later joins.
    """
    priority = settings.identity.priority
    listed = ", ".join(f"'{k}'" for k in priority)
    place = f"list_position([{listed}], kind)"
    with warehouse.arrow_reader(
        f"select kind, value, first_seen from identity.identifier "
        f"where first_seen <= '{as_of}' and kind in ({listed})"
    ) as seen:
        engine.register("seen", seen)
        engine.execute(f"""
            create or replace table identifier as
            select (row_number() over (order by first_seen, {place}, value) - 1)::integer as code, kind, value
            from seen
        """)
        engine.unregister("seen")
    with warehouse.arrow_reader(
        f"select kind_a, value_a, kind_b, value_b from identity.edge where first_seen <= '{as_of}' "
        f"and kind_a in ({listed}) and kind_b in ({listed})"
    ) as met:
        engine.register("met", met)
        ends = engine.execute("""
            select distinct a.code as a, b.code as b
            from met
            join identifier as a on a.kind = met.kind_a and a.value = met.value_a
            join identifier as b on b.kind = met.kind_b and b.value = met.value_b
        """).fetchnumpy()
        engine.unregister("met")
    table = engine.sql("select kind, value from identifier order by code").to_arrow_table()
    kind = engine.sql(f"select ({place} - 1)::tinyint as kind from identifier order by code").fetchnumpy()
    return Graph(table, _plain(kind["kind"]), _plain(ends["a"]), _plain(ends["b"]), priority)


def _plain(array: np.ndarray) -> np.ndarray:
    return np.ma.getdata(array)
