from pathlib import Path

import numpy as np
import pytest
from portrait.models import create, load
from portrait.models.tifu_knn import faded_by_group
from scipy.sparse import csr_matrix

TRAIN = csr_matrix([[4.0, 0.0, 0.0], [0.0, 2.0, 2.0], [3.0, 1.0, 0.0]])


@pytest.mark.parametrize(
    ("n", "expected"),
    [
        # One run a basket; a run is .5 ** (2 - place), a basket .9 ** (baskets after it), by 2 runs.
        (2, [0.9 * 0.25 / 2, 0.5 / 2]),
        # Runs {0}, {1}, {2}.
        (3, [0.81 * 0.25 / 3, 0.9 * 0.5 / 3, 1 / 3]),
        # Runs {0}, {1, 2}, {3, 4}: the last two runs are the longer ones.
        (5, [0.6561 * 0.25 / 3, 0.729 * 0.5 / 6, 0.81 * 0.5 / 6, 0.9 / 6, 1 / 6]),
    ],
)
def test_fading_by_hand(n: int, expected: list[float]) -> None:
    weight = faded_by_group(np.arange(n), np.full(n, n), groups=3, within=0.9, between=0.5)
    np.testing.assert_allclose(weight, expected, rtol=1e-6)


def test_score_by_hand() -> None:
    """Squared distances of (3, 0, 0): 1, 17, 1. The two nearest have a mean of (3.5, .5, 0)."""
    model = create("tifu_knn", neighbours=2, own_share=0.6).fit(TRAIN)
    items, scores = model.recommend(csr_matrix([[3.0, 0.0, 0.0]]), 3, exclude_seen=False)
    assert items.tolist() == [[0, 1, 2]]
    np.testing.assert_allclose(scores, [[0.6 * 3 + 0.4 * 3.5, 0.4 * 0.5, 0]], rtol=1e-6)


def test_more_neighbours_than_customers() -> None:
    """All three: mean (7/3, 1, 2/3)."""
    model = create("tifu_knn", own_share=0.0).fit(TRAIN)
    scores = model.recommend(csr_matrix([[1.0, 0.0, 0.0]]), 3, exclude_seen=False)[1]
    np.testing.assert_allclose(scores, [[7 / 3, 1, 2 / 3]], rtol=1e-6)


def test_reference_is_capped_and_saved(tmp_path: Path) -> None:
    model = create("tifu_knn", reference_customers=2).fit(TRAIN, seed=4)
    kept = model.reference_.toarray().tolist()  # type: ignore[attr-defined]
    assert len(kept) == 2
    assert all(row in TRAIN.toarray().tolist() for row in kept)
    model.save(tmp_path / "m")
    again = load(tmp_path / "m")
    assert again.reference_.toarray().tolist() == kept  # type: ignore[attr-defined]
