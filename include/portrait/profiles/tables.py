"""The profile tables: columns, natural keys and indexes, and where a run keeps them."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from portrait.config import Settings
from portrait.run import Run


@dataclass(frozen=True)
class ProfileTable:
    """One table of `profile_store`, as its migration made it.

    Attributes
    ----------
    columns : column -> type in Ibis' words; `run_id` comes first in the database and is left out here.
    key : natural key within a run.
    indexes : further indexes, each a tuple of columns.
    ahead : dates that are forecasts.
    dates : columns that may not lie after `as_of`.
    """

    name: str
    columns: Mapping[str, str]
    key: tuple[str, ...] = ("customer_id",)
    indexes: tuple[tuple[str, ...], ...] = ()
    ahead: tuple[str, ...] = ()

    @property
    def is_of_customers(self) -> bool:
        """Whether its rows say something of a customer."""
        return "customer_id" in self.columns

    @property
    def dates(self) -> tuple[str, ...]:
        return tuple(c for c, kind in self.columns.items() if kind == "date" and c not in self.ahead)

    def file(self, settings: Settings, run: Run) -> Path:
        """Parquet of this table as `build` wrote it."""
        return profiles_dir(settings, run) / f"{self.name}.parquet"


def profiles_dir(settings: Settings, run: Run) -> Path:
    """Folder of a run's finished profile tables; it appears whole or not at all."""
    return settings.run_dir(run.run_id) / "profiles"


def value_model_file(settings: Settings, run: Run) -> Path:
    """What the value models learned, beside the tables: JSON, name -> number."""
    return profiles_dir(settings, run) / "value_model.json"


CUSTOMER_PROFILE = ProfileTable(
    "customer_profile",
    {
        "customer_id": "string",
        "as_of": "date",
        "is_known": "boolean",
        "gender": "string",
        "birth_date": "date",
        "age": "int32",
        "age_band": "string",
        "region": "string",
        "city": "string",
        "member_level": "string",
        "home_store": "string",
        "joined_on": "date",
        "tenure_days": "int32",
        "cards": "int32",
        "accounts": "int32",
        "devices": "int32",
        "channels": "string",
        "first_seen_on": "date",
        "last_seen_on": "date",
        "last_purchase_on": "date",
        "recency_days": "int32",
        "frequency": "int32",
        "monetary": "float64",
        "refunded": "float64",
        "average_basket": "float64",
        "store_share": "float64",
        "views_30d": "int32",
        "searches_30d": "int32",
        "value_type": "string",
        "lifecycle": "string",
        "spending_tier": "string",
        "favourite_category": "string",
        "favourite_brand": "string",
        "segment_id": "int32",
        "segment_name": "string",
        "frequency_90d": "int32",
        "monetary_90d": "float64",
        "frequency_365d": "int32",
        "monetary_365d": "float64",
        "interpurchase_days": "float64",
        "r_score": "int32",
        "f_score": "int32",
        "m_score": "int32",
        "carts_30d": "int32",
        "return_rate": "float64",
        "discount_share": "float64",
        "price_sensitivity": "string",
        "promotion_sensitivity": "string",
        "favourite_daypart": "string",
        "aipl_stage": "string",
        "p_alive": "float64",
        "expected_orders_90d": "float64",
        "expected_spend_90d": "float64",
        "clv_12m": "float64",
        "clv_12m_low": "float64",
        "clv_12m_high": "float64",
        "city_tier": "string",
        "price_level": "float64",
        "favourite_store": "string",
        "age_band_inferred": "string",
        "age_band_confidence": "float64",
        "gender_inferred": "string",
        "gender_confidence": "float64",
        "churn_probability": "float64",
        "predicted_spend_90d": "float64",
        "next_category": "string",
        "next_category_probability": "float64",
    },
    indexes=(("segment_id",),),
)

