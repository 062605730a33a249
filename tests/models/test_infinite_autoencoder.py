import numpy as np
import pytest
from portrait.errors import PortraitError
from portrait.models.infinite_autoencoder import InfiniteAutoencoder, tangent_kernel, unit_rows
from scipy.sparse import csr_matrix


def test_unit_rows() -> None:
    found = unit_rows(csr_matrix([[3.0, 4.0], [0.0, 0.0]]))
    np.testing.assert_allclose(found.toarray(), [[0.6, 0.8], [0, 0]], rtol=1e-6)


@pytest.mark.parametrize(
    ("cosine", "expected"),
    [
        (1.0, 2.0),
        (0.0, 1 / np.pi),
        # arccos 0.5 = pi / 3: k0 = 2/3, k1 = (0.5 * 2 pi / 3 + sqrt 0.75) / pi
        (0.5, 0.5 * 2 / 3 + 1 / 3 + np.sqrt(0.75) / np.pi),
    ],
)
def test_kernel_by_hand(cosine: float, expected: float) -> None:
    first, second = csr_matrix([[1.0, 0.0]]), csr_matrix([[cosine, np.sqrt(1 - cosine**2)]])
    np.testing.assert_allclose(tangent_kernel(first, second), [[expected]], rtol=1e-5)


def test_against_an_explicit_inverse(train: csr_matrix) -> None:
    model = InfiniteAutoencoder(regularisation=3.0).fit(train)
    rows = unit_rows(train)
    kernel = tangent_kernel(rows, rows).astype(np.float64)
    expected = kernel @ np.linalg.inv(kernel + 6 * np.eye(len(kernel))) @ train.toarray()
    np.testing.assert_allclose(model._scores(train), expected, rtol=1e-3, atol=1e-4)


def test_landmarks_give_the_exact_model_when_all_are_taken(train: csr_matrix) -> None:
    exact = InfiniteAutoencoder(regularisation=3.0).fit(train)
    approximate = InfiniteAutoencoder(regularisation=3.0).fit(train)
    approximate.responses_ = approximate._nystrom(train)
    np.testing.assert_allclose(approximate._scores(train), exact._scores(train), rtol=1e-2, atol=1e-3)


def test_fewer_landmarks_are_drawn_by_the_seed(train: csr_matrix) -> None:
    model = InfiniteAutoencoder(landmarks=30).fit(train, seed=1)
    assert model.landmarks_.shape == (30, 20)
    same, other = (InfiniteAutoencoder(landmarks=30).fit(train, seed=seed) for seed in (1, 2))
    assert (model.responses_ == same.responses_).all()
    assert (model.landmarks_ != other.landmarks_).nnz > 0


def test_learns_tastes(train: csr_matrix) -> None:
    model = InfiniteAutoencoder(landmarks=40).fit(train)
    first = csr_matrix(([1.0] * 3, ([0, 0, 0], [0, 1, 2])), shape=(1, 20))
    assert (model.recommend(first, 5)[0] < 10).all()


def test_refuses_before_memory_runs_out(train: csr_matrix) -> None:
    """24 x 80^2 + 12 x 80 x 20 = 172,800 bytes."""
    with pytest.raises(
        PortraitError, match=r"80 landmarks and 20 items need 0.0 GB, memory_limit_gb is 0.0001"
    ):
        InfiniteAutoencoder(memory_limit_gb=0.0001).fit(train)
