"""The features that `preprocess` names, checked, as scikit-learn takes them."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from portrait.config.preprocess import Preprocess
from portrait.errors import PortraitError

MISSING = "(missing)"
"""Category of a missing text that is not imputed."""


def group_column(entry: Preprocess) -> str | None:
    """Where the frame holds the groups of an entry."""
    return f"group {entry.impute.by}" if entry.impute and entry.impute.by else None


def frame(entries: Sequence[Preprocess], table: pa.Table) -> pd.DataFrame:
    """One column an entry (float64, or texts with None) and one a grouping column.

    Raises
    ------
    PortraitError : for a column that is absent, of a wrong type, missing or negative where that is not provided for.
    """
    columns = {}
    for entry in entries:
        values = _column(table, entry.column)
        columns[entry.column] = _texts(values, entry) if entry.encode else _numbers(values, entry)
        if (group := group_column(entry)) is not None and entry.impute and entry.impute.by:
            columns[group] = _objects(_column(table, entry.impute.by))
    return pd.DataFrame(columns, index=np.arange(table.num_rows))


def _column(table: pa.Table, name: str) -> pa.ChunkedArray:
    if name not in table.column_names:
        raise PortraitError(
            f"features.yaml: preprocess: there is no feature '{name}'; docs/features.md lists them. "
            f"The table has {', '.join(table.column_names)}"
        )
    return table[name]


def _numbers(values: pa.ChunkedArray, entry: Preprocess) -> np.ndarray:
    kind = values.type
    if pa.types.is_boolean(kind):
        values = values.cast(pa.int8())
    elif not (
        pa.types.is_null(kind)
        or pa.types.is_integer(kind)
        or pa.types.is_floating(kind)
        or pa.types.is_decimal(kind)
    ):
        advice = "use days_since_..." if pa.types.is_temporal(kind) else "add encode: one_hot or ordinal"
        raise PortraitError(f"features.yaml: preprocess: '{entry.column}' is {kind}, not a number; {advice}")
    found: np.ndarray = values.cast(pa.float64()).to_numpy()
    if np.isinf(found).any():
        raise PortraitError(f"feature '{entry.column}' is infinite for a customer; correct its formula")
    if entry.impute is None and (gone := int(np.isnan(found).sum())):
        raise PortraitError(
            f"features.yaml: preprocess: '{entry.column}' is missing for {gone} of {len(found)} customers; add impute"
        )
    if entry.log1p and (low := np.nanmin(found, initial=0.0)) < 0:
        raise PortraitError(
            f"features.yaml: preprocess: '{entry.column}' has a value of {low:g}; log1p needs 0 or more, remove it"
        )
    return found


def _texts(values: pa.ChunkedArray, entry: Preprocess) -> pd.Series:
    if entry.impute is None:
        values = pc.fill_null(values.cast(pa.string()), MISSING)
    return _objects(values)


def _objects(values: pa.ChunkedArray) -> pd.Series:
    texts: np.ndarray = values.cast(pa.string()).to_numpy()
    return pd.Series(texts, dtype=object)
