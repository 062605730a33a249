"""Recommendations of customers who do not allow personal ones: what is popular, whoever they are."""

from pathlib import Path

import ibis
import numpy as np
import pyarrow as pa
from ibis.expr import types as ir

from portrait.config import Settings
from portrait.models.nightly.inputs import inputs_of
from portrait.profiles.permission import only_allowed
from portrait.profiles.tables import POPULAR, RECOMMENDATION
from portrait.purposes import PERSONALISED_RECOMMENDATION
from portrait.run import Run

REASON = "no_consent"
"""`because_kind` of such a row."""
MODEL = "popular"
"""In place of a model version."""


def popular_items(settings: Settings, run: Run) -> ir.Table:
    """rank, sku, score: the items with the greatest share of all recency-weighted interest in the run's matrix.

    As many as a list of recommendations has. Empty in a run without a matrix.
    """
    schema = pa.schema([("rank", pa.int32()), ("sku", pa.string()), ("score", pa.float64())])
    inputs = inputs_of(settings, run)
    if not _is_there(inputs.folder):
        return ibis.memtable(schema.empty_table())
    weight = np.asarray(inputs.matrix("full_weights").sum(axis=0, dtype=np.float64)).ravel()
    # Equal weights in the order of the columns, which never move.
    best = np.argsort(-weight, kind="stable")[: settings.models.recommendations]
    best = best[weight[best] > 0]
    columns = [
        pa.array(np.arange(1, len(best) + 1, dtype=np.int32)),
        pa.array(inputs.items[best], pa.string()),
        pa.array(weight[best] / weight.sum()),
    ]
    return ibis.memtable(pa.table(columns, schema=schema))


def without_personal(recommendation: ir.Table, popular: ir.Table, may: ir.Table) -> ir.Table:
    """The night's recommendations, the lists of customers without consent exchanged for the popular one.

    Who had a list keeps one of kind `new`; what they `bought before` is theirs and is left out. Between nights the
    view `profile.recommendation` does the same for who withdraws.

    Parameters
    ----------
    recommendation : columns of `RECOMMENDATION`.
    popular : columns of `POPULAR`.
    may : as `permissions` gives it.
    """
    columns = RECOMMENDATION.columns
    personal = only_allowed(recommendation, may, PERSONALISED_RECOMMENDATION)
    others = recommendation.anti_join(may.filter(may[PERSONALISED_RECOMMENDATION]), "customer_id")
    listed = others.select("customer_id").distinct().cross_join(popular)
    said = {"kind": "new", "model_version": MODEL, "because_kind": REASON}
    rest = [c for c in columns if c not in {*said, "customer_id", *POPULAR.columns}]
    filled = listed.mutate(
        **{c: ibis.literal(v) for c, v in said.items()}, **{c: ibis.null(columns[c]) for c in rest}
    )
    first, second = (
        t.select(*(t[c].cast(k).name(c) for c, k in columns.items())) for t in (personal, filled)
    )
    return first.union(second)


def _is_there(matrix: Path) -> bool:
    return (matrix / "full_weights" / "shape.npy").is_file() and (matrix / "items.parquet").is_file()
