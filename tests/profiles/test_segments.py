"""Clusters, their numbers from night to night, and their names."""

import numpy as np
import pandas as pd
import pytest
from portrait.profiles.segment_names import distinguishing, name_segments
from portrait.profiles.segments import cluster, match_numbers, normalise


def two_directions(first: int, second: int) -> np.ndarray:
    random = np.random.default_rng(3)
    centres = np.repeat([[1.0, 0.0], [0.0, 1.0]], [first, second], axis=0)
    return (centres + random.normal(0, 0.02, centres.shape)).astype(np.float32)


def test_normalise() -> None:
    assert normalise(np.array([[3.0, 4.0], [0.0, 0.0]])) == pytest.approx(np.array([[0.6, 0.8], [0.0, 0.0]]))


def test_cluster_finds_the_directions_and_numbers_the_largest_first() -> None:
    found = cluster(two_directions(20, 30) * 5, k=2, seed=1)
    assert found.labels.tolist() == [1] * 20 + [0] * 30
    assert found.centres == pytest.approx(np.array([[0, 1], [1, 0]]), abs=0.05)
    assert found.distances.max() < 0.1


def test_cluster_is_repeatable() -> None:
    points = np.random.default_rng(1).normal(size=(300, 8))
    assert (cluster(points, 5, seed=4).labels == cluster(points, 5, seed=4).labels).all()


def test_no_more_clusters_than_distinct_customers() -> None:
    points = np.array([[1, 0], [1, 0], [0, 1]], dtype=np.float32)
    assert sorted(set(cluster(points, k=6, seed=0).labels.tolist())) == [0, 1]


def test_numbers_start_at_one() -> None:
    assert match_numbers(["a", "b", "c"], np.array([0, 1, 0]), pd.Series(dtype="int64")) == [1, 2]


def test_numbers_follow_the_customers() -> None:
    # Contingency: label 0 shares {4: 1, 7: 2}, label 1 shares {4: 2}; label 2 holds only new customers.
    previous = pd.Series({"a": 4, "b": 4, "c": 4, "d": 7, "e": 7, "gone": 9})
    customers = ["a", "b", "c", "d", "e", "new1", "new2"]
    labels = np.array([0, 1, 1, 0, 0, 2, 2])
    assert match_numbers(customers, labels, previous) == [7, 4, 10]


def test_matching_is_best_overall_not_greedy() -> None:
    # Label 0 shares {1: 5, 2: 4}, label 1 shares {1: 4}. Greedy (0 -> 1) keeps 5 customers, the best 8.
    previous = pd.Series({**{f"x{i}": 1 for i in range(9)}, **{f"y{i}": 2 for i in range(4)}})
    labels = np.array([0] * 5 + [1] * 4 + [0] * 4)
    assert match_numbers(list(previous.index), labels, previous) == [2, 1]


def test_distinguishing_prefers_the_over_represented_value() -> None:
    members = pd.Series(["Dairy", "Dairy", "Tea", None])
    everybody = pd.Series(["Dairy", "Dairy", "Tea", None, "Tea", "Tea", "Tea", "Tea"])
    # Dairy: 1/2 of the members, 1/4 of all: 0.5 * ln 2. Tea: 1/4 against 5/8, not over-represented.
    assert distinguishing(members, everybody) == [("Dairy", pytest.approx(0.5 * np.log(2)))]


def people(segment: int, category: str | None, tier: str | None, lifecycle: str, n: int) -> list[tuple]:
    return [(segment, category, tier, lifecycle)] * n


COLUMNS = ["segment_id", "favourite_category", "spending_tier", "lifecycle"]


def test_names_say_what_distinguishes() -> None:
    rows = [
        *people(1, "Dairy", "high", "active", 8),
        *people(1, "Tea", "low", "active", 2),
        *people(2, "Tea", "low", "active", 9),
        *people(2, "Dairy", "low", "lost", 1),
        *people(3, None, None, "prospect", 10),
    ]
    assert name_segments(pd.DataFrame(rows, columns=COLUMNS)) == {
        1: "Dairy lovers, high spenders",
        2: "Tea lovers, low spenders",
        3: "Mixed tastes, not yet buying",
    }


def test_names_are_unique() -> None:
    rows = [
        *people(1, "Dairy", "high", "active", 5),
        *people(2, "Dairy", "high", "lost", 5),
        *people(3, "Tea", "low", "active", 10),
        *people(4, "Dairy", "high", "lost", 5),
    ]
    names = name_segments(pd.DataFrame(rows, columns=COLUMNS))
    assert len(set(names.values())) == 4
    assert names[2].startswith("Dairy lovers")
    assert name_segments(pd.DataFrame(rows, columns=COLUMNS)) == names


def test_segments_that_nothing_distinguishes_are_told_apart_by_number() -> None:
    rows = [*people(1, None, None, "active", 3), *people(2, None, None, "active", 3)]
    assert name_segments(pd.DataFrame(rows, columns=COLUMNS)) == {
        1: "Mixed tastes",
        2: "Mixed tastes, group 2",
    }
