"""Whom and what the purchases say nothing of: customers by what they declared, items by what they are called."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from portrait.errors import PortraitError
from portrait.models.rerank.evidence import Chunk, evidence
from portrait.models.rerank.model import NightlyRecommender
from portrait.models.rerank.purchases import Purchases
from portrait.models.rerank.recipe import Recipe
from portrait.models.rerank.side import Declared, Side, Words
from scipy.sparse import csr_matrix

KINDS, ITEMS_OF_A_KIND = 4, 10
N_ITEMS = KINDS * ITEMS_OF_A_KIND
N_BUYERS, N_STRANGERS = 1200, 40
N_CUSTOMERS = N_BUYERS + N_STRANGERS
KIND = np.arange(N_CUSTOMERS) % KINDS
"""Of customers: all that they buy is of one kind, and they say which; item n is of kind n // 10."""
SMALL = Recipe(
    popular=4,
    candidates_per_model=4,
    fresh=3,
    linear_least=5,
    neighbours=5,
    rounds=30,
    folds=1,
    autoencoder="",
)
NEW = np.arange(KINDS) * ITEMS_OF_A_KIND
"""The first item of each kind comes on sale on day 28; everybody buys it then, where it is of their kind."""
OPENED, NOW = 28, 35


def shop(last_day: int) -> Purchases:
    """Once a week two items of one's kind; in a week in which one is new, that one. The strangers bought nothing."""
    random = np.random.default_rng(2)
    customer, day, item = [], [], []
    for week in range(1, 6):
        for c in range(N_BUYERS):
            some = KIND[c] * ITEMS_OF_A_KIND + 2 + random.choice(ITEMS_OF_A_KIND - 2, 2, replace=False)
            if 7 * week == OPENED:
                some = np.append(some, NEW[KIND[c]])
            customer += [c] * len(some)
            day += [7 * week] * len(some)
            item += some.tolist()
    kept = np.array(day) <= last_day
    columns = (np.array(values)[kept] for values in (customer, day, item))
    customers, days, items = columns
    return Purchases.of(customers, days, items, N_CUSTOMERS, N_ITEMS, days)


def profile(told: np.ndarray | None = None) -> csr_matrix:
    """One column a kind; `told` are the customers who say theirs, everybody by default."""
    told = np.arange(N_CUSTOMERS) if told is None else told
    return csr_matrix((np.ones(len(told), np.float32), (told, KIND[told])), shape=(N_CUSTOMERS, KINDS))


