"""What customers search for."""

import ibis
from ibis.expr import types as ir

QUERIES = 5


def search_interest(search: ir.Table) -> ir.Table:
    """The five strongest queries of each customer, with their share of all the customer's searches, weighted by recency.

    Parameters
    ----------
    search : customer_id, query, searches, last_on, weight (fades with time; compared within a customer only).
    """
    order = [search["weight"].desc(), search["query"]]
    strongest = ibis.window(group_by=search["customer_id"], order_by=order, rows=(None, None))
    ranked = search.mutate(
        rank=(ibis.row_number().over(strongest) + 1).cast("int32"),
        score=search["weight"] / search["weight"].sum().over(strongest),
    )
    kept = ranked.filter(ranked["rank"] <= QUERIES)
    return kept.select("customer_id", "query", "rank", "searches", "last_on", "score")
