"""The Parquet lake, what each customer did, and the numbers made of it: RFM, activity, affinity, matrices."""

from portrait.features.build import FeatureResult, build
from portrait.features.snapshot import SnapshotResult, snapshot

__all__ = ["FeatureResult", "SnapshotResult", "build", "snapshot"]