def texts() -> np.ndarray:
    """One direction a kind; the last item of all is called nothing."""
    found = np.eye(KINDS, dtype=np.float32)[np.arange(N_ITEMS) // ITEMS_OF_A_KIND]
    found[-1] = 0
    return found


def new(*columns: int) -> np.ndarray:
    """Items that came on sale the day before."""
    found = np.full(N_ITEMS, np.nan, np.float32)
    found[list(columns)] = 1
    return found


STRANGERS = np.arange(N_BUYERS, N_CUSTOMERS)


def test_shares_of_who_declares_the_same() -> None:
    log = shop(NOW)
    found = Declared.of(log, profile())
    scores = found.scores(np.arange(N_CUSTOMERS))
    of_kind = (np.arange(N_ITEMS) // ITEMS_OF_A_KIND)[None, :] == KIND[:, None]
    # 300 of each kind against a prior of 500: the distance from the average is shrunk to less than the half.
    average = np.asarray((log.counts / log.counts.sum(axis=1).clip(1)).sum(axis=0)).ravel() / N_BUYERS
    bought = of_kind & (average > 0)
    assert (scores[bought] > np.broadcast_to(average, scores.shape)[bought]).all()
    assert scores[of_kind].mean() > 1.5 * scores[~of_kind].mean()
    np.testing.assert_allclose(scores.sum(axis=1), 1, atol=1e-5)


def test_who_declared_nothing_is_average() -> None:
    log = shop(NOW)
    found = Declared.of(log, profile(np.arange(600)))
    share = log.counts.toarray()[:N_BUYERS]
    expected = (share / share.sum(axis=1, keepdims=True)).mean(axis=0)
    np.testing.assert_allclose(found.scores(STRANGERS), np.tile(expected, (N_STRANGERS, 1)), atol=1e-6)
    nobody = Declared.of(log, csr_matrix((N_CUSTOMERS, 0), dtype=np.float32))
    np.testing.assert_allclose(nobody.scores(STRANGERS[:1])[0], expected, atol=1e-6)


def test_a_handful_says_little() -> None:
    """Three customers with a word of their own hardly leave the average."""
    log = shop(NOW)
    rare = csr_matrix((np.ones(3, np.float32), ([0, 4, 8], [0, 0, 0])), shape=(N_CUSTOMERS, 1))
    found = Declared.of(log, rare)
    np.testing.assert_allclose(found.scores(np.array([0]))[0], found.average, atol=0.01)


def test_cosines_of_words() -> None:
    history = csr_matrix(([2.0, 1.0], ([0, 0], [3, 13])), shape=(2, N_ITEMS), dtype=np.float32)
    words = Words(history, texts(), np.array([0, 15, 25, N_ITEMS - 1]))
    found = words.scores(np.arange(2))
    np.testing.assert_allclose(found, [[2 / 5**0.5, 1 / 5**0.5, 0, 0], [0, 0, 0, 0]], rtol=1e-6)
    (column,) = words.columns(found, np.array([0, 0, 1]), np.array([15, 16, 0])).values()
    np.testing.assert_allclose(column, [1 / 5**0.5, np.nan, 0], rtol=1e-6)


def chunk_of(side: Side, rows: np.ndarray, recipe: Recipe = SMALL, last_day: int = 21) -> Chunk:
    (chunk,) = evidence(shop(last_day), recipe, side).chunks(rows, [])
    return chunk


def test_items_on_sale_that_nobody_bought_are_candidates() -> None:
    """Of the new ones two are on sale on day 21, and those called like what a customer buys come first."""
    side = Side(text=texts(), new=new(NEW[0], NEW[1]))
    chunk = chunk_of(side, np.arange(N_BUYERS), replace(SMALL, fresh=1))
    asked = np.isin(chunk.item, NEW)
    for kind in (0, 1):
        assert set(chunk.item[asked & (KIND[chunk.customer] == kind)]) == {NEW[kind]}
    assert not np.isin(chunk.item, NEW[2:]).any()
    assert np.isnan(chunk.columns["count"][asked]).all()
    np.testing.assert_allclose(chunk.columns["words"][asked & (KIND[chunk.customer] == 0)], 1, rtol=1e-5)
    without = chunk_of(side, np.arange(N_BUYERS), replace(SMALL, fresh=0))
    assert not np.isin(without.item, NEW).any()


def test_what_somebody_looked_at_is_on_sale() -> None:
    looked = csr_matrix(([1.0], ([5], [NEW[3]])), shape=(N_CUSTOMERS, N_ITEMS), dtype=np.float32)
    side = Side({"weight": looked}, text=texts(), new=new())
    chunk = chunk_of(side, np.arange(N_BUYERS))
    assert set(chunk.item[np.isin(chunk.item, NEW)]) == {NEW[3]}


def test_a_stranger_is_offered_what_its_like_buy() -> None:
    chunk = chunk_of(Side(profile=profile()), STRANGERS)
    for stranger in STRANGERS:
        own = chunk.customer == stranger
        best = np.argsort(-chunk.columns["declared"][own])[:4]
        assert (chunk.item[own][best] // ITEMS_OF_A_KIND == KIND[stranger]).all()
        assert (chunk.columns["declared_lift"][own][best] > 1).all()
    silent = chunk_of(Side(profile=profile()), STRANGERS, replace(SMALL, declared=False))
    assert not {"declared", "declared_lift"} & set(silent.columns)
    # Nobody bought item 1: there is no average to be above.
    assert not np.isin(chunk.item, [1]).any()


def labels_after(day: int) -> csr_matrix:
    return shop(NOW).bought_between(day + 1, day + 7)


def learnt(day: int, side: Side, recipe: Recipe = SMALL) -> NightlyRecommender:
    labels = labels_after(day)
    return NightlyRecommender(recipe, threads=1).fit(shop(day), labels, np.arange(N_BUYERS), 1, side)


def test_a_cold_customer_gets_what_its_like_buy(tmp_path: Path) -> None:
    """Who declares nothing gets the popular items, the same for all. None of those learnt from was cold."""
    model = learnt(7, Side(profile=profile()))
    model.save(tmp_path / "model")
    log = shop(NOW)
    for ranker in (model, NightlyRecommender.load(tmp_path / "model", threads=1)):
        told = ranker.observe(log, Side(profile=profile())).recommend(STRANGERS, 3)[0]
        assert (told // ITEMS_OF_A_KIND == KIND[STRANGERS][:, None]).all()
        silent = ranker.observe(log, Side(profile=profile(np.arange(N_BUYERS)))).recommend(STRANGERS, 3)[0]
        assert (silent == silent[0]).all()


def test_a_cold_item_is_recommended_by_its_words() -> None:
    """Learnt in the week in which the new items of two kinds came; now those of the two others do."""
    side = Side(text=texts(), new=new(NEW[0], NEW[1]))
    model = learnt(21, side, replace(SMALL, rounds=60))
    today = shop(21)
    model.observe(today, replace(side, new=new(NEW[2], NEW[3])))
    fans = np.flatnonzero(KIND[:N_BUYERS] >= 2)
    found = model.recommend(fans, 5, exclude=today.counts[fans])[0]
    assert (found == NEW[KIND[fans]][:, None]).any(axis=1).mean() > 0.95
    others = np.flatnonzero(KIND[:N_BUYERS] < 2)
    wrong = model.recommend(others, 5, exclude=today.counts[others])[0]
    assert np.isin(wrong[:, 0], NEW).mean() < 0.05
    assert not np.isin(found, NEW[:2]).any()


@pytest.mark.parametrize(
    ("side", "message"),
    [
        (Side(profile=csr_matrix((3, 1))), r"'profile' has 3 rows, the log 1240"),
        (Side(text=np.zeros((3, 1), np.float32)), r"'text' has 3 rows, the log 40"),
        (Side(new=np.ones(3, np.float32)), r"'new' has 3 rows, the log 40"),
    ],
)
def test_of_other_customers_or_items(side: Side, message: str) -> None:
    with pytest.raises(PortraitError, match=message):
        evidence(shop(7), SMALL, side)
