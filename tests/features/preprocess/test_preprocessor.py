"""Imputation, scaling and encoding worked out by hand; what is saved; what is refused."""

import json
import math
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from portrait.config import FeatureConfig
from portrait.config.preprocess import Preprocess
from portrait.errors import PortraitError
from portrait.features.preprocess import Preprocessor

THROUGH = date(2026, 3, 17)


def fitted(table: dict[str, Any], *entries: dict[str, Any]) -> Preprocessor:
    return Preprocessor.fit([Preprocess.model_validate(e) for e in entries], pa.table(table), THROUGH)


def values_of(preprocessor: Preprocessor, table: dict[str, Any]) -> dict[str, list[float]]:
    values, names = preprocessor.transform(pa.table(table))
    assert values.dtype == np.float32
    assert values.shape == (len(next(iter(table.values()))), len(names))
    return {name: values[:, n].tolist() for n, name in enumerate(names)}


@pytest.mark.parametrize(
    ("strategy", "north", "south", "everyone"),
    [
        ("median", 2.0, 20.0, 3.0),
        ("mean", 2.5, 20.0, 6.0),
        ("most_frequent", 1.0, 20.0, 1.0),
        ("zero", 0.0, 0.0, 0.0),
    ],
)
def test_imputes_by_group(strategy: str, north: float, south: float, everyone: float) -> None:
    training = {
        "visits": [1.0, 1.0, 5.0, 3.0, 20.0, None, None],
        "region": ["n", "n", "n", "n", "s", "s", None],
    }
    preprocessor = fitted(training, {"column": "visits", "impute": {"strategy": strategy, "by": "region"}})
    found = values_of(
        preprocessor, {"visits": [None, None, None, None, 7], "region": ["n", "s", "x", None, "n"]}
    )
    assert found == {
        "visits": [north, south, everyone, everyone, 7.0],
        "visits_missing": [1.0, 1.0, 1.0, 1.0, 0.0],
    }


def test_a_group_without_a_value_has_everyones_statistic() -> None:
    training = {"visits": [4.0, 6.0, None], "tier": [1, 1, 2]}
    entry = {"column": "visits", "impute": {"strategy": "mean", "by": "tier", "indicator": False}}
    assert values_of(fitted(training, entry), {"visits": [None], "tier": [2]}) == {"visits": [5.0]}


def test_scales() -> None:
    training = {
        "a": [1, 2, 3],
        "b": [0.0, 10.0, 20.0],
        "c": [0.0, math.e - 1, math.e**2 - 1],
        "d": [True, False, True],
    }
    preprocessor = fitted(
        training,
        {"column": "a", "scale": "standard"},
        {"column": "b", "scale": "robust"},
        {"column": "c", "log1p": True},
        {"column": "d"},
    )
    found = values_of(
        preprocessor, {"a": [2, 5], "b": [10.0, 40.0], "c": [0.0, math.e**3 - 1], "d": [True, False]}
    )
    assert found["a"] == pytest.approx([0.0, 3 / math.sqrt(2 / 3)])  # population deviation
    assert found["b"] == [0.0, 3.0]  # quartiles 5 and 15
    assert found["c"] == pytest.approx([0.0, 3.0])
    assert found["d"] == [1.0, 0.0]


def test_missing_is_filled_before_scaling() -> None:
    entry = {"column": "a", "impute": {"strategy": "mean"}, "scale": "standard"}
    found = values_of(fitted({"a": [0.0, 4.0, None]}, entry), {"a": [None, 4.0]})
    assert found["a"] == pytest.approx([0.0, 2 / math.sqrt(8 / 3)])
    assert found["a_missing"] == [1.0, 0.0]


def test_encodes() -> None:
    training = {
        "sex": ["f", "m", "f", None],
        "level": ["gold", "basic", "basic", "basic"],
        "city": ["a", "a", "b", "c"],
    }
    preprocessor = fitted(
        training,
        {"column": "sex", "encode": "one_hot"},
        {"column": "level", "encode": "ordinal", "impute": {"strategy": "most_frequent"}},
        {"column": "city", "encode": "one_hot", "rarest": 2},
    )
    table = {"sex": ["f", None, "x"], "level": [None, "gold", "platinum"], "city": ["a", "c", "z"]}
    assert values_of(preprocessor, table) == {
        "sex_(missing)": [0.0, 1.0, 0.0],
        "sex_f": [1.0, 0.0, 0.0],
        "sex_m": [0.0, 0.0, 0.0],
        "level": [0.0, 1.0, -1.0],
        "level_missing": [1.0, 0.0, 0.0],
        "city_a": [1.0, 0.0, 0.0],
        "city_infrequent_sklearn": [0.0, 1.0, 1.0],
    }


def test_every_chunk_is_transformed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("portrait.features.preprocess.preprocessor.CHUNK", 2)
    found = values_of(fitted({"a": [1.0]}, {"column": "a"}), {"a": [1.0, 2.0, 3.0, 4.0, 5.0]})
    assert found == {"a": [1.0, 2.0, 3.0, 4.0, 5.0]}


