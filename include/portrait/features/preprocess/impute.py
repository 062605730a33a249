"""Filling missing values by group, and saying where they were missing."""

from typing import Any, Self

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator, TransformerMixin


class GroupImputer(TransformerMixin, BaseEstimator):
    """Puts a statistic of the training customers for a missing value.

    `fit` and `transform` take a frame of the values and, with `grouped`, of their groups (texts); `transform` gives the
    values, [n, 1]. A group that training did not meet, or met without a value, and a missing group have the statistic
    of everyone. Of several most frequent values the first in order counts.
    """

    def __init__(self, strategy: str = "median", grouped: bool = False) -> None:
        self.strategy, self.grouped = strategy, grouped

    def fit(self, frame: pd.DataFrame, y: Any = None) -> Self:
        values = frame.iloc[:, 0]
        known = values.notna()
        if not known.any():
            raise ValueError("no training customer has a value")
        self.name_ = str(frame.columns[0])
        self.n_features_in_ = frame.shape[1]
        self.fill_ = self._statistic(values[known], np.zeros(int(known.sum()), dtype=int)).item(0)
        self.groups_: np.ndarray = np.empty(0, dtype="U1")
        self.fills_: np.ndarray = np.empty(0)
        if self.grouped:
            known &= frame.iloc[:, 1].notna()
            names, place = np.unique(frame.iloc[:, 1][known].to_numpy().astype(str), return_inverse=True)
            self.groups_, self.fills_ = names, self._statistic(values[known], place)
        return self

    def transform(self, frame: pd.DataFrame) -> np.ndarray:
        values = frame.iloc[:, 0].copy()
        missing = values.isna()
        if missing.any():
            values[missing] = self.fill_
            if len(self.groups_):
                group = frame.iloc[:, 1][missing].map(dict(zip(self.groups_, self.fills_, strict=True)))
                values.update(group.dropna())
        return values.to_numpy().reshape(-1, 1)

    def get_feature_names_out(self, names: Any = None) -> np.ndarray:
        return np.array([self.name_], dtype=object)

    def _statistic(self, values: pd.Series, place: np.ndarray) -> np.ndarray:
        """The statistic of each group 0, 1, ..., none of which is empty."""
        if self.strategy == "zero":
            return np.zeros(place.max(initial=0) + 1)
        if self.strategy != "most_frequent":
            found = values.groupby(place).agg(self.strategy)
            return found.to_numpy()
        counts = (
            pd.DataFrame({"place": place, "value": values.to_numpy()})
            .value_counts()
            .rename("n")
            .reset_index()
        )
        best = counts.sort_values(["place", "n", "value"], ascending=[True, False, True])
        chosen = best.drop_duplicates("place")["value"].to_numpy()
        return chosen if chosen.dtype.kind == "f" else chosen.astype(str)


class WasMissing(TransformerMixin, BaseEstimator):
    """1 where a value is missing, else 0: [n, 1]."""

    def fit(self, frame: pd.DataFrame, y: Any = None) -> Self:
        self.name_ = f"{frame.columns[0]}_missing"
        self.n_features_in_ = 1
        return self

    def transform(self, frame: pd.DataFrame) -> np.ndarray:
        return frame.iloc[:, [0]].isna().to_numpy(dtype=np.float64)

    def get_feature_names_out(self, names: Any = None) -> np.ndarray:
        return np.array([self.name_], dtype=object)
