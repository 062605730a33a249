import numpy as np
import pytest
from portrait.models import create
from scipy.sparse import csr_matrix

TRAIN = csr_matrix([[1.0, 2.0, 0.0, 1.0], [1.0, 6.0, 4.0, 0.0]])
"""Item weights 2, 8, 4, 1: popularity relative to the greatest 1/4, 1, 1/2, 1/8."""


@pytest.mark.parametrize(
    ("history", "items"),
    [
        ([3.0, 0.0, 1.0, 0.0], [0, 2, 1, 3]),  # own items by weight, then the popular rest
        ([2.0, 0.0, 0.0, 2.0], [0, 3, 1, 2]),  # equal weights: the more popular first
        ([0.0, 0.0, 0.0, 0.0], [1, 2, 0, 3]),  # cold: popularity
    ],
)
def test_personal_first_then_popular(history: list[float], items: list[int]) -> None:
    model = create("repeat").fit(TRAIN)
    assert model.recommend(csr_matrix([history]), 4, exclude_seen=False)[0].tolist() == [items]


def test_score() -> None:
    """3 + 0.1 * 1/4 for item 0, and 0.1 * 1 for item 1."""
    model = create("repeat", tie_break=0.1).fit(TRAIN)
    scores = model.recommend(csr_matrix([[3.0, 0, 0, 0]]), 2, exclude_seen=False)[1]
    np.testing.assert_allclose(scores, [[3.025, 0.1]], rtol=1e-6)
