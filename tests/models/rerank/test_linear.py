import numpy as np
import pytest
from portrait.errors import PortraitError
from portrait.models import create
from portrait.models.rerank.linear import check_memory, ease, kept_items, moments, transition
from portrait.models.rerank.purchases import Purchases
from scipy.sparse import csr_matrix

LINES = np.array([(0, 0, 0), (0, 1, 1), (0, 2, 0), (1, 0, 1), (1, 1, 1), (2, 0, 2), (2, 0, 0)]).T
"""{a}, {b}, {a}; {b}, {b}; {a, c}."""


@pytest.fixture
def log() -> Purchases:
    return Purchases.of(*LINES, n_customers=4, n_items=3)


def test_ease_is_the_registered_one_on_what_was_ever_bought(log: Purchases) -> None:
    known = csr_matrix([[1.0, 1, 0], [0, 1, 0], [1, 0, 1]])
    model = create("ease", regularisation=2.0).fit(known)
    expected = known.toarray() @ model.weights_  # type: ignore[attr-defined]
    found = ease(log, np.arange(3), 2.0).scores(np.arange(4))
    np.testing.assert_allclose(found[:3], expected, atol=1e-6)
    assert (found[3] == 0).all()


def test_moments_by_hand(log: Purchases) -> None:
    """Half-life 1. Customer 0: a from b + a/2, b from a. Customer 1: b from b. Customer 2 has nothing before."""
    known = moments(log, np.arange(3), half_life=1.0, deep=8)
    before, after = np.array([[0.5, 1, 0], [1, 0, 0], [0, 1, 0]]), np.array([[1, 0, 0], [0, 1, 0], [0, 1, 0]])
    np.testing.assert_allclose(known.xx, before.T @ before)
    np.testing.assert_allclose(known.xy, before.T @ after)
    only_last = moments(log, np.arange(3), half_life=1.0, deep=1)
    np.testing.assert_allclose(only_last.xy, before[[0, 2]].T @ after[[0, 2]])


def test_transition_with_labels_by_hand(log: Purchases) -> None:
    """Ridge on the three examples of the log and, of customer 2 alone, {c} from {a, c}."""
    labels = csr_matrix([[0.0, 0, 1], [0, 0, 1], [0, 0, 1], [0, 0, 0]])
    before = np.array([[0.5, 1, 0], [1, 0, 0], [0, 1, 0], [1, 0, 1]])
    after = np.array([[1, 0, 0], [0, 1, 0], [0, 1, 0], [0, 0, 1]])
    weights = np.linalg.solve(before.T @ before + 3 * np.eye(3), before.T @ after)
    histories = np.array([[1.25, 0.5, 0], [0, 1.5, 0], [1, 0, 1], [0, 0, 0]])
    known = moments(log, np.arange(3), half_life=1.0, deep=8)
    found = transition(log, known, 3.0, labels, np.array([2])).scores(np.arange(4))
    np.testing.assert_allclose(found, histories @ weights, atol=1e-6)
    assert (known.xx == moments(log, np.arange(3), 1.0, 8).xx).all()  # left as they are


def test_items_left_out_score_nothing(log: Purchases) -> None:
    """a is in three baskets, b in three, c in one."""
    assert kept_items(log, least=2, most=9).tolist() == [0, 1]
    assert kept_items(log, least=1, most=1).tolist() == [0]
    scores = ease(log, np.array([0, 1]), 1.0).scores(np.array([2]))
    assert scores[0, 2] == 0
    assert scores[0, 1] > 0


def test_refuses_before_memory_runs_out() -> None:
    """12 bytes a cell: 50,000 items would be 30 GB."""
    with pytest.raises(
        PortraitError, match=r"50,000 items need 30\.0 GB, memory_limit_gb is 4; lower linear_items"
    ):
        check_memory(50_000, 4.0)
    check_memory(18_000, 4.0)
