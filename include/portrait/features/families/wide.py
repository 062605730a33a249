"""All features of a customer in one row, as models take them."""

from collections.abc import Iterable
from datetime import date

from ibis.expr import types as ir

from portrait.config import FeatureConfig
from portrait.features import rfm
from portrait.features.activity import activity
from portrait.features.families import FAMILIES, finish
from portrait.features.tables import visible


def features_at(
    rows: ir.Table, catalogue: ir.Table, config: FeatureConfig, as_of: date, *others: ir.Table
) -> ir.Table:
    """One row for everyone seen up to as_of: rfm, activity and all families, as they were on that day.

    For training, as_of is the cut-off: rows dated later are not looked at.

    Parameters
    ----------
    rows, catalogue : as `FAMILIES` takes them; rows may be dated later.
    others : more tables of one row a customer, as they were on that day (what members declared).
    """
    seen = visible(rows, as_of)
    tables = [
        rfm.finish(rfm.rfm(seen, config, as_of), as_of),
        activity(seen, as_of),
        *(finish(family(seen, catalogue, config, as_of), as_of) for family in FAMILIES.values()),
    ]
    return side_by_side(seen.select("customer").distinct(), [*tables, *others])


def side_by_side(customers: ir.Table, tables: Iterable[ir.Table]) -> ir.Table:
    """One wide row for each of `customers` (column customer); null where a table says nothing of one.

    Columns must differ between the tables.
    """
    wide = customers.select("customer")
    for table in tables:
        other = table.rename(customer_of_it="customer")
        wide = wide.left_join(other, wide.customer == other.customer_of_it).drop("customer_of_it")
    return wide
