"""When customers bought from each category: what it takes to say when they will again."""

from ibis.expr import types as ir

from portrait.config import FeatureConfig


def repurchase(rows: ir.Table, catalogue: ir.Table, config: FeatureConfig) -> ir.Table:
    """One row a customer and category they bought from: purchase_days, first_on and last_on.

    Two purchases on one day are one purchase day; products without a category count for nothing.
    """
    bought = rows.filter(rows.event_name.isin(config.purchases))
    known = bought.inner_join(
        catalogue.filter(catalogue.category.notnull()).select("item", "category"), "item"
    )
    return known.group_by("customer", "category").agg(
        purchase_days=known.business_date.nunique().cast("int32"),
        first_on=known.business_date.min(),
        last_on=known.business_date.max(),
    )
