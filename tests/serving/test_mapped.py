"""Models whose arrays are mapped answer like the ones that were saved."""

from pathlib import Path

import numpy as np
import pytest
from portrait.errors import PortraitError
from portrait.models import create
from portrait.serving import mapped
from portrait.serving.mapped import load_mapped
from scipy.sparse import csr_matrix, random


@pytest.fixture
def train() -> csr_matrix:
    return csr_matrix(random(200, 60, 0.1, random_state=np.random.default_rng(3), dtype=np.float32))


@pytest.mark.parametrize("name", ["ease", "popularity"])
def test_the_same_answers_from_files(tmp_path: Path, train: csr_matrix, name: str) -> None:
    model = create(name).fit(train)
    model.save(tmp_path / "model")
    expected = model.recommend(train[:20], 10)
    for _ in range(2):  # the second time from the files of the first
        found = load_mapped(tmp_path / "model", tmp_path / "cache")
        assert isinstance(found.prior_, np.memmap)
        items, scores = found.recommend(train[:20], 10)
        np.testing.assert_array_equal(items, expected[0])
        np.testing.assert_array_equal(scores, expected[1])


def test_a_model_that_reads_its_state_itself(
    tmp_path: Path, train: csr_matrix, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mapped, "SHARED_BYTES", 100)
    model = create("article", hidden=8, latent=4, epochs=1, threads=1).fit(train)
    model.save(tmp_path / "model")
    found = load_mapped(tmp_path / "model", tmp_path / "cache")
    assert isinstance(found.prior_, np.memmap)
    assert found.params["device"] == "cpu"
    np.testing.assert_array_equal(found.recommend(train[:5], 10)[0], model.recommend(train[:5], 10)[0])


def test_nothing_there(tmp_path: Path) -> None:
    with pytest.raises(PortraitError, match="no saved model here"):
        load_mapped(tmp_path / "model", tmp_path / "cache")
