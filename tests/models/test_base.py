"""What every model must do the same way."""

import functools
import subprocess
import sys
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from portrait.errors import PortraitError
from portrait.models import REGISTRY, Recommender, create, load
from portrait.models.ease import Ease
from portrait.models.ranking import row_chunks
from scipy.sparse import csr_matrix, hstack, save_npz
from scipy.sparse import random as random_sparse

SMALL_K = 5
LOAD_AND_RECOMMEND = """
import sys
from pathlib import Path
import numpy as np
from scipy.sparse import load_npz
from portrait.models import load
folder = Path(sys.argv[1])
history = load_npz(folder / "history.npz")
for name in sys.argv[2:]:
    model = load(folder / name, threads=1)
    items, scores = model.recommend(history, 5)
    vectors = model.embed(history) if model.has_embedding else np.empty(0)
    np.savez(folder / f"{name}.npz", items=items, scores=scores, vectors=vectors)
"""


@pytest.fixture
def history(train: csr_matrix) -> csr_matrix:
    return train[:12]


def test_shapes_and_types(model: Recommender, history: csr_matrix) -> None:
    items, scores = model.recommend(history, SMALL_K)
    assert items.shape == scores.shape == (12, SMALL_K)
    assert items.dtype == np.int32
    assert scores.dtype == np.float32


def test_scores_descend_and_items_are_distinct(model: Recommender, history: csr_matrix) -> None:
    items, scores = model.recommend(history, SMALL_K, exclude_seen=False)
    assert (np.diff(scores, axis=1) <= 0).all()
    assert all(len(set(row)) == SMALL_K for row in items.tolist())


def test_seen_items_are_left_out(model: Recommender, history: csr_matrix) -> None:
    items, _ = model.recommend(history, SMALL_K)
    assert history[np.repeat(np.arange(12), SMALL_K), items.ravel()].sum() == 0


def test_exclude_replaces_the_history_as_mask(model: Recommender, history: csr_matrix) -> None:
    """Only item 3 was bought: it is gone, and viewed items may come back, whatever exclude_seen says."""
    bought = csr_matrix((np.ones(12), (np.arange(12), np.full(12, 3))), shape=(12, 20))
    everything, _ = model.recommend(history, 20, exclude_seen=False)
    for exclude_seen in (True, False):
        items, scores = model.recommend(history, 20, exclude_seen=exclude_seen, exclude=bought)
        assert (items[:, :19] == [[i for i in row if i != 3] for row in everything.tolist()]).all()
        assert (items[:, 19] == -1).all()
        assert np.isneginf(scores[:, 19]).all()


def test_too_few_candidates_are_padded(model: Recommender) -> None:
    """18 of 20 items seen: two are left, the other three places are -1 / -inf."""
    items, scores = model.recommend(csr_matrix([[1.0] * 18 + [0.0] * 2]), 5)
    assert set(items[0, :2].tolist()) == {18, 19}
    assert items[0, 2:].tolist() == [-1, -1, -1]
    assert np.isneginf(scores[0, 2:]).all()
    assert np.isfinite(scores[0, :2]).all()


def test_k_beyond_the_catalogue(model: Recommender, history: csr_matrix) -> None:
    items, _ = model.recommend(history, 25, exclude_seen=False)
    assert (np.sort(items[:, :20], axis=1) == np.arange(20)).all()
    assert (items[:, 20:] == -1).all()


def test_cold_customers_get_what_is_popular(model: Recommender, train: csr_matrix) -> None:
    weight = np.asarray(train.sum(axis=0)).ravel()
    popular = np.argsort(-weight, kind="stable")[:SMALL_K]
    items, scores = model.recommend(csr_matrix((2, 20)), SMALL_K)
    assert items.tolist() == [popular.tolist()] * 2
    assert np.isfinite(scores).all()


def test_older_and_newer_catalogues(model: Recommender, history: csr_matrix) -> None:
    """Missing columns are empty ones; columns the model has not met change nothing."""
    first_half = history[:, :10]
    padded = csr_matrix(hstack([first_half, csr_matrix((12, 10))]))
    assert (model.recommend(first_half, 4)[0] == model.recommend(padded, 4)[0]).all()
    longer = csr_matrix(hstack([history, csr_matrix(np.ones((12, 3)))]))
    items, _ = model.recommend(longer, 4)
    assert (items == model.recommend(history, 4)[0]).all()
    assert items.max() < 20


