"""What the profile autoencoder says of every customer: the file that the profile tables read."""

from pathlib import Path

import pyarrow as pa

from portrait.config import Settings
from portrait.run import Run

AGE_BANDS = ("under 18", "18-24", "25-34", "35-44", "45-54", "55-64", "65+")
"""`inferred_age_band` is one of these, as in customer_profile.age_band."""

AGE_BAND_FROM = (0, 18, 25, 35, 45, 55, 65)
"""Youngest age, in completed years on as_of, of each band."""

PREDICTION = pa.schema(
    [
        pa.field("customer_id", pa.string(), nullable=False),
        ("churn_probability", pa.float64()),
        ("expected_spend_90d", pa.float64()),
        ("next_category", pa.string()),
        ("next_category_probability", pa.float64()),
        ("inferred_age_band", pa.string()),
        ("age_band_confidence", pa.float64()),
        ("inferred_gender", pa.string()),
        ("gender_confidence", pa.float64()),
        pa.field("model_version", pa.string(), nullable=False),
    ]
)
"""One row for each customer there is today, in order of customer_id.

churn_probability         : that nothing is bought in the 30 days after as_of, 0 to 1
expected_spend_90d        : what is spent in the 90 days after as_of, in the retailer's currency, 0 or more
next_category             : most probable category (catalogue.category) of the first purchase of those 30 days
next_category_probability : of it, given that something is bought; 0 to 1
inferred_age_band         : most probable of `AGE_BANDS`, for everyone: also for those who declared a birth date
inferred_gender           : most probable of the values that members declared (raw.member.gender)
..._confidence            : probability of the inferred value, 0 to 1
model_version             : ``<run_id>/profile/profile_autoencoder``

A column is null for everyone where the history was too short, or nobody declared enough, to learn it from.
"""


def predictions_file(settings: Settings, run: Run) -> Path:
    """`predictions.parquet` of a run; absent where the profile model was not trained."""
    return settings.run_dir(run.run_id) / "models" / "predictions.parquet"


def evaluation_file(settings: Settings, run: Run) -> Path:
    """`predictions_evaluation.parquet` of a run: how good each head was on the held-out window."""
    return settings.run_dir(run.run_id) / "models" / "predictions_evaluation.parquet"
