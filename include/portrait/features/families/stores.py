"""Which stores a customer goes to."""

from datetime import date

from ibis.expr import types as ir

from portrait.config import FeatureConfig
from portrait.features.families.ratio import ratio


def stores(rows: ir.Table, catalogue: ir.Table, config: FeatureConfig, as_of: date) -> ir.Table:
    """One row a customer with a receipt (sales and returns): stores, the main one, its share of the receipts.

    The main store has the most receipts, the first by id where several have as many, as `activity.favourite_store`.
    """
    inside = rows.filter((rows.channel == "store") & rows.store_id.notnull())
    receipt = inside.select("customer", "store_id", "basket").distinct()
    visits = receipt.group_by("customer", "store_id").agg(receipts=receipt.basket.count())
    most = visits.group_by("customer").agg(
        store_count=visits.count().cast("int32"),
        main_receipts=visits.receipts.max(),
        all_receipts=visits.receipts.sum(),
    )
    best = visits.select("store_id", visitor="customer", main_receipts="receipts")
    tied = most.inner_join(best, [most.customer == best.visitor, "main_receipts"])
    found = tied.group_by("customer").agg(
        store_count=tied.store_count.max(),
        main_store=tied.store_id.min(),
        main_receipts=tied.main_receipts.max(),
        all_receipts=tied.all_receipts.max(),
    )
    return found.select(
        "customer", "store_count", "main_store",
        main_store_share=ratio(found.main_receipts, found.all_receipts),
    )  # fmt: skip