TRAINING = {
    "spent": [1.0, 2.0, None, 9.0], "region": ["n", "n", "s", "s"], "sex": ["f", "m", None, "f"], "age": [1, 2, 3, 4],
}  # fmt: skip
ENTRIES = (
    {"column": "spent", "impute": {"strategy": "median", "by": "region"}, "log1p": True, "scale": "robust"},
    {"column": "sex", "encode": "one_hot", "impute": {"strategy": "most_frequent"}, "unknown": "error"},
    {"column": "age", "scale": "standard"},
)


def test_saved_and_loaded_gives_the_same(tmp_path: Path) -> None:
    preprocessor = fitted(TRAINING, *ENTRIES)
    preprocessor.save(tmp_path / "v1")
    loaded = Preprocessor.load(tmp_path / "v1")
    assert (loaded.entries, loaded.trained_through, loaded.customers) == (preprocessor.entries, THROUGH, 4)
    table = {"spent": [None, 3.0], "region": ["s", None], "sex": [None, "m"], "age": [7, 1]}
    assert values_of(loaded, table) == values_of(preprocessor, table)


def test_a_changed_file_is_refused(tmp_path: Path) -> None:
    fitted(TRAINING, *ENTRIES).save(tmp_path)
    file = tmp_path / "preprocess.skops"
    file.write_bytes(file.read_bytes()[:-1] + b"x")
    with pytest.raises(PortraitError, match=r"preprocess\.skops is not the file that was saved; train"):
        Preprocessor.load(tmp_path)
    file.unlink()
    with pytest.raises(PortraitError, match=r"preprocess\.skops: no such file"):
        Preprocessor.load(tmp_path)


def test_another_version_is_refused(tmp_path: Path) -> None:
    fitted(TRAINING, *ENTRIES).save(tmp_path)
    file = tmp_path / "preprocess.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "scikit_learn": "0.1"}))
    with pytest.raises(PortraitError, match=r"scikit-learn 0\.1; .*train the model again"):
        Preprocessor.load(tmp_path)


def test_types_of_others_are_not_made(tmp_path: Path) -> None:
    """A file that was put there with its digest still makes no object but those Portrait knows."""
    import skops.io
    from sklearn.base import BaseEstimator

    preprocessor = fitted(TRAINING, *ENTRIES)

    class Foreign(BaseEstimator):
        pass

    object.__setattr__(preprocessor.transformer, "extra_", Foreign())
    assert skops.io.get_untrusted_types(data=skops.io.dumps(preprocessor.transformer))
    preprocessor.save(tmp_path)
    with pytest.raises(PortraitError, match="types of unknown origin"):
        Preprocessor.load(tmp_path)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({**TRAINING, "sex": ["f", "x", "y", "f"]}, r"'sex' has 2 values that training .* first 'x'"),
        (
            {k: v for k, v in TRAINING.items() if k != "spent"},
            r"there is no feature 'spent'; docs/features\.md",
        ),
        ({k: v for k, v in TRAINING.items() if k != "region"}, r"there is no feature 'region'"),
        ({**TRAINING, "age": [1, None, 3, 4]}, r"'age' is missing for 1 of 4 customers; add impute"),
        ({**TRAINING, "spent": [1.0, -2.0, None, 9.0]}, r"'spent' has a value of -2; log1p needs 0 or more"),
        ({**TRAINING, "spent": [math.inf, 2.0, None, 9.0]}, r"'spent' is infinite"),
        ({**TRAINING, "age": [THROUGH] * 4}, r"'age' is date32.*, not a number; use days_since"),
        ({**TRAINING, "age": ["a"] * 4}, r"'age' is string, not a number; add encode"),
    ],
)
def test_what_does_not_fit_is_refused(table: dict[str, Any], message: str) -> None:
    with pytest.raises(PortraitError, match=message):
        fitted(TRAINING, *ENTRIES).transform(pa.table(table))


def test_nothing_to_fit_on_is_refused() -> None:
    with pytest.raises(PortraitError, match="preprocess is empty"):
        fitted(TRAINING)
    with pytest.raises(PortraitError, match="no customer up to 2026-03-17"):
        fitted({"a": pa.array([], pa.float64())}, {"column": "a"})
    with pytest.raises(PortraitError, match="no training customer has a value of 'a'; remove it"):
        fitted({"a": pa.array([None], pa.float64())}, {"column": "a", "impute": {}})


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"encode": "one_hot", "log1p": True}, "encode is for texts"),
        ({"encode": "one_hot", "impute": {"strategy": "mean"}}, "a text has no mean; say most_frequent"),
        ({"rarest": 5}, "rarest is for one_hot"),
    ],
)
def test_settings_that_contradict_are_refused(entry: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Preprocess.model_validate({"column": "a", **entry})


def test_a_column_stands_there_once() -> None:
    entries = [{"column": "a"}, {"column": "b"}, {"column": "a", "log1p": True}]
    with pytest.raises(ValueError, match="a stands there twice; keep one entry a column"):
        FeatureConfig.model_validate({"behaviour_weights": {}, "preprocess": entries})
