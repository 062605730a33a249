"""What was looked at or bought right after a search: what people's words mean in this shop."""

import ibis
from ibis.expr import types as ir

MINUTES = 10
"""Between a search and the product that counts as its answer."""


def clicks(rows: ir.Table) -> ir.Table:
    """One row a query and item: query, item, count, in that order.

    Parameters
    ----------
    rows : customer, event_name, item, search_query, occurred_at, of the days to learn from. Only a customer's very
        next event after a search counts; rows without a customer are left out.
    """
    search = (rows.event_name == "products_searched") & rows.search_query.notnull()
    known = rows.filter(rows.customer.notnull() & (search | rows["item"].notnull())).select(
        customer=rows.customer,
        at=rows.occurred_at,
        product=ibis.ifelse(search, -1, rows["item"]),
        query=ibis.ifelse(search, rows.search_query, ""),
    )
    # Everything takes part in the order, so that it does not depend on that of the rows; searches come first.
    order = ibis.window(group_by="customer", order_by=[known["at"], known["product"], known["query"]])
    paired = known.select(
        "query",
        item=known["product"].lead().over(order),
        waited=known["at"].lead().over(order).epoch_seconds() - known["at"].epoch_seconds(),
    )
    answered = paired.filter(
        (paired["query"] != "") & (paired["item"] >= 0) & (paired.waited <= MINUTES * 60)
    )
    counted = answered.group_by("query", "item").agg(count=answered.count())
    return counted.order_by("query", "item")
