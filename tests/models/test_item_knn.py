import functools

import numpy as np
import pytest
from portrait.models import create
from portrait.models.item_knn import ItemKnn
from portrait.models.ranking import row_chunks
from scipy.sparse import csr_matrix

TRAIN = csr_matrix([[1.0, 1.0, 0.0], [1.0, 1.0, 1.0], [1.0, 0.0, 0.0], [1.0, 0.0, 0.0]])
"""Item columns of lengths 2, sqrt 2 and 1; products 2 (0, 1), 1 (0, 2) and 1 (1, 2)."""


def test_similarity_by_hand() -> None:
    model = ItemKnn(neighbours=3, shrinkage=1.0).fit(TRAIN)
    first, second, third = 2 / (2 * np.sqrt(2) + 1), 1 / (2 + 1), 1 / (np.sqrt(2) + 1)
    expected = [[0, first, second], [first, 0, third], [second, third, 0]]
    np.testing.assert_allclose(model.similarity_.toarray(), expected, rtol=1e-6)


def test_only_the_nearest_count() -> None:
    """One neighbour each, without shrinkage: cosines .707 (0, 1), .5 (0, 2), .707 (1, 2)."""
    model = ItemKnn(neighbours=1, shrinkage=0.0).fit(TRAIN)
    assert np.diff(model.similarity_.indptr).tolist() == [1, 1, 1]
    assert model.similarity_.indices.tolist() == [1, 0, 1]  # 0 and 2 are equally near to 1: the lower index
    scores = model.recommend(csr_matrix([[0.0, 2.0, 0.0]]), 2)[1]
    np.testing.assert_allclose(scores, [[np.sqrt(2), np.sqrt(2)]], rtol=1e-6)


def test_blocks_change_nothing(train: csr_matrix, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = create("item_knn", neighbours=5).fit(train)
    monkeypatch.setattr("portrait.models.item_knn.row_chunks", functools.partial(row_chunks, cells=7 * 20))
    blocks = create("item_knn", neighbours=5).fit(train)
    assert (whole.similarity_ != blocks.similarity_).nnz == 0  # type: ignore[attr-defined]
