"""Reasons for recommendations, worked out by hand."""

import numpy as np
import pytest
from portrait.models import create
from portrait.models.reasons import (
    AGAIN,
    CATEGORY,
    ITEM,
    POPULAR,
    Lookup,
    SparseAffinity,
    VectorAffinity,
    WeightAffinity,
    common_purchases,
    heaviest,
    reasons,
)
from scipy.sparse import csr_matrix


def sparse(rows: list[list[float]]) -> csr_matrix:
    return csr_matrix(np.array(rows, np.float32))


CATEGORIES = np.array([0, 0, 1, 1, -1])
# c0 bought i0 (3) and i1 (1); c1 looked at i2; c2 did nothing.
WEIGHTS = sparse([[3, 1, 0, 0, 0], [0, 0, 0.5, 0, 0], [0, 0, 0, 0, 0]])
BOUGHT = sparse([[1, 1, 0, 0, 0], [0, 0, 0, 0, 0], [0, 0, 0, 0, 0]])
LISTS = np.array([[0, 2, 3, 4], [3, 0, 4, -1], [3, 0, 4, -1]], np.int32)


def weights_for(*cells: tuple[int, int, float]) -> np.ndarray:
    """Zeros but (bought, recommended, value)."""
    made = np.zeros((5, 5), np.float32)
    for bought, recommended, value in cells:
        made[bought, recommended] = value
    return made


def test_the_purchase_that_contributes_most_is_the_reason() -> None:
    # i2: 3 x 0.1 of i0 loses to 1 x 0.4 of i1; i3: 3 x 0.2 of i0 beats 1 x 0.5 of i1; i4: nothing speaks for it.
    affinity = WeightAffinity(
        weights_for((0, 2, 0.1), (1, 2, 0.4), (0, 3, 0.2), (1, 3, 0.5), (0, 4, -1), (1, 4, 0))
    )
    found = reasons(LISTS, WEIGHTS, BOUGHT, affinity, CATEGORIES)
    assert found.kind[0].tolist() == [AGAIN, ITEM, ITEM, POPULAR]
    assert found.of[0].tolist() == [0, 1, 0, -1]
    # c1 looked at category 1, to which i3 belongs; i4 has no category.
    assert found.kind[1].tolist() == [CATEGORY, POPULAR, POPULAR, POPULAR]
    assert found.of[1].tolist() == [1, -1, -1, -1]
    assert (found.kind[2] == POPULAR).all()
    assert (found.of[2] == -1).all()


def test_without_an_affinity_own_purchases_and_categories_remain() -> None:
    found = reasons(LISTS, WEIGHTS, BOUGHT, None, CATEGORIES)
    assert found.kind.tolist() == [
        [AGAIN, POPULAR, POPULAR, POPULAR],
        [CATEGORY] + 3 * [POPULAR],
        4 * [POPULAR],
    ]


def test_a_model_of_fewer_items_knows_nothing_of_later_ones() -> None:
    affinity = WeightAffinity(np.ones((1, 1), np.float32))
    found = reasons(
        np.array([[0]], np.int32), sparse([[0, 2]]), sparse([[0, 1]]), affinity, np.array([-1, -1])
    )
    assert found.kind.tolist() == [[POPULAR]]


def test_chunks_do_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(0)
    weights = csr_matrix(random.random((40, 30)) * (random.random((40, 30)) < 0.3), dtype=np.float32)
    bought = csr_matrix(weights > 0.5)
    lists = np.argsort(random.random((40, 30)))[:, :7].astype(np.int32)
    categories = random.integers(-1, 4, 30)
    affinity = WeightAffinity(random.normal(size=(30, 30)).astype(np.float32))
    whole = reasons(lists, weights, bought, affinity, categories)
    monkeypatch.setattr("portrait.models.reasons.PAIRS", 1)
    parts = reasons(lists, weights, bought, affinity, categories)
    np.testing.assert_array_equal(parts.kind, whole.kind)
    np.testing.assert_array_equal(parts.of, whole.of)
    dense, had = weights.toarray(), bought.toarray()
    for row, place in np.ndindex(lists.shape):
        item = lists[row, place]
        if had[row, item]:
            wanted: tuple[int, int] = AGAIN, int(item)
        elif (value := dense[row] * had[row] * affinity.weights[:, item]).max() > 0:
            wanted = ITEM, int(value.argmax())
        elif categories[item] >= 0 and (dense[row] > 0)[categories == categories[item]].any():
            wanted = CATEGORY, int(categories[item])
        else:
            wanted = POPULAR, -1
        assert (whole.kind[row, place], whole.of[row, place]) == wanted


def test_only_the_heaviest_purchases_are_looked_at() -> None:
    items, weight = heaviest(sparse([[1, 4, 2, 9], [0, 0, 5, 0]]), sparse([[1, 1, 1, 0], [0, 0, 1, 0]]), 2)
    assert items.tolist() == [[1, 2], [2, -1]]
    assert weight.tolist() == [[4, 2], [5, 0]]


def test_vectors_count_by_their_angle_beyond_chance() -> None:
    # In four dimensions two standard deviations of a random cosine are 2 / sqrt(4) = 1.
    affinity = VectorAffinity(np.array([[2, 0, 0, 0], [5, 0, 0, 0], [1, 1, 0, 0]], np.float32))
    found = affinity(np.array([[0, 2]]), np.ones((1, 2), np.float32), np.array([[1]]))
    assert found[0, 0] == pytest.approx([0, 2**-0.5 - 1], abs=1e-6)


def test_sparse_weights_are_read_by_recommended_item() -> None:
    affinity = SparseAffinity(sparse([[0, 0.5], [0.25, 0]]))
    found = affinity(np.array([[1]]), np.array([[4.0]], np.float32), np.array([[0, 1]]))
    assert found.tolist() == [[[2.0], [0.0]]]
    assert Lookup(csr_matrix((2, 2)))[np.array([0]), np.array([1])].tolist() == [0]


def test_items_of_the_same_customers_speak_for_each_other() -> None:
    bought = sparse([[2, 1, 0], [1, 3, 0], [0, 0, 1]])
    affinity = common_purchases(bought)
    found = affinity(np.array([[0, 2]]), np.ones((1, 2), np.float32), np.array([[1]]))
    # Two customers in common, lengths sqrt(2) each: 2 / (2 + 10).
    assert found[0, 0] == pytest.approx([1 / 6, 0])


@pytest.mark.parametrize(
    ("name", "params"),
    [
        ("ease", {"regularisation": 1.0}),
        ("item_knn", {"shrinkage": 0.0}),
        ("tifu_knn", {"neighbours": 2}),
        ("mult_vae", {"hidden": 16, "latent": 8, "epochs": 40, "batch_size": 20, "learning_rate": 0.02}),
        ("product_of_experts", {"experts": ("popularity", "ease")}),
    ],
)
def test_every_personal_model_has_an_affinity(name: str, params: dict[str, object]) -> None:
    # Items 0 and 1 go together, and so do 2 and 3.
    matrix = csr_matrix(np.kron(np.eye(2), np.ones((30, 2))).astype(np.float32))
    affinity = create(name, **params).fit(matrix).affinity(matrix)
    assert affinity is not None
    value = affinity(np.array([[0, 2]]), np.ones((1, 2), np.float32), np.array([[1, 3]]))[0]
    assert value.argmax(axis=1).tolist() == [0, 1]


@pytest.mark.parametrize("name", ["popularity", "repeat"])
def test_what_everybody_buys_has_none(name: str) -> None:
    matrix = sparse([[1, 1], [0, 1]])
    assert create(name).fit(matrix).affinity(matrix) is None
