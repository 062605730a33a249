"""The matrices worked out by hand: half-life 60 days, holdout 14 days."""

from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from ibis.backends.duckdb import Backend
from ibis.expr import types as ir
from portrait.config import FeatureConfig
from portrait.features.cells import VALUES, cells
from portrait.features.items import extend_index
from portrait.features.matrix import write_matrices
from scipy.sparse import load_npz

AS_OF = date(2026, 3, 31)  # cutoff 17 March, one more holdout earlier 3 March
CONFIG = FeatureConfig(behaviour_weights={"order_completed": 1.0, "product_viewed": 0.1}, half_life_days=60)
MakeRows = Callable[..., ir.Table]


def event(customer: str | None, name: str, sku: str | None, day: date) -> dict[str, Any]:
    return {"customer_id": customer, "event_name": name, "sku": sku, "business_date": day}


def write(engine: Backend, rows: ir.Table, folder: Path) -> dict[str, np.ndarray]:
    cell = cells(rows, CONFIG, AS_OF, 14)
    write_matrices(engine, cell, folder / "item_index.parquet", folder / "matrix")
    found = {n: load_npz(folder / "matrix" / f"{n}.npz") for n in VALUES}
    assert {m.dtype for m in found.values()} == {np.dtype("float32")}
    assert all(m.format == "csr" and m.has_canonical_format for m in found.values())
    return {n: m.toarray() for n, m in found.items()}


def test_values(engine: Backend, make_rows: MakeRows, tmp_path: Path) -> None:
    rows = make_rows(
        event("A", "product_viewed", "s1", date(2026, 3, 1)),
        event("A", "order_completed", "s1", date(2026, 3, 10)),
        event("B", "order_completed", "s2", date(2026, 3, 20)),
        event("B", "order_completed", "s2", date(2026, 3, 20)),
        event("C", "products_searched", None, date(2026, 3, 20)),
        event("D", "order_refunded", "s1", date(2026, 3, 20)),
        event(None, "order_completed", "s3", date(2026, 3, 20)),
    )
    found = write(engine, rows, tmp_path)
    assert pq.read_table(tmp_path / "matrix" / "customers.parquet").to_pylist() == [
        {"row": 0, "customer_id": "A"},
        {"row": 1, "customer_id": "B"},
    ]
    assert pq.read_table(tmp_path / "matrix" / "items.parquet").to_pylist() == [
        {"col": 0, "sku": "s1"},
        {"col": 1, "sku": "s2"},
    ]

    def fade(days: int) -> float:
        return float(0.5 ** (days / 60))

    expected = {
        "full_weights": [[0.1 * fade(30) + fade(21), 0], [0, 2 * fade(11)]],
        "full_bought": [[1, 0], [0, 2]],
        "train_weights": [[0.1 * fade(16) + fade(7), 0], [0, 0]],
        "train_bought": [[1, 0], [0, 0]],
        "target": [[0, 0], [0, 1]],
        "validation_weights": [[0.1 * fade(2), 0], [0, 0]],
        "validation_bought": [[0, 0], [0, 0]],
        "validation_target": [[1, 0], [0, 0]],
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
    engine: Backend, make_rows: MakeRows, tmp_path: Path, day: date, parts: set[str]
) -> None:
    found = write(engine, make_rows(event("A", "order_completed", "s1", day)), tmp_path)
    assert {n for n in VALUES if not n.endswith("weights") and found[n].any()} == parts


def test_nothing_at_all(engine: Backend, make_rows: MakeRows, tmp_path: Path) -> None:
    found = write(engine, make_rows(), tmp_path)
    assert {m.shape for m in found.values()} == {(0, 0)}


def test_positions_never_move(tmp_path: Path) -> None:
    path = tmp_path / "item_index.parquet"
    extend_index(path, pa.array(["m", "c"]))
    before = path.stat().st_mtime_ns
    extend_index(path, pa.array(["c"]))
    assert path.stat().st_mtime_ns == before
    found = extend_index(path, pa.array(["z", "a", "m"]))
    assert found.to_pylist() == [{"col": i, "sku": s} for i, s in enumerate(["c", "m", "a", "z"])]
    assert pq.read_table(path) == found
