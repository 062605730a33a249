"""What a ranker is shown: candidates and columns, and nothing of what it is to foretell."""

from dataclasses import replace

import numpy as np
import pytest
from portrait.errors import PortraitError
from portrait.models.rerank.evidence import Chunk, Evidence, LabelModels, evidence
from portrait.models.rerank.purchases import Purchases
from portrait.models.rerank.recipe import Recipe
from portrait.models.rerank.side import Side
from scipy.sparse import csr_matrix

N_CUSTOMERS, N_ITEMS = 40, 30
SMALL = Recipe(popular=3, candidates_per_model=2, linear_least=1, regularisation=1.0, neighbours=5)


def random_log(seed: int = 0) -> Purchases:
    random = np.random.default_rng(seed)
    customer = random.integers(0, N_CUSTOMERS - 1, 600)  # the last one stays without a history
    basket, item = random.integers(0, 6, 600), np.minimum(random.geometric(0.15, 600) - 1, N_ITEMS - 1)
    return Purchases.of(customer, basket, item, N_CUSTOMERS, N_ITEMS)


def whole(known: Evidence, models: list[LabelModels] | None = None) -> Chunk:
    (chunk,) = known.chunks(np.arange(N_CUSTOMERS), models or [])
    return chunk


@pytest.fixture(scope="module")
def known() -> Evidence:
    return evidence(random_log(), SMALL)


@pytest.fixture(scope="module")
def labels() -> csr_matrix:
    random = np.random.default_rng(5)
    return csr_matrix((random.random((N_CUSTOMERS, N_ITEMS)) < 0.1).astype(np.float32))


def test_own_items_and_the_popular_ones_are_candidates(known: Evidence) -> None:
    chunk = whole(known)
    pairs = set(zip(chunk.customer.tolist(), chunk.item.tolist(), strict=True))
    log = known.log
    assert set(zip(log.customer.tolist(), log.item.tolist(), strict=True)) <= pairs
    last = np.bincount(log.item[log.age == 0], minlength=N_ITEMS)
    best = sorted(range(N_ITEMS), key=lambda i: (-last[i], i))[:3]
    assert {(c, i) for c in range(N_CUSTOMERS) for i in best} <= pairs
    assert len(pairs) == len(chunk.item)


def test_a_customer_without_history_has_candidates(known: Evidence) -> None:
    chunk = whole(known)
    cold = chunk.customer == N_CUSTOMERS - 1
    assert cold.sum() >= 3
    assert np.isnan(chunk.columns["count"][cold]).all()
    assert (chunk.columns["transition"][cold] == 0).all()


def test_columns_are_those_of_the_log_alone(known: Evidence) -> None:
    """A later basket of everybody changes no column of the log cut before it."""
    log = random_log()
    later = Purchases.of(
        np.r_[log.customer, np.arange(N_CUSTOMERS)],
        np.r_[log.basket, np.full(N_CUSTOMERS, 99)],
        np.r_[log.item, np.arange(N_CUSTOMERS) % N_ITEMS],
        N_CUSTOMERS,
        N_ITEMS,
    )
    cut = whole(evidence(later.without_last(1), SMALL))
    # The customer without a history has only the later basket, all others one more: cutting one gives the log.
    expected = whole(known)
    assert (cut.item == expected.item).all()
    for name, values in expected.columns.items():
        np.testing.assert_array_equal(cut.columns[name], values, err_msg=name)


def test_label_models_know_nothing_of_others_labels(known: Evidence, labels: csr_matrix) -> None:
    """What the customers that are not learnt from bought next cannot be read from any column."""
    learnt_from = np.arange(0, N_CUSTOMERS, 2)
    other = labels.toarray()
    other[1::2] = 1 - other[1::2]
    first, second = (whole(known, [known.label_models(x, learnt_from)]) for x in (labels, csr_matrix(other)))
    for name, values in first.labelled[0].items():
        np.testing.assert_array_equal(second.labelled[0][name], values, err_msg=name)


def test_label_popularity_is_a_share(known: Evidence, labels: csr_matrix) -> None:
    rows = np.array([1, 4, 5])
    models = known.label_models(labels, rows)
    np.testing.assert_allclose(models.popularity, labels.toarray()[rows].mean(axis=0), rtol=1e-6)
    chunk = whole(known, [models])
    np.testing.assert_allclose(chunk.labelled[0]["next_popularity"], models.popularity[chunk.item])


def test_parts_of_customers_change_nothing(known: Evidence, monkeypatch: pytest.MonkeyPatch) -> None:
    parts = [slice(0, 7), slice(7, 25), slice(25, N_CUSTOMERS)]
    expected, names = whole(known).matrix(None)
    monkeypatch.setattr("portrait.models.rerank.evidence.row_chunks", lambda *_: iter(parts))
    chunks = list(known.chunks(np.arange(N_CUSTOMERS), []))
    assert len(chunks) == 3
    np.testing.assert_allclose(np.concatenate([c.matrix(None)[0] for c in chunks]), expected, rtol=1e-5)
    assert all(c.matrix(None)[1] == names for c in chunks)


def test_signals_are_candidates_and_columns() -> None:
    """The customer without a history viewed item 29 with weight 2.5."""
    views = csr_matrix(([2.5], ([N_CUSTOMERS - 1], [29])), shape=(N_CUSTOMERS, N_ITEMS), dtype=np.float32)
    chunk = whole(evidence(random_log(), SMALL, Side({"views": views})))
    viewed = (chunk.customer == N_CUSTOMERS - 1) & (chunk.item == 29)
    assert chunk.columns["signal_views"][viewed].tolist() == [2.5]
    assert np.isnan(chunk.columns["signal_views"][~viewed]).all()
    with pytest.raises(PortraitError, match=r"signal 'views' is \(1, 30\), the log is of \(40, 30\)"):
        evidence(random_log(), SMALL, Side({"views": views[:1]}))


def test_memory_is_asked_for_first() -> None:
    with pytest.raises(PortraitError, match="memory_limit_gb is 1e-06"):
        evidence(random_log(), replace(SMALL, memory_limit_gb=1e-6))


def test_linear_models_of_some_customers_score_everybody() -> None:
    """Learnt from every second customer as if the others had bought nothing, and applied to what all of them bought."""
    log = random_log()
    some = evidence(log, replace(SMALL, linear_customers=20))
    rows = np.unique(np.linspace(0, N_CUSTOMERS - 1, 20).astype(int))
    alone = evidence(log.where(np.isin(log.customer, rows)), replace(SMALL, linear_least=1))
    for name in ("ease", "transition"):
        np.testing.assert_allclose(
            some.linear[name].scores(rows), alone.linear[name].scores(rows), rtol=1e-4, atol=1e-5
        )
    others = np.setdiff1d(np.unique(log.customer), rows)
    assert (some.linear["ease"].scores(others) != 0).any(axis=1).all()
