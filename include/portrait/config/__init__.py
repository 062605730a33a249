"""One frozen, validated `Settings`, read once from `include/config/*.yaml` and `PORTRAIT_*`, handed down."""

from portrait.config.serving import ServingConfig
from portrait.config.settings import Settings, load_settings
from portrait.config.sources import ColumnMapping, RejectRule, SourcesFile, SourceSpec
from portrait.config.tuning import Candidate, FeatureConfig, IdentityConfig, ModelConfig

__all__ = [
    "Candidate",
    "ColumnMapping",
    "FeatureConfig",
    "IdentityConfig",
    "ModelConfig",
    "RejectRule",
    "ServingConfig",
    "Settings",
    "SourceSpec",
    "SourcesFile",
    "load_settings",
]