def test_only_unknown_items_is_a_cold_customer(model: Recommender) -> None:
    only_new = csr_matrix(([1.0], ([0], [22])), shape=(1, 23))
    assert (model.recommend(only_new, 4)[0] == model.recommend(csr_matrix((1, 20)), 4)[0]).all()


def test_no_customers(model: Recommender) -> None:
    assert model.recommend(csr_matrix((0, 20)), 4)[0].shape == (0, 4)
    if model.has_embedding:
        assert model.embed(csr_matrix((0, 20))).shape == (0, 8)


def test_chunks_change_nothing(
    model: Recommender, history: csr_matrix, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = model.recommend(history, SMALL_K)
    five_users = functools.partial(row_chunks, cells=5 * 20)
    monkeypatch.setattr("portrait.models.base.row_chunks", five_users)
    chunked = model.recommend(history, SMALL_K)
    assert (whole[0] == chunked[0]).all()
    np.testing.assert_allclose(whole[1], chunked[1], rtol=1e-5)


def test_memory_is_that_of_a_chunk_of_users() -> None:
    """3,000 users x 20,000 items: 240 MB of scores and 480 MB of positions at once, 100 MB in chunks."""
    model = create("popularity").fit(random_sparse(50, 20_000, density=0.01, format="csr", rng=0))
    tracemalloc.start()
    items, _ = model.recommend(csr_matrix((3_000, 20_000)), 10)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert items.shape == (3_000, 10)
    assert peak < 150e6


def test_the_input_is_left_alone(model: Recommender) -> None:
    """Unsorted, with a duplicate and a stored zero: read as it is meant, but not tidied up in place."""
    messy = csr_matrix((1, 20))
    messy.data, messy.indices = np.array([1.0, 0.0, 1.0, 1.0]), np.array([4, 1, 2, 4], dtype=np.int32)
    messy.indptr = np.array([0, 4], dtype=np.int32)
    tidy = csr_matrix(([1.0, 2.0], ([0, 0], [2, 4])), shape=(1, 20))
    assert (model.recommend(messy, 4)[0] == model.recommend(tidy, 4)[0]).all()
    assert messy.indices.tolist() == [4, 1, 2, 4]
    assert messy.data.tolist() == [1.0, 0.0, 1.0, 1.0]


@pytest.mark.parametrize("name", REGISTRY)
def test_same_seed_same_model(
    name: str,
    small: dict[str, dict[str, Any]],
    fitted: dict[str, Recommender],
    train: csr_matrix,
    validation: tuple[csr_matrix, csr_matrix],
    history: csr_matrix,
) -> None:
    again = create(name, **small[name]).fit(train, validation, seed=7)
    for ours, theirs in zip(again.recommend(history, 5), fitted[name].recommend(history, 5), strict=True):
        assert (ours == theirs).all()
    if again.has_embedding:
        other = create(name, **small[name]).fit(train, validation, seed=8)
        assert (again.embed(history) == fitted[name].embed(history)).all()
        assert not np.allclose(again.embed(history), other.embed(history))


def test_another_process_loads_the_same_models(
    fitted: dict[str, Recommender], history: csr_matrix, tmp_path: Path
) -> None:
    save_npz(tmp_path / "history.npz", history)
    for name, model in fitted.items():
        model.save(tmp_path / name)
    subprocess.run([sys.executable, "-c", LOAD_AND_RECOMMEND, str(tmp_path), *fitted], check=True)
    for name, model in fitted.items():
        with np.load(tmp_path / f"{name}.npz") as theirs:
            items, scores = model.recommend(history, 5)
            assert (theirs["items"] == items).all(), name
            np.testing.assert_allclose(theirs["scores"], scores, rtol=1e-5)
            if model.has_embedding:
                np.testing.assert_allclose(theirs["vectors"], model.embed(history), rtol=1e-4, atol=1e-6)


def test_save_replaces_and_leaves_nothing_beside(model: Recommender, tmp_path: Path) -> None:
    (tmp_path / "champion").mkdir()
    (tmp_path / "champion" / "stale.txt").write_text("old")
    model.save(tmp_path / "champion")
    assert [p.name for p in tmp_path.iterdir()] == ["champion"]
    assert not (tmp_path / "champion" / "stale.txt").exists()
    assert load(tmp_path / "champion").name == model.name


def test_a_save_that_fails_keeps_the_old_folder(
    fitted: dict[str, Recommender], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fitted["popularity"].save(tmp_path / "champion")
    monkeypatch.setattr(Ease, "_save_state", lambda self, folder: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        fitted["ease"].save(tmp_path / "champion")
    assert [p.name for p in tmp_path.iterdir()] == ["champion"]
    assert load(tmp_path / "champion").name == "popularity"


def test_parameters_come_back(model: Recommender, tmp_path: Path) -> None:
    model.save(tmp_path / "m")
    again = load(tmp_path / "m")
    learnt = set(model.params) - model.runtime_parameters
    assert {k: again.params[k] for k in learnt} == {k: model.params[k] for k in learnt}
    assert (again.n_items, again.seed) == (20, 7)


def test_embeddings(model: Recommender, history: csr_matrix) -> None:
    if model.has_embedding:
        vectors = model.embed(history)
        assert vectors.shape == (12, 8)
        assert vectors.dtype == np.float32
        assert np.isfinite(model.embed(csr_matrix((1, 20)))).all()
    else:
        with pytest.raises(PortraitError, match="has no embedding; use one of the autoencoders"):
            model.embed(history)


@pytest.mark.parametrize(
    ("matrix", "message"),
    [
        (csr_matrix((3, 4)), "holds no interaction"),
        (csr_matrix([[0.0, 0.0]]), "holds no interaction"),
    ],
)
def test_nothing_to_learn_from(matrix: csr_matrix, message: str) -> None:
    with pytest.raises(PortraitError, match=message):
        create("popularity").fit(matrix)


@pytest.mark.parametrize("weight", [-1.0, np.nan, np.inf])
def test_impossible_weights(weight: float) -> None:
    with pytest.raises(ValueError, match="finite and not negative"):
        create("popularity").fit(csr_matrix([[1.0, weight]]))


def test_misuse(fitted: dict[str, Recommender], history: csr_matrix, tmp_path: Path) -> None:
    with pytest.raises(PortraitError, match="not fitted"):
        create("ease").recommend(history, 5)
    with pytest.raises(ValueError, match="k must be at least 1"):
        fitted["ease"].recommend(history, 0)
    with pytest.raises(ValueError, match="exclude has 3 rows, history 12"):
        fitted["ease"].recommend(history, 5, exclude=history[:3])
    with pytest.raises(PortraitError, match="no saved model here"):
        load(tmp_path / "nowhere")
    fitted["popularity"].save(tmp_path / "m")
    with pytest.raises(PortraitError, match="holds a model 'popularity', not 'ease'"):
        Ease.load(tmp_path / "m")
    (tmp_path / "m" / "model.json").write_text("{")
    with pytest.raises(PortraitError, match="not readable as JSON"):
        load(tmp_path / "m")


def test_among_some_items_the_order_is_that_of_the_whole_list() -> None:
    random = np.random.default_rng(0)
    train = csr_matrix(random.random((60, 12)) * (random.random((60, 12)) < 0.4), dtype=np.float32)
    model = create("ease", regularisation=1.0).fit(train)
    among = csr_matrix((random.random((60, 15)) < 0.3).astype(np.float32))  # three items it has not met
    items, scores = model.recommend_among(train, among, 4)
    whole, whole_scores = model.recommend(train, 12, exclude_seen=False)
    for row in range(60):
        wanted = [place for place, item in enumerate(whole[row]) if among[row, item]][:4]
        assert items[row].tolist() == [*whole[row][wanted], *[-1] * (4 - len(wanted))]
        assert scores[row, : len(wanted)] == pytest.approx(whole_scores[row][wanted])
    assert np.isneginf(scores[items < 0]).all()