RFM = ProfileTable(
    "rfm",
    {
        "customer_id": "string",
        "first_purchase_on": "date",
        "last_purchase_on": "date",
        "recency_days": "int32",
        "frequency": "int32",
        "monetary": "float64",
        "frequency_30d": "int32",
        "monetary_30d": "float64",
        "frequency_90d": "int32",
        "monetary_90d": "float64",
        "frequency_365d": "int32",
        "monetary_365d": "float64",
        "interpurchase_days": "float64",
        "r_score": "int32",
        "f_score": "int32",
        "m_score": "int32",
        "value_type": "string",
    },
)

AFFINITY = ProfileTable(
    "affinity",
    {
        "customer_id": "string",
        "dimension": "string",
        "value": "string",
        "rank": "int32",
        "score": "float64",
        "evidence": "int32",
        "last_on": "date",
    },
    key=("customer_id", "dimension", "value"),
    indexes=(("dimension", "value"),),
)

SEGMENT = ProfileTable(
    "segment",
    {"customer_id": "string", "segment_id": "int32", "segment_name": "string", "distance": "float64"},
)

EMBEDDING = ProfileTable(
    "embedding", {"customer_id": "string", "model_version": "string", "embedding": "array<float32>"}
)

RECOMMENDATION = ProfileTable(
    "recommendation",
    {
        "customer_id": "string",
        "kind": "string",
        "rank": "int32",
        "sku": "string",
        "product_name": "string",
        "score": "float64",
        "model_version": "string",
        "because_kind": "string",
        "because_of": "string",
        "because_name": "string",
    },
    key=("customer_id", "kind", "rank"),
    indexes=(("sku",),),
)

POPULAR = ProfileTable(
    "popular",
    {"rank": "int32", "sku": "string", "product_name": "string", "score": "float64"},
    key=("rank",),
)

CUSTOMER_VALUE = ProfileTable(
    "customer_value",
    {
        "customer_id": "string",
        "purchase_days": "int32",
        "p_alive": "float64",
        "expected_orders_90d": "float64",
        "expected_spend_90d": "float64",
        "regression_spend_90d": "float64",
        "clv_12m": "float64",
        "clv_12m_low": "float64",
        "clv_12m_high": "float64",
    },
)

REPURCHASE = ProfileTable(
    "repurchase",
    {
        "customer_id": "string",
        "category": "string",
        "purchase_days": "int32",
        "last_on": "date",
        "interval_days": "float64",
        "due_on": "date",
        "is_due": "boolean",
        "category_interval_days": "float64",
    },
    key=("customer_id", "category"),
    indexes=(("category", "due_on"),),
    ahead=("due_on",),
)

SEARCH_INTEREST = ProfileTable(
    "search_interest",
    {
        "customer_id": "string",
        "query": "string",
        "rank": "int32",
        "searches": "int32",
        "last_on": "date",
        "score": "float64",
    },
    key=("customer_id", "query"),
    indexes=(("query",),),
)

CUSTOMER_TAG = ProfileTable(
    "customer_tag",
    {"customer_id": "string", "tag": "string", "value": "string", "reason": "string"},
    key=("customer_id", "tag"),
    indexes=(("tag", "value"),),
)

TAG_DEFINITION = ProfileTable(
    "tag_definition",
    {
        "tag": "string",
        "version": "int32",
        "type": "string",
        "name_en": "string",
        "name_zh": "string",
        "description_en": "string",
        "description_zh": "string",
        "expression": "string",
        "owner": "string",
        "purpose": "string",
        "null_policy": "string",
        "use": "string",
        "price_limited": "boolean",
    },
    key=("tag",),
)

TABLES: dict[str, ProfileTable] = {
    t.name: t
    for t in (
        CUSTOMER_PROFILE,
        RFM,
        AFFINITY,
        SEGMENT,
        EMBEDDING,
        RECOMMENDATION,
        POPULAR,
        CUSTOMER_VALUE,
        REPURCHASE,
        SEARCH_INTEREST,
        CUSTOMER_TAG,
        TAG_DEFINITION,
    )
}
