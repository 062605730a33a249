"""Interest vectors of customers."""

import numpy as np
import pytest
from portrait.features.text import customer_interest, has_vector, interest, touches

QUERY = np.array([[1, 0], [0, 1], [0, 0]], np.float32)
ITEM = np.array([[0.6, 0.8]], np.float32)


def searched(*rows: tuple[int, int, float]) -> np.ndarray:
    customer, query, weight = np.array(rows).T
    return touches(customer.astype(int), query.astype(int), weight, (4, 3))


def test_the_weighted_sum_of_queries_and_products() -> None:
    items = touches(np.array([0]), np.array([0]), np.array([5.0]), (4, 1))
    found = customer_interest((searched((0, 0, 1.0), (0, 1, 2.0), (2, 1, 0.5)), QUERY), (items, ITEM))
    # Customer 0: (1, 0) + 2 (0, 1) + 5 (.6, .8) = (4, 6).
    np.testing.assert_allclose(found[0], np.array([4, 6]) / np.sqrt(52), rtol=1e-6)
    assert found[2].tolist() == [0, 1]
    assert has_vector(found).tolist() == [True, False, True, False]
    assert found.dtype == np.float32


def test_a_query_without_a_vector_adds_nothing() -> None:
    found = customer_interest((searched((1, 2, 9.0), (2, 2, 9.0), (2, 0, 0.1)), QUERY))
    assert found.tolist() == [[0, 0], [0, 0], [1, 0], [0, 0]]


def test_what_cancels_out_is_nothing() -> None:
    found = customer_interest((searched((0, 0, 1.0), (0, 0, -1.0)), QUERY))
    assert not found.any()


def test_the_order_of_rows_does_not_matter() -> None:
    rng = np.random.default_rng(1)
    pairs = np.unique(rng.integers(0, 50, (500, 2)), axis=0)
    weight, vectors = rng.random(len(pairs)), rng.normal(size=(50, 8)).astype(np.float32)
    order = rng.permutation(len(pairs))
    one = customer_interest((touches(pairs[:, 0], pairs[:, 1], weight, (50, 50)), vectors))
    other = customer_interest((touches(pairs[order, 0], pairs[order, 1], weight[order], (50, 50)), vectors))
    np.testing.assert_array_equal(one, other)


def test_blocks_do_not_change_the_result(monkeypatch: pytest.MonkeyPatch) -> None:
    part = (searched((0, 0, 1.0), (1, 1, 2.0), (3, 0, 0.5)), QUERY)
    whole = customer_interest(part)
    monkeypatch.setattr(interest, "BLOCK", 3)
    np.testing.assert_array_equal(customer_interest(part), whole)


def test_no_customers() -> None:
    nobody = touches(np.array([], int), np.array([], int), np.array([]), (0, 3))
    assert customer_interest((nobody, QUERY)).shape == (0, 2)


@pytest.mark.parametrize(
    ("row", "message"), [((0, 0, np.nan), "finite"), ((4, 0, 1.0), "exceeds matrix dimension")]
)
def test_wrong_rows_are_refused(row: tuple[int, int, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        searched(row)
