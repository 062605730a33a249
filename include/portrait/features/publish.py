"""A run's tables as others read them: by customer_id, of the customers there are today.

Rows are in the order of positions, which never move, and not of ids: nothing has to be sorted to publish it.
"""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from ibis.expr import types as ir

from portrait.features.engine import THREADS, Engine
from portrait.features.ragged import Ragged
from portrait.features.sequence import sequence_lists
from portrait.features.sorted_tables import write_groups


@dataclass(frozen=True)
class Publisher:
    """Who is published.

    Attributes
    ----------
    ids : the customer_id of each position.
    current : bool [positions]; others' rows stay in the state.
    folder : where the tables go.
    """

    ids: pa.Array
    current: np.ndarray
    folder: Path

    def table(self, name: str, table: pa.Table) -> Callable[[], None]:
        """Writes a table that is in memory, sorted by `customer`."""
        return partial(self._write, name, [table])

    def kept(self, name: str, path: Path) -> Callable[[], None]:
        """Writes a table of the state."""
        return partial(self._write, name, row_groups(path))

    def lists(self, name: str, found: Ragged) -> Callable[[], None]:
        """Writes sequences."""
        return partial(self._write, name, sequence_lists(found))

    def _write(self, name: str, tables: Iterable[pa.Table]) -> None:
        write_groups((self._named(t) for t in tables), self.folder / f"{name}.parquet")

    def _named(self, table: pa.Table) -> pa.Table:
        """With the id in place of the position."""
        position = table["customer"].to_numpy()
        today = self.current[position]
        if not today.all():
            table, position = table.filter(pa.array(today)), position[today]
        return table.drop_columns(["customer"]).add_column(
            0, "customer_id", self.ids.take(pa.array(position))
        )


def publisher(engine: Engine, who: ir.Table, customers: pa.Table, folder: Path) -> Publisher:
    """Of `who` (column customer) are published.

    Parameters
    ----------
    customers : the index of positions: row, customer_id.
    """
    current = np.zeros(customers.num_rows, dtype=bool)
    current[engine.arrow(who.select("customer"))["customer"].to_numpy()] = True
    ids = customers["customer_id"].combine_chunks()
    return Publisher(ids, current, folder)


def row_groups(path: Path) -> Iterator[pa.Table]:
    """A Parquet file a row group at a time, an empty table first so that a file without any has a schema."""
    file = pq.ParquetFile(path)
    yield file.schema_arrow.remove_metadata().empty_table()
    for group in range(file.num_row_groups):
        yield file.read_row_group(group).replace_schema_metadata()


def write_all(writers: Iterable[Callable[[], None]]) -> None:
    """Write tables side by side: compression is what takes long, and each file is one thread's work."""
    with ThreadPoolExecutor(THREADS) as pool:
        for _ in pool.map(lambda write: write(), writers):
            pass
