"""The ColumnTransformer that `preprocess` of `features.yaml` describes."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from sklearn.compose import ColumnTransformer
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import (
    FunctionTransformer,
    OneHotEncoder,
    OrdinalEncoder,
    RobustScaler,
    StandardScaler,
)

from portrait.config.preprocess import Preprocess
from portrait.features.preprocess.frame import group_column
from portrait.features.preprocess.impute import GroupImputer, WasMissing


def column_transformer(entries: Sequence[Preprocess]) -> ColumnTransformer:
    """Unfitted; its output columns are those of the entries in order, each followed by its missing indicator."""
    parts: list[tuple[str, Any, list[str]]] = []
    for entry in entries:
        group = group_column(entry)
        parts.append((entry.column, Pipeline(_steps(entry)), [entry.column, *([group] if group else [])]))
        if entry.impute and entry.impute.indicator:
            parts.append((f"{entry.column}_missing", WasMissing(), [entry.column]))
    return ColumnTransformer(parts, sparse_threshold=0, verbose_feature_names_out=False)


def _steps(entry: Preprocess) -> list[tuple[str, Any]]:
    steps: list[tuple[str, Any]] = []
    if entry.impute:
        steps.append(("impute", GroupImputer(entry.impute.strategy, grouped=entry.impute.by is not None)))
    if entry.log1p:
        steps.append(("log1p", FunctionTransformer(np.log1p, feature_names_out="one-to-one")))
    if entry.scale:
        steps.append(("scale", StandardScaler() if entry.scale == "standard" else RobustScaler()))
    if entry.encode:
        steps.append(("encode", _encoder(entry)))
    return steps or [("as_it_is", FunctionTransformer(feature_names_out="one-to-one"))]


def _encoder(entry: Preprocess) -> Any:
    """What to do with unknown categories is checked before: see `Preprocessor.transform`."""
    rarest = entry.rarest if entry.rarest > 1 else None
    if entry.encode == "ordinal":
        return OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1, min_frequency=rarest)
    return OneHotEncoder(
        handle_unknown="ignore" if rarest is None else "infrequent_if_exist",
        min_frequency=rarest,
        sparse_output=False,
    )
