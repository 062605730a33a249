"""What the features and the models left in a run's folder for the profile tables."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import ibis
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from ibis.backends.duckdb import Backend
from ibis.expr import types as ir

from portrait.config import Settings
from portrait.errors import PortraitError
from portrait.run import Run

_RECOMMENDATION = {
    "customer_id": "string",
    "kind": "string",
    "rank": "int32",
    "sku": "string",
    "score": "float64",
    "model_version": "string",
    "because_kind": "string",
    "because_of": "string",
}
_PRODUCT = {"sku": "string", "name": "string", "name_zh": "string"}
_HABITS = {
    "customer_id": "string",
    **dict.fromkeys(("price_tier_mean", "discount_share", "return_rate"), "float64"),
    **dict.fromkeys(("night_share", "morning_share", "afternoon_share", "evening_share"), "float64"),
}


_REPURCHASE = {
    "customer_id": "string",
    "category": "string",
    "purchase_days": "int32",
    "first_on": "date",
    "last_on": "date",
}
_SEARCH = {
    "customer_id": "string",
    "query": "string",
    "searches": "int32",
    "last_on": "date",
    "weight": "float64",
}


@dataclass(frozen=True)
class Inputs:
    """Tables of one run, as lazy Ibis expressions.

    Attributes
    ----------
    customer : every customer, with what they declared.
    rfm : buyers only.
    activity : whoever left an event or a receipt.
    affinity : customer, dimension, value.
    recommendation : empty when no model made any.
    product : names by sku; may lack some, or be empty.
    habits : what they pay for and when they come (docs/features.md); empty in runs from before there were such features.
    repurchase, search : by category and query; empty in runs from before there were such features.
    """

    customer: ir.Table
    rfm: ir.Table
    activity: ir.Table
    affinity: ir.Table
    recommendation: ir.Table
    product: ir.Table
    habits: ir.Table
    repurchase: ir.Table
    search: ir.Table


@dataclass(frozen=True)
class Embeddings:
    """One vector a customer, ordered by customer.

    Attributes
    ----------
    table : customer_id, model_version, embedding list<float32>.
    matrix : float32 [n, d], the same vectors.
    """

    table: pa.Table
    matrix: np.ndarray

    @property
    def customers(self) -> list[str]:
        found: list[str] = self.table["customer_id"].to_pylist()
        return found


def read_inputs(connection: Backend, settings: Settings, run: Run) -> Inputs:
    """The run's inputs.

    Raises
    ------
    PortraitError : when a file of the features stage is missing. Model outputs and product names may be.
    """
    folder = settings.run_dir(run.run_id)

    def required(name: str) -> ir.Table:
        path = folder / "features" / f"{name}.parquet"
        if not path.is_file():
            raise PortraitError(f"{path}: no such file; run `portrait features` for {run.as_of} first")
        return connection.read_parquet(path)

    return Inputs(
        required("customer"),
        required("rfm"),
        required("activity"),
        required("affinity"),
        _optional(connection, folder / "models" / "recommendation.parquet", _RECOMMENDATION),
        _optional(connection, settings.lake_dir / "product" / "part.parquet", _PRODUCT),
        _optional(connection, folder / "features" / "features.parquet", _HABITS),
        _optional(connection, folder / "features" / "repurchase.parquet", _REPURCHASE),
        _optional(connection, folder / "features" / "search.parquet", _SEARCH),
    )


def _optional(connection: Backend, path: Path, columns: Mapping[str, str]) -> ir.Table:
    """The file, with nulls in columns that it is too old to have; without it an empty table."""
    if path.is_file():
        found = connection.read_parquet(path)
        return found.mutate(**{c: ibis.null(kind) for c, kind in columns.items() if c not in found.columns})
    return ibis.memtable(ibis.schema(columns).to_pyarrow().empty_table())


def read_embeddings(settings: Settings, run: Run) -> Embeddings:
    """The run's embeddings; an empty table and matrix when no model made any.

    Raises
    ------
    PortraitError : when vectors differ in length or hold NaN or infinity, naming a customer.
    """
    path = settings.run_dir(run.run_id) / "models" / "embedding.parquet"
    schema = pa.schema(
        {"customer_id": pa.string(), "model_version": pa.string(), "embedding": pa.list_(pa.float32())}
    )
    if not path.is_file():
        return Embeddings(schema.empty_table(), np.empty((0, 0), dtype=np.float32))
    table = pq.read_table(path, columns=schema.names).cast(schema).sort_by("customer_id").combine_chunks()
    if not table.num_rows:
        return Embeddings(table, np.empty((0, 0), dtype=np.float32))
    lengths = pc.list_value_length(table["embedding"]).to_numpy()
    if (lengths != lengths[0]).any() or not lengths[0] > 0:
        odd = table["customer_id"][int(np.argmax(lengths != lengths[0]))]
        raise PortraitError(
            f"{path}: embeddings differ in length or are empty, see customer {odd}; train again"
        )
    matrix = pc.list_flatten(table["embedding"]).to_numpy().reshape(table.num_rows, int(lengths[0]))
    finite = np.isfinite(matrix).all(axis=1)
    if not finite.all():
        odd = table["customer_id"][int(np.argmin(finite))]
        raise PortraitError(
            f"{path}: {int((~finite).sum())} embeddings hold NaN or infinity, see customer {odd}; train again"
        )
    return Embeddings(table, matrix)
