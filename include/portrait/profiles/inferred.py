"""What the profile model infers of customers: beside what they declared, and only of those who allow it."""

import ibis
import pyarrow.parquet as pq
from ibis.expr import types as ir

from portrait.config import Settings
from portrait.models.profile.predictions import predictions_file
from portrait.profiles.permission import only_allowed
from portrait.purposes import PROFILING_INFERENCE
from portrait.run import Run

COLUMNS = {
    "age_band_inferred": "inferred_age_band",
    "age_band_confidence": "age_band_confidence",
    "gender_inferred": "inferred_gender",
    "gender_confidence": "gender_confidence",
    "churn_probability": "churn_probability",
    "predicted_spend_90d": "expected_spend_90d",
    "next_category": "next_category",
    "next_category_probability": "next_category_probability",
}
"""Column of the profile -> column of the run's predictions."""

KINDS = {
    c: "string" if c in ("age_band_inferred", "gender_inferred", "next_category") else "float64"
    for c in COLUMNS
}


def inferred(settings: Settings, run: Run, may: ir.Table) -> ir.Table:
    """customer_id and `COLUMNS` of the customers who allow it; no row where the run has no predictions.

    Parameters
    ----------
    may : as `permissions` gives it.
    """
    path = predictions_file(settings, run)
    schema = ibis.schema({"customer_id": "string", **KINDS}).to_pyarrow()
    if not path.is_file():
        return ibis.memtable(schema.empty_table())
    found = pq.read_table(path, columns=["customer_id", *COLUMNS.values()])
    rows = ibis.memtable(found.rename_columns(["customer_id", *COLUMNS]).cast(schema))
    return only_allowed(rows, may, PROFILING_INFERENCE)
