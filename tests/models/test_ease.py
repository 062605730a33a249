import os
from pathlib import Path

import numpy as np
import pytest
from portrait.errors import PortraitError
from portrait.models import create
from portrait.models.benchmark.strong import read_split
from portrait.models.ease import Ease
from portrait.models.evaluation import strong_generalisation
from scipy.sparse import csr_matrix

ROOT = Path(__file__).parents[2]


def test_two_items_by_hand() -> None:
    """X'X + I = [[3, 1], [1, 2]], inverse [[2, -1], [-1, 3]] / 5.

    B_01 = -P_01 / P_11 = (1/5) / (3/5) = 1/3 and B_10 = -P_10 / P_00 = (1/5) / (2/5) = 1/2.
    """
    train = csr_matrix([[1.0, 1.0], [1.0, 0.0]])
    model = Ease(regularisation=1.0).fit(train)
    np.testing.assert_allclose(model.weights_, [[0, 1 / 3], [1 / 2, 0]], rtol=1e-6)
    items, scores = model.recommend(csr_matrix([[2.0, 0.0]]), 1)
    assert items.tolist() == [[1]]
    np.testing.assert_allclose(scores, [[2 / 3]], rtol=1e-6)


def test_against_an_explicit_inverse(train: csr_matrix, monkeypatch: pytest.MonkeyPatch) -> None:
    """numpy's inverse in float64; blocks of three items, so that the assembly by blocks is met too."""
    monkeypatch.setattr("portrait.models.ease.row_chunks", lambda n, m: _threes(n))
    x = train.toarray().astype(np.float64)
    p = np.linalg.inv(x.T @ x + 5 * np.eye(20))
    b = -p / np.diag(p)
    np.fill_diagonal(b, 0)
    model = Ease(regularisation=5.0).fit(train)
    np.testing.assert_allclose(model.weights_, b, atol=1e-5)
    assert model.weights_.flags.c_contiguous


@pytest.mark.parametrize("share", [0.25, 0.5])
def test_dropout_is_that_of_infinitely_many_samples(share: float) -> None:
    """Denoising least squares over 20,000 dropped-out copies of X, item j from the others, against the closed form.

    The copies are not scaled up, so their expected X'X has off-diagonal cells by (1 - p)^2 and a diagonal by
    (1 - p): the weights on such an input are those of the closed form divided by (1 - p).
    """
    random = np.random.default_rng(0)
    x = (random.random((30, 4)) < 0.5).astype(np.float64)
    copies = np.tile(x, (20_000, 1))
    noisy = copies * (random.random(copies.shape) >= share)
    expected = np.zeros((4, 4))
    for j in range(4):
        others = np.flatnonzero(np.arange(4) != j)
        expected[others, j] = np.linalg.lstsq(noisy[:, others], copies[:, j], rcond=None)[0]
    model = Ease(regularisation=1e-6, dropout=share).fit(csr_matrix(x))
    np.testing.assert_allclose(model.weights_, expected * (1 - share), atol=0.005)


def test_normalised_rows_and_columns_against_an_explicit_inverse(train: csr_matrix) -> None:
    """Rows by total^-1/2 to a mean factor of 1, columns by (total + 1)^-1/4 to a mean square of 1; numpy's inverse."""
    x = train.toarray().astype(np.float64)
    x = x[x.sum(axis=1) > 0]
    by_row = x.sum(axis=1) ** -0.5
    mean = by_row.mean()
    by_column = (x.sum(axis=0) + 1) ** -0.25
    by_column /= np.sqrt((by_column**2).mean())
    scaled = (by_row / mean)[:, None] * x * by_column
    p = np.linalg.inv(scaled.T @ scaled + 5 * np.eye(20))
    b = -p / np.diag(p)
    np.fill_diagonal(b, 0)

    model = Ease(regularisation=5.0, customer_exponent=0.5, item_exponent=0.25).fit(train)
    history = np.array([[2.0] * 3 + [0.0] * 17, [0.0] * 19 + [1.0]])
    factors = np.array([6.0, 1.0]) ** -0.5 / mean
    expected = (factors[:, None] * history * by_column) @ b
    np.testing.assert_allclose(model._scores(csr_matrix(history)), expected, rtol=1e-3, atol=1e-5)


def _threes(n: int) -> list[slice]:
    return [slice(start, min(start + 3, n)) for start in range(0, n, 3)]


def test_refuses_before_memory_runs_out() -> None:
    """5 bytes x 200,000^2 = 200 GB; nothing is allocated."""
    train = csr_matrix(([1.0], ([0], [199_999])), shape=(1, 200_000))
    with pytest.raises(PortraitError, match=r"200,000 items need 200.0 GB .* memory_limit_gb is 4"):
        create("ease").fit(train)


def test_the_limit_can_be_set_and_is_named() -> None:
    """5 bytes x 1,000^2 = 5 MB: refused at 4, done at 5."""
    train = csr_matrix(([1.0, 1.0], ([0, 0], [0, 999])), shape=(1, 1000))
    with pytest.raises(
        PortraitError, match=r"1,000 items need 0.0050 GB .* memory_limit_gb is 0.004; raise it"
    ):
        create("ease", memory_limit_gb=0.004).fit(train)
    fitted = create("ease", memory_limit_gb=0.005, regularisation=1.0).fit(train)
    # One pair bought together once: its two rows of X'X + I are (2 1; 1 2), whose inverse has -1/3 beside 2/3.
    assert fitted.recommend(csr_matrix(([1.0], ([0], [0])), shape=(1, 1000)), 1)[0].tolist() == [[999]]
    assert fitted.weights_[0, 999] == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("params", "ndcg", "recall_20", "recall_50"),
    [
        # lambda 700 chosen on validation, as measured with other code
        ({"regularisation": 700.0}, 0.4266, 0.3566, 0.4772),
        # docs/models.md
        (
            {"regularisation": 200.0, "dropout": 0.25, "customer_exponent": 0.25, "item_exponent": 0.2},
            0.4381,
            0.3688,
            0.4984,
        ),
    ],
)
def test_movielens_1m(params: dict[str, float], ndcg: float, recall_20: float, recall_50: float) -> None:
    """Liang's split of MovieLens-1M."""
    data = Path(os.environ.get("PORTRAIT_BENCHMARK_DATA", ROOT / "../shared/data")) / "ml1m_a"
    if not data.is_dir():
        pytest.skip(f"MovieLens-1M is absent ({data}); set PORTRAIT_BENCHMARK_DATA to the folder of ml1m_a")
    split = read_split(data)
    result = strong_generalisation(create("ease", **params), split.train, *split.test)
    assert result.value("held_out", "ndcg", 100) == pytest.approx(ndcg, abs=0.001)
    assert result.value("held_out", "recall", 20) == pytest.approx(recall_20, abs=0.001)
    assert result.value("held_out", "recall", 50) == pytest.approx(recall_50, abs=0.001)
