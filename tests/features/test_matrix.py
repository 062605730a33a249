"""The matrices worked out by hand: half-life 60 days, holdout 14 days."""

from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from ibis.expr import types as ir
from portrait.config import FeatureConfig
from portrait.features.cells import VALUES, cells
from portrait.features.engine import Engine
from portrait.features.matrix import Cells, read_csr, write_matrices
from portrait.features.positions import extend_index
from portrait.features.weight import epoch_of, weight_at

AS_OF = date(2026, 3, 31)  # cutoff 17 March, one more holdout earlier 3 March
CONFIG = FeatureConfig(behaviour_weights={"order_completed": 1.0, "product_viewed": 0.1}, half_life_days=60)
MakeRows = Callable[..., ir.Table]


def event(customer: str | None, name: str, sku: str | None, day: date) -> dict[str, Any]:
    return {"customer": customer, "event_name": name, "item": sku, "business_date": day}


def compute(engine: Engine, rows: ir.Table, customers: int = 4, as_of: date = AS_OF) -> Cells:
    epoch = epoch_of(as_of, CONFIG.half_life_days)
    placed = rows.cast({"customer": "int32", "item": "int32"}).mutate(weight=weight_at(rows, CONFIG, epoch))
    return Cells.compute(engine, cells(placed, CONFIG, as_of, 14), len(engine.arrow(rows)), customers)


def write(engine: Engine, rows: ir.Table, folder: Path, customers: int = 4) -> dict[str, np.ndarray]:
    epoch = epoch_of(AS_OF, CONFIG.half_life_days)
    made = compute(engine, rows, customers).matrices(AS_OF, epoch, 14, CONFIG, items=2)
    index = pa.table({"row": pa.array(range(customers), pa.int32())})
    write_matrices(made, index, pa.table({"col": pa.array([0, 1], pa.int32())}), folder / "matrix")
    found = {n: read_csr(folder / "matrix" / n) for n in VALUES}
    assert {m.dtype for m in found.values()} == {np.dtype("float32")}
    assert all(m.has_sorted_indices and isinstance(m.data, np.memmap) for m in found.values())
    return {n: m.toarray() for n, m in found.items()}


def test_values(engine: Engine, make_rows: MakeRows, tmp_path: Path) -> None:
    rows = make_rows(
        event("0", "product_viewed", "0", date(2026, 3, 1)),
        event("0", "order_completed", "0", date(2026, 3, 10)),
        event("1", "order_completed", "1", date(2026, 3, 20)),
        event("1", "order_completed", "1", date(2026, 3, 20)),
        event("2", "products_searched", None, date(2026, 3, 20)),
        event("3", "order_refunded", "0", date(2026, 3, 20)),
    )
    found = write(engine, rows, tmp_path)

    def fade(days: int) -> float:
        return float(0.5 ** (days / 60))

    expected = {
        "full_weights": [[0.1 * fade(30) + fade(21), 0], [0, 2 * fade(11)], [0, 0], [0, 0]],
        "full_bought": [[1, 0], [0, 2], [0, 0], [0, 0]],
        "train_weights": [[0.1 * fade(16) + fade(7), 0], [0, 0], [0, 0], [0, 0]],
        "train_bought": [[1, 0], [0, 0], [0, 0], [0, 0]],
        "target": [[0, 0], [0, 1], [0, 0], [0, 0]],
        "validation_weights": [[0.1 * fade(2), 0], [0, 0], [0, 0], [0, 0]],
        "validation_bought": [[0, 0], [0, 0], [0, 0], [0, 0]],
        "validation_target": [[1, 0], [0, 0], [0, 0], [0, 0]],
    }
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, rtol=1e-6, err_msg=name)


@pytest.mark.parametrize(
    ("day", "parts"),
    [
        (date(2026, 3, 31), {"full_bought", "target"}),
        (date(2026, 3, 18), {"full_bought", "target"}),
        (date(2026, 3, 17), {"full_bought", "train_bought", "validation_target"}),
        (date(2026, 3, 4), {"full_bought", "train_bought", "validation_target"}),
        (date(2026, 3, 3), {"full_bought", "train_bought", "validation_bought"}),
    ],
)
def test_each_day_is_in_its_parts(
    engine: Engine, make_rows: MakeRows, tmp_path: Path, day: date, parts: set[str]
) -> None:
    found = write(engine, make_rows(event("0", "order_completed", "0", day)), tmp_path)
    assert {n for n in VALUES if not n.endswith("weights") and found[n].any()} == parts


def test_nothing_at_all(engine: Engine, make_rows: MakeRows, tmp_path: Path) -> None:
    found = write(engine, make_rows(), tmp_path, customers=0)
    assert {m.shape for m in found.values()} == {(0, 2)}


def test_positions_never_move(tmp_path: Path) -> None:
    path = tmp_path / "item_index.parquet"
    extend_index(path, pa.array(["m", "c"]))
    before = path.stat().st_mtime_ns
    extend_index(path, pa.array(["c"]))
    assert path.stat().st_mtime_ns == before
    found = extend_index(path, pa.array(["z", "a", "m"]))
    assert found.to_pylist() == [{"col": i, "sku": s} for i, s in enumerate(["c", "m", "a", "z"])]
    assert pq.read_table(path) == found


def test_rows_replaced_are_as_if_all_were_computed(engine: Engine, make_rows: MakeRows) -> None:
    old = [event("0", "order_completed", "1", AS_OF), event("1", "product_viewed", "0", AS_OF)]
    new = [
        event("1", "product_viewed", "1", AS_OF),
        event("1", "order_completed", "0", date(2026, 3, 16)),
        event("4", "order_completed", "1", AS_OF),
    ]
    before = compute(engine, make_rows(*old), customers=3)
    fresh = compute(engine, make_rows(*new), customers=5)
    found = before.replaced(np.array([False, True, False, False, True]), fresh)
    expected = compute(engine, make_rows(old[0], *new), customers=5)
    np.testing.assert_array_equal(found.pointer, expected.pointer)
    np.testing.assert_array_equal(found.item, expected.item)
    for name in VALUES:
        np.testing.assert_array_equal(found.values[name], expected.values[name], err_msg=name)
