import numpy as np
from portrait.models import create
from scipy.sparse import csr_matrix


def test_share_of_weight() -> None:
    """Item weights 3, 1, 4 of 8 in all."""
    model = create("popularity").fit(csr_matrix([[1.0, 1.0, 0.0], [2.0, 0.0, 4.0]]))
    items, scores = model.recommend(csr_matrix((1, 3)), 3)
    assert items.tolist() == [[2, 0, 1]]
    np.testing.assert_allclose(scores, [[0.5, 0.375, 0.125]])


def test_seen_items_are_skipped() -> None:
    model = create("popularity").fit(csr_matrix([[1.0, 1.0, 0.0], [2.0, 0.0, 4.0]]))
    assert model.recommend(csr_matrix([[0.0, 0.0, 1.0]]), 2)[0].tolist() == [[0, 1]]
