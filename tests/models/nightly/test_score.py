"""Recommendations and vectors of a night."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from portrait.models import load

Make = Callable[..., Any]

#         bought        |  looked at
TRAIN = [
    [3, 1, 0, 0, 0, 0.2],
    [1, 0, 2, 0, 0, 0],
    [2, 0, 0, 0, 0, 0],
    [0, 0, 0, 0, 0, 0],  # bought nothing, did nothing
    [0, 0, 0, 0.5, 0, 0.1],  # bought nothing
]
NOTHING = np.zeros((5, 6))
HELD_OUT = [[0, 0, 0, 0, 1, 0], *NOTHING[1:].tolist()]


def ranks(rows: list[dict[str, Any]]) -> dict[tuple[str, str], list[int]]:
    found: dict[tuple[str, str], list[int]] = {}
    for row in rows:
        found.setdefault((row["customer_id"], row["kind"]), []).append(row["rank"])
    return found


def test_new_leaves_out_what_was_bought_and_may_hold_what_was_viewed(make_nights: Make) -> None:
    nights = make_nights("repeat", recommendations=3)
    run = nights.write(1, TRAIN, HELD_OUT)
    nights.whole(run)
    rows = nights.scores(run)
    # Weights of all customers: i0 6, i1 1, i2 2, i3 0.5, i4 1, i5 0.3. c0 bought i0 i1 i4 and viewed i5.
    assert nights.recommended(run, 0, "new") == ["i5", "i2", "i3"]
    assert nights.recommended(run, 1, "new") == ["i1", "i4", "i3"]
    assert nights.recommended(run, 4, "new") == ["i3", "i5", "i0"]
    # A cold customer gets the most popular items; equal ones in the order of the items.
    assert nights.recommended(run, 3, "new") == ["i0", "i2", "i1"]
    assert {r["model_version"] for r in rows} == {"2026-03-01.1/new/repeat", "2026-03-01.1/next/repeat"}


def test_again_holds_what_was_bought_in_the_models_order(make_nights: Make) -> None:
    nights = make_nights("repeat", recommendations=2)
    run = nights.write(1, TRAIN, HELD_OUT)
    nights.whole(run)
    rows = nights.scores(run)
    # c0: i0 with 3, then i1 and i4 with 1 each and equally popular; the list ends after two.
    assert nights.recommended(run, 0, "again") == ["i0", "i1"]
    assert nights.recommended(run, 1, "again") == ["i2", "i0"]
    assert nights.recommended(run, 2, "again") == ["i0"]
    for customer in (3, 4):  # bought nothing
        assert nights.recommended(run, customer, "again") == []
    by_customer = {r["rank"]: r["score"] for r in rows if (r["customer_id"], r["kind"]) == ("c1", "again")}
    assert by_customer == pytest.approx({1: 2 + 1e-3 * 2 / 6, 2: 1 + 1e-3})


def test_again_by_popularity(make_nights: Make) -> None:
    nights = make_nights("popularity", recommendations=2)
    run = nights.write(1, TRAIN, HELD_OUT)
    nights.whole(run)
    nights.scores(run)
    assert nights.recommended(run, 1, "again") == ["i0", "i2"]


def test_ranks_start_at_one_without_gaps(make_nights: Make) -> None:
    nights = make_nights("repeat", recommendations=5)
    run = nights.write(1, TRAIN, HELD_OUT)
    nights.whole(run)
    found = ranks(nights.scores(run))
    assert {k for k, _ in found} == {f"c{n}" for n in range(5)}
    for (customer, kind), places in found.items():
        assert places == list(range(1, len(places) + 1)), (customer, kind)
    # Fewer than five candidates are left for who bought three of six.
    assert len(found["c0", "new"]) == 3
    assert len(found["c0", "again"]) == 3


def test_nobody_bought_anything_yet(make_nights: Make) -> None:
    nights = make_nights("popularity")
    run = nights.write(1, np.full((2, 2), 0.5), NOTHING[:2, :2])
    nights.whole(run)
    rows = nights.scores(run)
    assert {r["kind"] for r in rows} == {"new"}
    assert len(rows) == 4


def test_scores_come_from_the_champion_when_the_challenger_loses(make_nights: Make) -> None:
    own = [[0, 2, 0], [0, 0, 2], [3, 0, 0]] * 8
    again = [[0, 1, 0], [0, 0, 1], [0, 0, 0]] * 8
    nights = make_nights("repeat", k=1)
    nights.whole(nights.write(1, own, again))
    nights = make_nights("popularity", k=1, recommendations=1)
    run = nights.write(2, own, again)
    nights.whole(run)
    rows = nights.scores(run)
    assert {r["model_version"] for r in rows if r["kind"] == "again"} == {"2026-03-01.1/next/repeat"}
    assert nights.recommended(run, 0, "again") == ["i1"]


def test_items_that_came_after_the_champion(make_nights: Make) -> None:
    """Columns are appended: the champion scores the items it knows."""
    own = [[0, 2, 0], [0, 0, 2], [3, 0, 0]] * 8
    again = [[0, 1, 0], [0, 0, 1], [0, 0, 0]] * 8
    nights = make_nights("repeat", k=1)
    nights.whole(nights.write(1, own, again))
    nights = make_nights("popularity", k=1, recommendations=5)
    wider = [[*row, 1, 0] for row in own]
    run = nights.write(2, wider, [[*row, 0, 1] for row in again])
    nights.whole(run)
    rows = nights.scores(run)
    assert {r["model_version"] for r in rows if r["kind"] == "again"} == {"2026-03-01.1/next/repeat"}
    assert {r["sku"] for r in rows if r["kind"] == "again"} == {"i0", "i1", "i2"}
    assert ranks(rows)["c0", "again"] == [1]
    assert all(r["score"] > -np.inf for r in rows)


def test_vectors_are_those_of_the_serving_copy(make_nights: Make, article: str) -> None:
    nights = make_nights(article)
    run = nights.write(1, TRAIN, HELD_OUT)
    nights.whole(run)
    nights.scores(run)
    rows = nights.output(run, "embedding")
    assert [r["customer_id"] for r in rows] == [f"c{n}" for n in range(5)]
    serving = load(nights.settings.models_dir / "2026-03-01.1" / "article" / "serving", threads=1)
    full = np.asarray(TRAIN) + np.asarray(HELD_OUT)
    from scipy.sparse import csr_matrix

    np.testing.assert_array_equal(
        np.array([r["embedding"] for r in rows], np.float32), serving.embed(csr_matrix(full))
    )
    assert {r["model_version"] for r in rows} == {"2026-03-01.1/embedding/article"}


def test_the_embedding_model_failed(make_nights: Make, article: str) -> None:
    """At first there are no vectors; later those of the last version that was trained."""
    nights = make_nights("popularity", article, embedding="article")
    run = nights.write(1, TRAIN, HELD_OUT)
    nights.whole(run, "popularity")
    nights.scores(run)
    assert nights.output(run, "embedding") == []

    nights.whole(nights.write(2, TRAIN, HELD_OUT))
    run = nights.write(3, [[*row, 1] for row in TRAIN], [[*row, 0] for row in HELD_OUT])
    nights.whole(run, "popularity")
    nights.scores(run)
    rows = nights.output(run, "embedding")
    assert len(rows) == 5
    assert {r["model_version"] for r in rows} == {"2026-03-02.1/embedding/article"}


def test_scoring_again_gives_the_same_rows(make_nights: Make, article: str) -> None:
    nights = make_nights(article, "repeat")
    run = nights.write(1, TRAIN, HELD_OUT)
    nights.whole(run)
    first, vectors = nights.scores(run), nights.output(run, "embedding")
    assert nights.scores(run) == first
    assert nights.output(run, "embedding") == vectors


def test_every_line_has_its_reason(make_nights: Make) -> None:
    nights = make_nights("{name: ease, params: {regularisation: 1.0}}", "popularity", recommendations=6)
    together: list[list[float]] = np.kron(np.eye(2), np.ones((6, 2))).tolist()  # i0 with i1, i2 with i3
    train = [*together, [1, 0, 0, 0], [0, 0, 0.5, 0], [0, 0, 0, 0]]
    held_out = np.zeros((15, 4))
    held_out[12, 1] = 1
    run = nights.write(1, train, held_out, full=train)
    products = [("i0", "Tea"), ("i1", "Tea"), ("i2", "Toys"), ("i3", "Toys")]
    nights.write_products(*products)
    nights.whole(run)
    nights.scores(run)
    found = {
        (r["customer_id"], r["kind"], r["sku"]): (r["because_kind"], r["because_of"])
        for r in nights.output(run, "recommendation")
        if r["customer_id"] in ("c12", "c13", "c14")
    }
    assert found["c12", "new", "i1"] == ("item", "i0")
    assert found["c12", "again", "i0"] == ("again", "i0")
    assert found["c12", "new", "i2"] == ("popular", None)
    assert found["c13", "new", "i3"] == ("category", "Toys")  # bought nothing; looked at i2
    assert {why for (c, *_), why in found.items() if c == "c14"} == {("popular", None)}
