import numpy as np
import pytest
from portrait.models.pooling import Judge, spread, tuned_weights
from scipy.sparse import csr_matrix


def test_spread() -> None:
    """Standard deviations 1 and 3."""
    assert spread(np.array([[1.0, 3.0], [2.0, 8.0]], dtype=np.float32)) == 2
    assert spread(np.ones((2, 3), dtype=np.float32)) == 1
    assert spread(np.empty((0, 3), dtype=np.float32)) == 1


def test_judge_leaves_out_who_has_nothing_to_find() -> None:
    """0: a new item. 1: only a repeat. 2: no history. 3: no target."""
    history = csr_matrix([[1.0, 0.0], [1.0, 0.0], [0.0, 0.0], [1.0, 0.0]])
    target = csr_matrix([[0.0, 1.0], [1.0, 0.0], [1.0, 0.0], [0.0, 0.0]])
    assert len(Judge.of(history, target, 1, True, 10).history.indptr) - 1 == 1
    assert Judge.of(history, target, 1, False, 10).history.shape[0] == 2
    assert Judge.of(history, target, 1, False, 1).history.shape[0] == 1


def test_judge_excludes_the_history() -> None:
    """Item 0 scores best, but is known: item 1 is at the top of the list."""
    history, target = csr_matrix([[1.0, 0.0]]), csr_matrix([[0.0, 1.0]])
    scores = np.array([[2.0, 1.0]], dtype=np.float32)
    assert Judge.of(history, target, 1, True, 10).ndcg(scores.copy()) == 1
    assert Judge.of(history, target, 1, False, 10).ndcg(scores.copy()) == 0


def test_nobody_to_judge() -> None:
    judge = Judge.of(csr_matrix((2, 3)), csr_matrix((2, 3)), 5, True, 10)
    assert judge.ndcg(np.zeros((0, 3), dtype=np.float32)) == 0


def test_a_useless_expert_gets_nothing() -> None:
    random = np.random.default_rng(0)
    truth = random.normal(size=(200, 30)).astype(np.float32)
    truth[:, 0] = 3  # everybody wants item 0, so that nobody is left out
    wanted = csr_matrix(truth > 1.2)
    noise = random.normal(size=truth.shape).astype(np.float32) * 3
    judge = Judge.of(csr_matrix(np.ones((200, 1)), shape=(200, 30)), wanted, 10, False, 200)
    weights = tuned_weights([truth, noise], judge.ndcg)
    assert weights[0] > 0
    assert weights[1] < 0.1 * weights[0]


def test_experts_that_err_differently_are_both_used() -> None:
    random = np.random.default_rng(1)
    truth = random.normal(size=(300, 40)).astype(np.float32)
    truth[:, 0] = 3
    first, second = (truth + random.normal(size=truth.shape).astype(np.float32) for _ in range(2))
    judge = Judge.of(csr_matrix(np.ones((300, 1)), shape=(300, 40)), csr_matrix(truth > 1.2), 10, False, 300)
    weights = tuned_weights([first, second], judge.ndcg)
    pooled = judge.ndcg(weights[0] * first + weights[1] * second)
    assert pooled > max(judge.ndcg(first.copy()), judge.ndcg(second.copy())) + 0.02
    assert 0.3 < weights[0] / weights[1] < 3


def test_one_expert_keeps_its_weight() -> None:
    assert tuned_weights([np.zeros((1, 2), dtype=np.float32)], lambda scores: 0.0).tolist() == [1]


@pytest.mark.parametrize("quality", [0.5])
def test_without_any_difference_all_count_the_same(quality: float) -> None:
    assert tuned_weights([np.zeros((1, 2), np.float32)] * 3, lambda scores: quality).tolist() == [1, 1, 1]
