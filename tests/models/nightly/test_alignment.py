"""Vectors of two nights in the same axes."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from portrait.models.nightly.alignment import align_to_last, procrustes
from scipy.stats import ortho_group

Make = Callable[..., Any]


def test_a_turned_space_is_turned_back_whoever_moved() -> None:
    random = np.random.default_rng(0)
    old = random.normal(size=(200, 4))
    turn = ortho_group.rvs(4, random_state=1)
    new = old @ turn
    new[:40] = random.normal(size=(40, 4)) * 5  # a fifth has changed beyond recognition
    found = procrustes(new, old)
    assert found @ found.T == pytest.approx(np.eye(4), abs=1e-9)
    assert (new @ found)[40:] == pytest.approx(old[40:], abs=1e-6)


def publish(nights: Any, day: int, vectors: np.ndarray, customers: list[str]) -> None:
    run = nights.write(day, [[1, 0]], [[0, 1]])
    nights.published(run)
    folder = nights.settings.run_dir(run.run_id) / "models"
    folder.mkdir(parents=True, exist_ok=True)
    table = {"customer_id": customers, "embedding": [list(map(float, v)) for v in vectors]}
    schema = pa.schema([("customer_id", pa.string()), ("embedding", pa.list_(pa.float32()))])
    pq.write_table(pa.Table.from_pydict(table, schema), folder / "embedding.parquet")


def test_a_night_follows_the_one_before(make_nights: Make) -> None:
    nights = make_nights("popularity", k=1)
    random = np.random.default_rng(0)
    old = random.normal(size=(30, 3)).astype(np.float32)
    ids = [f"c{n}" for n in range(30)]
    publish(nights, 1, old, ids)
    run = nights.write(3, [[1, 0]], [[0, 1]])
    # Tonight the same customers in another order, turned, and one nobody knew.
    order = random.permutation(30)
    turn = ortho_group.rvs(3, random_state=1)
    new = np.vstack([old[order] @ turn, [[1, 2, 3]]]).astype(np.float32)
    customers = np.array([*(ids[n] for n in order), "c99"], dtype=object)
    found = align_to_last(nights.settings, run, new, customers)
    assert found.to == "2026-03-01.1"
    assert found.vectors[:30] == pytest.approx(old[order], abs=1e-4)
    assert found.drift == pytest.approx(0, abs=1e-5)
    assert found.before is not None
    assert found.before > 0.1
    # No distance within the night changes.
    gap = np.linalg.norm(found.vectors[30] - found.vectors[0])
    assert gap == pytest.approx(np.linalg.norm(new[30] - new[0]), abs=1e-4)


@pytest.mark.parametrize("width", [3, 20])
def test_nothing_to_follow(make_nights: Make, width: int) -> None:
    nights = make_nights("popularity", k=1)
    vectors = np.random.default_rng(0).normal(size=(30, width)).astype(np.float32)
    ids = np.array([f"c{n}" for n in range(30)], dtype=object)
    run = nights.write(3, [[1, 0]], [[0, 1]])
    assert align_to_last(nights.settings, run, vectors, ids).to is None
    # Another length, and too few customers for so many dimensions.
    publish(nights, 1, np.ones((30, 20)), list(ids))
    found = align_to_last(nights.settings, run, vectors, ids)
    assert (found.to, found.drift) == (None, None)
    assert found.vectors is vectors
