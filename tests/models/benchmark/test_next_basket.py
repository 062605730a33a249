"""The next-basket protocol, by hand and on the literature's own data set."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
from portrait.errors import PortraitError
from portrait.models.benchmark import ModelRequest, Options, Row, run_benchmark
from portrait.models.benchmark.next_basket import basket_ndcg
from scipy.sparse import csr_matrix

HEADING = "user_id,order_number,product_id\n"
HISTORY = "1,1,5\n1,1,6\n1,2,6\n2,1,7\n3,1,6\n3,2,8\n3,2,6\n"
FUTURE = "1,3,6\n1,3,7\n2,2,9\n3,3,8\n"
KEYSET = '{"item_num": 10, "train": ["3"], "val": ["2"], "test": ["1"]}'
TAFENG = Path(os.environ.get("PORTRAIT_BENCHMARK_DATA", "../shared/data")) / "tafeng"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "history.csv").write_text(HEADING + HISTORY)
    (tmp_path / "future.csv").write_text(HEADING + FUTURE)
    (tmp_path / "keyset_0.json").write_text(KEYSET)
    return tmp_path


def figures(folder: Path, *names: str, **options: object) -> dict[str, dict[str, float]]:
    requests = [ModelRequest(name) for name in names]
    rows: list[Row] = list(
        run_benchmark(folder, "next-basket", requests, Options(threads=1, **options))  # type: ignore[arg-type]
    )
    return {row.model: {name: f.value for name, f in row.figures.items()} for row in rows}


def test_figures_by_hand(folder: Path) -> None:
    """User 1 had 5 and 6, and buys 6 again and 7 for the first time.

    P-TopFreq lists 6 (twice), 5: one of two found, in the first place. GP-TopFreq and `repeat` go on with the
    popular 7 (8 and 7 were each bought once, 7 first in the file and in number) and 8: both found, places 1, 3.
    """
    found = figures(folder, "p_topfreq", "gp_topfreq", "repeat")
    ideal = 1 + 1 / np.log2(3)
    assert found["p_topfreq"] == pytest.approx(
        {"Recall@10": 0.5, "NDCG@10": 1 / ideal, "PHR@10": 1, "Repeat@10": 1, "Explore@10": 0}
    )
    expected = {"Recall@10": 1, "NDCG@10": 1.5 / ideal, "PHR@10": 1, "Repeat@10": 1, "Explore@10": 1}
    assert found["gp_topfreq"] == pytest.approx(expected)
    assert found["repeat"] == pytest.approx(expected)


def test_mean_over_keysets(folder: Path) -> None:
    """User 1 has recall 1/2, user 3 recall 1: their mean over the two keysets, without a common error."""
    (folder / "keyset_1.json").write_text('{"train": ["1"], "val": [], "test": ["3"]}')
    (row,) = run_benchmark(folder, "next-basket", [ModelRequest("p_topfreq")], Options())
    assert row.figures["Recall@10"].value == pytest.approx(0.75)
    assert row.figures["Recall@10"].standard_error is None  # of one customer each nothing is known
    assert row.validation["NDCG@10"].value == 0  # user 2 of the first keyset buys 9
    one = figures(folder, "p_topfreq", keysets=(folder / "keyset_1.json",))
    assert one["p_topfreq"]["Recall@10"] == 1


def test_ndcg_of_a_basket_longer_than_the_list() -> None:
    """Three of four items, in the first two places of a list of two: the ideal counts all four."""
    relevant = csr_matrix([[1.0, 1, 1, 1, 0], [0, 0, 0, 0, 1], [0, 0, 0, 0, 0]])
    found = basket_ndcg(np.array([[0, 1], [0, 4], [0, 1]]), relevant, 2)
    gains = 1 / np.log2(np.arange(2, 6))
    np.testing.assert_allclose(found[:2], [gains[:2].sum() / gains.sum(), gains[1]])
    assert np.isnan(found[2])


def test_unknown_model_and_parameter(folder: Path) -> None:
    with pytest.raises(PortraitError, match="unknown model 'nope'"):
        figures(folder, "nope")
    request = ModelRequest("nightly", {"trees": 3})
    with pytest.raises(PortraitError, match="model 'nightly' has no parameter trees; allowed"):
        list(run_benchmark(folder, "next-basket", [request], Options()))


def test_too_few_customers_for_a_ranker(folder: Path) -> None:
    with pytest.raises(PortraitError, match="1 customers bought something after the log; 6 are the least"):
        figures(folder, "nightly")


def test_nightly_learns_from_the_training_customers(tmp_path: Path) -> None:
    """60 users who come back for the first of their two baskets: the nightly recommender finds that out.

    The recall of what they bought most often is no better than the order of the file: both baskets once.
    """
    random = np.random.default_rng(0)
    own = np.argsort(random.random((60, 30)), axis=1)[:, :20] + 100
    past = [f"{u},{b},{i}" for u in range(60) for b in (1, 2) for i in own[u, 10 * b - 10 : 10 * b]]
    (tmp_path / "history.csv").write_text(HEADING + "\n".join(reversed(past)) + "\n")
    (tmp_path / "future.csv").write_text(
        HEADING + "".join(f"{u},3,{i}\n" for u in range(60) for i in own[u, :10])
    )
    (tmp_path / "keyset_0.json").write_text(
        json.dumps({"train": list(range(40)), "val": [], "test": list(range(40, 60))})
    )
    small = {"folds": 2, "linear_least": 1, "popular": 5, "neighbours": 5, "rounds": 30, "negatives": 1.0}
    requests = [ModelRequest("nightly", small), ModelRequest("p_topfreq")]
    nightly, frequent = run_benchmark(tmp_path, "next-basket", requests, Options(threads=1))
    assert nightly.figures["Recall@10"].value > 0.9
    assert nightly.params == small
    assert frequent.figures["Recall@10"].value == 0  # the file begins with the last baskets


@pytest.mark.slow
@pytest.mark.skipif(
    not TAFENG.is_dir(), reason=f"no Ta-Feng data under {TAFENG}; set PORTRAIT_BENCHMARK_DATA"
)
def test_baselines_of_the_literature() -> None:
    """Measured with the published code over five keysets; three are at hand, so within .002 (PHR .003).

    Recall, NDCG, PHR of TIFU-KNN, and of personal frequency with popularity between ties.
    """
    measured = {"tifu_knn": (0.1247, 0.0999, 0.3804), "repeat": (0.1361, 0.1154, 0.4162)}
    found = figures(TAFENG, *measured)
    for name, (recall, ndcg, phr) in measured.items():
        assert found[name]["Recall@10"] == pytest.approx(recall, abs=0.002), name
        assert found[name]["NDCG@10"] == pytest.approx(ndcg, abs=0.002), name
        assert found[name]["PHR@10"] == pytest.approx(phr, abs=0.003), name
