import importlib.util
import os
from pathlib import Path

import numpy as np
import pytest
from portrait.errors import PortraitError
from portrait.models import create
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


def _threes(n: int) -> list[slice]:
    return [slice(start, min(start + 3, n)) for start in range(0, n, 3)]


def test_refuses_before_memory_runs_out() -> None:
    """5 bytes x 200,000^2 = 200 GB; nothing is allocated."""
    train = csr_matrix(([1.0], ([0], [199_999])), shape=(1, 200_000))
    with pytest.raises(PortraitError, match=r"200,000 items need 200.0 GB .* memory_limit_gb is 4"):
        create("ease").fit(train)


def test_movielens_1m() -> None:
    """NDCG@100 .4266 on Liang's split, as measured with other code (lambda 700 chosen on validation)."""
    data = Path(os.environ.get("PORTRAIT_BENCHMARK_DATA", ROOT / "../shared/data")) / "ml1m_a"
    if not data.is_dir():
        pytest.skip(f"MovieLens-1M is absent ({data}); set PORTRAIT_BENCHMARK_DATA to the folder of ml1m_a")
    spec = importlib.util.spec_from_file_location("benchmark_models", ROOT / "benchmarks/models.py")
    assert spec is not None
    assert spec.loader is not None
    benchmark = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(benchmark)
    train, fold_in, held_out = benchmark.read_matrices(data, "train", "test_tr", "test_te")
    result = strong_generalisation(create("ease", regularisation=700.0), train, fold_in, held_out)
    assert result.value("held_out", "ndcg", 100) == pytest.approx(0.4266, abs=0.001)
    assert result.value("held_out", "recall", 20) == pytest.approx(0.3566, abs=0.001)
    assert result.value("held_out", "recall", 50) == pytest.approx(0.4772, abs=0.001)
