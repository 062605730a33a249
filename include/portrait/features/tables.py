"""The lake's tables as Ibis tables, and the one rule of what may be seen."""

from datetime import date

import ibis
from ibis.expr import types as ir

from portrait.config import Settings
from portrait.features.engine import Engine
from portrait.features.lake import LakeTable


def visible(table: ir.Table, as_of: date) -> ir.Table:
    """The rows that a run for `as_of` may see: dated on or before it. Every feature reads through this."""
    return table.filter(table.business_date <= ibis.literal(as_of))


def lake_table(engine: Engine, settings: Settings, name: str, as_of: date) -> ir.Table:
    """What may be seen at `as_of` of a table that is not partitioned; empty where nothing was delivered."""
    return visible(_read(engine, LakeTable(settings.lake_dir, name), []), as_of)


def lake_days(engine: Engine, settings: Settings, name: str, dates: list[str]) -> ir.Table:
    """Some business dates of a partitioned table."""
    return _read(engine, LakeTable(settings.lake_dir, name), dates)


def _read(engine: Engine, table: LakeTable, dates: list[str]) -> ir.Table:
    if table.partitioned:
        files = [table.file(date.fromisoformat(d)) for d in dates]
    else:
        files = [table.file()] if table.file().is_file() else []
    if not files:
        return ibis.memtable(table.schema.empty_table())
    found = engine.read(*files, root=table.path if table.partitioned else None)
    found = found.cast({"business_date": "date"})
    # Dates that were copied before a column existed have none of it.
    absent = {f.name: ibis.null(ibis.dtype(f.type)) for f in table.schema if f.name not in found.columns}
    return found.mutate(**absent).select(*table.schema.names)


def products(engine: Engine, settings: Settings, as_of: date) -> ir.Table:
    """One row a sku: sku, category, category_1, category_3, brand, name, name_zh, list_price, launched_on.

    Where sources disagree the latest delivery counts. `category` is category_2, else category_1.
    """
    product = lake_table(engine, settings, "product", as_of)
    latest = ibis.window(
        group_by=product.sku,
        order_by=[product.business_date.desc(), product.source, product.source_row_id],
    )
    product = product.mutate(place=ibis.row_number().over(latest))
    return product.filter(product.place == 0).select(
        "sku",
        "category_1",
        "category_3",
        "brand",
        "name",
        "name_zh",
        "list_price",
        "launched_on",
        category=ibis.coalesce(product.category_2, product.category_1),
    )
