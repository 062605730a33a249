"""The last events in order, as arrays and as lists; two events that are the same in all follow one another at once."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from ibis.expr import types as ir
from portrait.config import FeatureConfig
from portrait.features.engine import Engine
from portrait.features.ragged import Ragged
from portrait.features.sequence import sequence_arrays, sequence_lists, sequences, steps

MakeRows = Callable[..., ir.Table]
CONFIG = FeatureConfig(behaviour_weights={}, sequence_length=3)
START = datetime(2026, 3, 1, tzinfo=UTC)
SECONDS = int(START.timestamp())


def event(customer: int, second: int, item: int | None, name: str = "product_viewed") -> dict[str, Any]:
    at = (START + timedelta(seconds=second)).replace(tzinfo=None)
    return {
        "customer": str(customer),
        "event_name": name,
        "item": None if item is None else str(item),
        "occurred_at": at,
    }


@pytest.fixture
def rows(make_rows: MakeRows) -> ir.Table:
    """Customer 0 does four things, 1 nothing, 2 the same thing twice and one more; 3 something that is no step."""
    made = make_rows(
        event(0, 50, 7), event(0, 10, 5), event(0, 20, None), event(0, 90, 6),
        event(2, 30, 1), event(2, 30, 1), event(2, 5, 4),
        event(3, 1, 1, "page_closed"),
    )  # fmt: skip
    return made.cast({"customer": "int32", "item": "int32"})


def test_lists(engine: Engine, rows: ir.Table) -> None:
    found = engine.arrow(sequences(rows, CONFIG).order_by("customer")).to_pylist()
    assert [r["customer"] for r in found] == [0, 2]
    assert [(s["at"] - SECONDS, s["item"], s["gap"]) for s in found[0]["steps"]] == [
        (20, -1, 0),
        (50, 7, 30),
        (90, 6, 40),
    ]
    assert [(s["at"] - SECONDS, s["item"], s["gap"]) for s in found[1]["steps"]] == [
        (5, 4, 0),
        (30, 1, 25),
        (30, 1, 0),
    ]


def test_arrays_say_the_same(engine: Engine, rows: ir.Table) -> None:
    found = sequence_arrays(engine, steps(rows, CONFIG), customers=5)
    assert found.pointer.tolist() == [0, 3, 3, 6, 6, 6]
    lists = pa.concat_tables(sequence_lists(found)).to_pylist()
    expected = engine.arrow(sequences(rows, CONFIG).order_by("customer")).to_pylist()
    for row in expected:
        assert [s.pop("turn") for s in row["steps"]] == [-2, -1, 0]
    assert lists == expected


def test_lists_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("portrait.features.sequence.BLOCK", 2)
    values = {n: np.arange(4) for n in ("at", "event", "item", "channel", "gap")}
    found = pa.concat_tables(sequence_lists(Ragged(np.array([0, 1, 1, 1, 3, 4]), values)))
    assert found["customer"].to_pylist() == [0, 3, 4]
    assert [[s["at"] for s in steps] for steps in found["steps"].to_pylist()] == [[0], [1, 2], [3]]
    nobody = Ragged(np.array([0]), {n: v[:0] for n, v in values.items()})
    assert [t.num_rows for t in sequence_lists(nobody)] == [0]


def test_rows_replaced() -> None:
    before = Ragged(np.array([0, 2, 3, 3]), {"at": np.array([1, 2, 3], np.int16)})
    fresh = Ragged(np.array([0, 0, 2, 2, 3]), {"at": np.array([8, 9, 7], np.int32)})
    found = before.replaced(np.array([False, True, False, True]), fresh)
    assert (found.pointer.tolist(), found.values["at"].tolist()) == ([0, 2, 4, 4, 5], [1, 2, 8, 9, 7])
