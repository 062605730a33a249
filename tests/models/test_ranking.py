import numpy as np
import pytest
from portrait.models.ranking import align, greatest, mask_out, row_chunks, top_k
from scipy.sparse import csr_matrix


@pytest.mark.parametrize(
    ("scores", "k", "items"),
    [
        ([[1, 3, 2]], 2, [[1, 2]]),
        ([[1, 3, 2]], 3, [[1, 2, 0]]),
        ([[1, 3, 2]], 5, [[1, 2, 0, -1, -1]]),
        ([[5, 5, 5, 5]], 2, [[0, 1]]),  # all equal: by index
        ([[1, 5, 1, 1, 1]], 3, [[1, 0, 2]]),  # a tie across the last place: lowest indexes win
        ([[1, 1, 1, 5, 1]], 3, [[3, 0, 1]]),
        ([[0, -np.inf, -np.inf]], 2, [[0, -1]]),  # masked: padded
        ([[-np.inf] * 3], 2, [[-1, -1]]),
        ([[0.0, -0.0, 1.0]], 2, [[2, 0]]),  # minus zero equals zero
    ],
)
def test_top_k(scores: list[list[float]], k: int, items: list[list[int]]) -> None:
    found, values = top_k(np.array(scores, dtype=np.float32), k)
    assert found.tolist() == items
    for place, item in enumerate(items[0]):
        assert values[0, place] == (-np.inf if item < 0 else scores[0][item])


def test_top_k_agrees_with_a_full_sort() -> None:
    """Scores from nine values only, so that nearly every list ends in a tie."""
    scores = np.random.default_rng(0).integers(0, 9, (200, 60)).astype(np.float32)
    full = np.lexsort((np.broadcast_to(np.arange(60), scores.shape), -scores), axis=1)
    for k in (1, 7, 59):
        assert (top_k(scores, k)[0] == full[:, :k]).all()


def test_align_pads_cuts_and_tidies() -> None:
    matrix = csr_matrix([[1.0, 0.0, 2.0]])
    assert align(matrix, 5).toarray().tolist() == [[1, 0, 2, 0, 0]]
    assert align(matrix, 2).toarray().tolist() == [[1, 0]]
    assert align(matrix, 3).dtype == np.float32


def test_chunks_cover_all_rows_within_the_limit() -> None:
    assert list(row_chunks(5, 10, cells=20)) == [slice(0, 2), slice(2, 4), slice(4, 5)]
    assert list(row_chunks(2, 100, cells=20)) == [slice(0, 1), slice(1, 2)]  # never less than a row
    assert list(row_chunks(0, 10)) == []


def test_mask_out() -> None:
    scores = np.zeros((2, 3), dtype=np.float32)
    mask_out(scores, csr_matrix([[0, 1, 0], [0, 0, 0]]))
    assert np.isneginf(scores).tolist() == [[False, True, False], [False, False, False]]


@pytest.mark.parametrize(("columns", "k"), [(7, 7), (40, 3), (1000, 50), (1003, 50), (20_000, 1000)])
def test_the_greatest_of_each_row(columns: int, k: int) -> None:
    """Whole numbers, so that many are equal: the scores are those of a sort, whichever columns they are of."""
    scores = np.random.default_rng(columns).integers(0, columns // 4 + 2, (20, columns)).astype(np.float32)
    found = greatest(scores, k)
    assert found.shape == (20, k)
    assert all(len(set(row)) == k for row in found.tolist())
    expected = np.sort(scores, axis=1)[:, columns - k :]
    assert (np.sort(np.take_along_axis(scores, found, axis=1), axis=1) == expected).all()
