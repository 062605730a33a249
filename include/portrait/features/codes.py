"""Identifiers as 63-bit codes: eight bytes to join on instead of a keyed hash of seventy characters."""

import functools
from collections.abc import Mapping

import duckdb
import pyarrow as pa

MADE_WITH = f"DuckDB {duckdb.__version__}"
"""DuckDB may change its hash from one version to the next; then the lake is made anew."""


def code_of(column: str) -> str:
    """SQL of a value's code. Two of three million values share one with a probability of 5e-7."""
    return f"case when {column} is not null then (hash({column}) >> 1)::bigint end"


def with_codes(rows: pa.Table, kinds: Mapping[str, str]) -> pa.Table:
    """Replace identifier columns (kind -> column) by `<kind>_code`."""
    if not kinds:
        return rows
    codes = ", ".join(f"{code_of(column)} as {kind}_code" for kind, column in kinds.items())
    connection = _connection()
    connection.register("raw", rows)
    columns = f"* exclude ({', '.join(kinds.values())})"
    coded = connection.sql(f"select {columns}, {codes} from raw").to_arrow_table()
    connection.unregister("raw")
    return coded


@functools.cache
def _connection() -> duckdb.DuckDBPyConnection:
    """One for all files: to open one takes as long as a small file does."""
    return duckdb.connect(config={"threads": 1})
