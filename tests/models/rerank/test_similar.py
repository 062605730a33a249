import numpy as np
from portrait.models.rerank.purchases import Purchases
from portrait.models.rerank.similar import Similar, binary, recent_share

LINES = np.array([(0, 0, 0), (0, 0, 1), (1, 0, 0), (1, 1, 1), (1, 2, 1), (1, 2, 2), (2, 0, 2)]).T
LOG = Purchases.of(*LINES, n_customers=4, n_items=3)
"""Items {a, b}, {a, b, c}, {c}, none."""


def test_similarity_by_hand() -> None:
    near = Similar(binary(LOG), np.arange(4), neighbours=4).near(np.arange(4)).toarray()
    ab, bc = 2 / np.sqrt(2 * 3), 1 / np.sqrt(3)
    np.testing.assert_allclose(near, [[0, ab, 0, 0], [ab, 0, bc, 0], [0, bc, 0, 0], [0, 0, 0, 0]], atol=1e-5)


def test_only_the_most_similar_reference_customers_count() -> None:
    near = Similar(binary(LOG), np.array([0, 2]), neighbours=1).near(np.array([1, 2])).toarray()
    np.testing.assert_allclose(near, [[2 / np.sqrt(6), 0], [0, 0]], atol=1e-5)


def test_share_of_the_last_baskets() -> None:
    """Of the last two baskets of customer 1 both held b, one c, and none a."""
    assert recent_share(LOG, 2).toarray().tolist() == [[1, 1, 0], [0, 1, 0.5], [0, 0, 1], [0, 0, 0]]
