"""The lake's tables and the identity map as Ibis tables, and the one rule of what may be seen."""

from datetime import date
from pathlib import Path

import ibis
from ibis.backends.duckdb import Backend
from ibis.expr import types as ir

from portrait.config import Settings
from portrait.errors import PortraitError
from portrait.features.lake import LakeTable


def visible(table: ir.Table, as_of: date) -> ir.Table:
    """The rows that a run for `as_of` may see: dated on or before it. Every feature reads through this."""
    return table.filter(table.business_date <= ibis.literal(as_of))


def lake_table(engine: Backend, settings: Settings, name: str, as_of: date) -> ir.Table:
    """What may be seen at `as_of` of a lake table; empty where nothing was delivered."""
    table = LakeTable(settings.lake_dir, name)
    if table.partitioned and table.dates():
        found = engine.read_parquet(
            str(table.path / "*" / "part.parquet"), hive_partitioning=True, union_by_name=True
        )
        found = found.cast({"business_date": "date"})
    elif table.file().is_file():
        found = engine.read_parquet(table.file())
    else:
        found = ibis.memtable(table.schema.empty_table())
    # Dates that were copied before a column existed have none of it.
    absent = {f.name: ibis.null(ibis.dtype(f.type)) for f in table.schema if f.name not in found.columns}
    return visible(found.mutate(**absent).select(*table.schema.names), as_of)


def identity_map(engine: Backend, path: Path) -> ir.Table:
    """The run's identity map: kind, value, customer_id, valid_from, valid_to.

    Raises
    ------
    PortraitError : when the run has none yet.
    """
    if not path.is_file():
        raise PortraitError(f"{path}: no such file; run `portrait resolve` first")
    return engine.read_parquet(path)


def products(engine: Backend, settings: Settings, as_of: date) -> ir.Table:
    """One row a sku: sku, category, brand. Where sources disagree the latest delivery counts.

    `category` is category_2, else category_1.
    """
    product = lake_table(engine, settings, "product", as_of)
    latest = ibis.window(
        group_by=product.sku,
        order_by=[product.business_date.desc(), product.source, product.source_row_id],
    )
    product = product.mutate(place=ibis.row_number().over(latest))
    return product.filter(product.place == 0).select(
        "sku", category=ibis.coalesce(product.category_2, product.category_1), brand=product.brand
    )
