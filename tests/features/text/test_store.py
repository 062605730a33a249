"""A model on disk."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from portrait.errors import PortraitError
from portrait.features.text import TextModel, load_model, save_model
from portrait.features.text.store import vector_array, vectors_from


def test_a_loaded_model_gives_the_same_vectors(model: TextModel, tmp_path: Path) -> None:
    save_model(model, tmp_path / "model")
    texts = ["洗发水", "shampo", "Lotus 500g 绿茶", "zzqxv", ""]
    np.testing.assert_array_equal(load_model(tmp_path / "model").embed(texts), model.embed(texts))


def test_nothing_that_runs_code_is_written(fasttext: TextModel, tmp_path: Path) -> None:
    save_model(fasttext, tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["model.json", "ngrams.parquet", "words.parquet"]


def test_no_model(tmp_path: Path) -> None:
    with pytest.raises(PortraitError, match="run `portrait features`"):
        load_model(tmp_path)


def test_a_model_of_another_version(tfidf: TextModel, tmp_path: Path) -> None:
    save_model(tfidf, tmp_path)
    about = json.loads((tmp_path / "model.json").read_text())
    (tmp_path / "model.json").write_text(json.dumps({**about, "buckets": 7}))
    with pytest.raises(PortraitError, match="made by another version"):
        load_model(tmp_path)


def test_vectors_in_several_chunks() -> None:
    column = vector_array(np.array([[1, 2], [0, 0], [3, 4]], np.float32))
    both = pa.chunked_array([column, column.slice(1)])
    assert vectors_from(both, 2).tolist() == [[1, 2], [0, 0], [3, 4], [0, 0], [3, 4]]
    assert vectors_from(both.slice(0, 0), 2).shape == (0, 2)
