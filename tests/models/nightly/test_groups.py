"""Figures of groups of customers, worked out by hand."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from portrait.models.nightly.groups import interval
from portrait.models.nightly.inputs import inputs_of

Make = Callable[..., Any]

# c0 bought six items, c1 one, c2 none; popularity lists the items in order.
TRAIN = [[9, 8, 7, 6, 5, 4, 0], [1, 0, 0, 0, 0, 0, 0], [0, 0, 0, 0, 0, 0, 0.5]]
TARGET = [[1, 0, 0, 0, 0, 0, 0], [0, 1, 0, 0, 0, 0, 0], [0, 0, 0, 0, 1, 0, 0]]


def test_by_history_and_channel(make_nights: Make) -> None:
    nights = make_nights("popularity", k=1)
    run = nights.write(5, TRAIN, TARGET)
    seen = {"customer_id": ["c0", "c1"], "online_events": [3, 1], "store_receipts": [0, 2]}
    pq.write_table(pa.table(seen), inputs_of(nights.settings, run).folder.parent / "activity.parquet")
    nights.train(run)
    nights.evaluate(run)
    rows = nights.warehouse.rows(
        "select dimension, customer_group, value, customers, low from ops.evaluation_group "
        "where slot = 'next' and metric = 'recall' and k = 2 order by 1, 2"
    )
    found = {(r["dimension"], r["customer_group"]): (r["value"], r["customers"]) for r in rows}
    assert found == {
        ("all", "all"): (pytest.approx(2 / 3), 3),
        ("channel", "both"): (1.0, 1),
        ("channel", "online"): (1.0, 1),
        ("history", "cold"): (0.0, 1),
        ("history", "light"): (1.0, 1),
        ("history", "regular"): (1.0, 1),
    }
    # Of a single customer there is no interval.
    assert {r["customers"] for r in rows if r["low"] is None} == {1}
    nights.evaluate(run)
    assert (
        nights.warehouse.scalar(
            "select count(*) from ops.evaluation_group where k = 2 and metric = 'recall' and slot = 'next'"
        )
        == 6
    )


def test_an_interval_covers_the_mean_and_shrinks_with_customers() -> None:
    random = np.random.default_rng(1)
    few, many = random.random(100), random.random(40_000)
    low, high = interval(few, 0)
    assert low < few.mean() < high
    # 1.96 standard errors of a uniform distribution: 1.96 x 0.2887 / sqrt(n).
    assert high - low == pytest.approx(2 * 1.96 * 0.2887 / 10, rel=0.25)
    low, high = interval(many, 0)
    assert high - low == pytest.approx(2 * 1.96 * 0.2887 / 200, rel=0.02)


def test_by_segment_of_the_last_published_night(make_nights: Make) -> None:
    nights = make_nights("popularity", k=1)
    before, run = nights.write(4, TRAIN, TARGET), nights.write(5, TRAIN, TARGET)
    execute = nights.warehouse.execute
    nights.published(before)
    execute(
        "create table profile_store.segment_before partition of profile_store.segment for values in ('2026-03-04.1')"
    )
    execute(
        "insert into profile_store.segment (run_id, customer_id, segment_id) values ('2026-03-04.1', 'c0', 2), "
        "('2026-03-04.1', 'c2', 2), ('2026-03-04.1', 'c1', null), ('2026-03-04.1', 'gone', 3)"
    )
    nights.train(run)
    nights.evaluate(run)
    rows = nights.warehouse.rows(
        "select customer_group, value, customers from ops.evaluation_group "
        "where slot = 'next' and metric = 'recall' and k = 2 and dimension = 'segment'"
    )
    assert rows == [{"customer_group": "2", "value": 0.5, "customers": 2}]
