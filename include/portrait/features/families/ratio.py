"""Ratios of sums, the same on every engine."""

import ibis
from ibis.expr import types as ir


def ratio(part: ir.NumericValue, whole: ir.NumericValue) -> ir.FloatingValue:
    """part / whole; a part that is null counts as 0, and nothing of nothing is null."""
    divisor = whole.cast("float64").nullif(0.0)
    return ibis.coalesce(part.cast("float64"), ibis.literal(0.0)) / divisor
