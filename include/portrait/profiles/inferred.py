"""What the profile model infers of customers: beside what they declared, and only of those who allow it."""

import ibis
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from portrait.config import Settings
from portrait.models.profile.predictions import predictions_file
from portrait.run import Run
from portrait.warehouse import Warehouse

PURPOSE = "profiling_inference"
"""Purpose of consent; missing means no."""

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


def inferred(settings: Settings, run: Run, warehouse: Warehouse) -> pa.Table:
    """customer_id and `COLUMNS` of the customers who consented; no row where the run has no predictions."""
    path = predictions_file(settings, run)
    schema = ibis.schema({"customer_id": "string", **KINDS}).to_pyarrow()
    if not path.is_file():
        return schema.empty_table()
    found = pq.read_table(path, columns=["customer_id", *COLUMNS.values()])
    allowed = warehouse.read_arrow(
        f"select customer_id from privacy.consent where purpose = '{PURPOSE}' and granted"
    )["customer_id"]
    found = found.filter(pc.is_in(found["customer_id"], value_set=allowed.combine_chunks()))
    return found.rename_columns(["customer_id", *COLUMNS]).cast(schema)
