"""Nothing of the held-out days reaches what is fitted, from the rows to the saved parameters."""

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from portrait.config import FeatureConfig, load_settings
from portrait.features.engine import DuckDBEngine
from portrait.features.families.wide import features_at
from portrait.features.preprocess import Preprocessor

AS_OF = date(2026, 3, 31)
CUTOFF = AS_OF - timedelta(days=14)
ROWS = pa.schema(
    {
        "customer": pa.int32(), "event_name": pa.string(), "channel": pa.string(), "item": pa.int32(),
        "basket": pa.int64(), "quantity": pa.float64(), "amount": pa.decimal128(18, 4),
        "discount": pa.decimal128(18, 4), "rating": pa.float64(), "occurred_at": pa.timestamp("us", tz="UTC"),
        "local_hour": pa.int8(), "business_date": pa.date32(), "store_id": pa.string(), "search_query": pa.string(),
    }
)  # fmt: skip
CATALOGUE = pa.table(
    {
        "item": pa.array(range(9), pa.int32()), "category": [f"c{n % 3}" for n in range(9)],
        "category_1": ["all"] * 9, "brand": [f"b{n % 4}" for n in range(9)], "list_price": [1.0] * 9,
        "price_tier": pa.array([1 + n % 5 for n in range(9)], pa.int32()),
    }
)  # fmt: skip
Rows = list[dict[str, Any]]


def history() -> Rows:
    random = np.random.default_rng(0)
    made = []
    for number in range(600):
        event = str(
            random.choice(["product_viewed", "product_added", "order_completed", "pos_sale", "pos_return"])
        )
        day = AS_OF - timedelta(days=int(random.integers(60)))
        store = event.startswith("pos")
        made.append(
            {
                "customer": int(random.integers(40)), "event_name": event, "channel": "store" if store else "online",
                "item": int(random.integers(9)), "basket": number, "quantity": 1.0,
                "amount": int(random.integers(1, 99)), "discount": int(random.integers(9)) if store else None,
                "occurred_at": datetime(day.year, day.month, day.day, 12, tzinfo=UTC),
                "local_hour": int(random.integers(24)), "business_date": day,
                "store_id": f"s{random.integers(3)}" if store else None,
            }
        )  # fmt: skip
    return made


@pytest.fixture
def features(tmp_path: Path) -> Callable[[Rows, date], pa.Table]:
    engine = DuckDBEngine("500MB", tmp_path / "spill")
    config = FeatureConfig(behaviour_weights={"pos_sale": 1.0, "order_completed": 1.0, "product_viewed": 0.1})

    def computed(rows: Rows, as_of: date) -> pa.Table:
        pq.write_table(pa.Table.from_pylist(rows, schema=ROWS), tmp_path / "rows.parquet")
        pq.write_table(CATALOGUE, tmp_path / "catalogue.parquet")
        inputs = [engine.read(tmp_path / f"{n}.parquet") for n in ("rows", "catalogue")]
        return engine.arrow(features_at(*inputs, config, as_of)).sort_by("customer")

    return computed


def parameters(value: Any) -> Any:
    """Everything fitted, as plain values."""
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, (list, tuple)):
        return [parameters(v) for v in value]
    if hasattr(value, "get_params"):
        kept = {k: v for k, v in vars(value).items() if k.endswith("_") or k == "steps"}
        return {k: parameters(v) for k, v in kept.items()}
    return repr(value)


def test_a_value_of_the_holdout_changes_no_parameter(
    features: Callable[[Rows, date], pa.Table], tmp_path: Path
) -> None:
    """With the entries that features.yaml ships, and rows of the holdout made absurd, doubled and for new customers."""
    entries = load_settings({"PORTRAIT_HOME": str(tmp_path)}).features.preprocess
    rows = history()
    held = [r for r in rows if r["business_date"] > CUTOFF]
    assert 50 < len(held) < 300
    absurd = [{**r, "amount": 10**9, "store_id": "elsewhere", "local_hour": 3} for r in held]
    others = [{**r, "customer": 1000 + r["customer"]} for r in held]
    changed = [r for r in rows if r["business_date"] <= CUTOFF] + absurd + others

    one, other = (Preprocessor.fit(entries, features(r, CUTOFF), CUTOFF) for r in (rows, changed))
    assert parameters(one.transformer) == parameters(other.transformer)
    # The same rows a day inside the window do change them: the comparison sees what it should.
    inside = [{**r, "amount": 10**9} if r["business_date"] == CUTOFF else r for r in rows]
    touched = Preprocessor.fit(entries, features(inside, CUTOFF), CUTOFF)
    assert parameters(touched.transformer) != parameters(one.transformer)


def test_scoring_uses_what_was_learnt(features: Callable[[Rows, date], pa.Table], tmp_path: Path) -> None:
    entries = load_settings({"PORTRAIT_HOME": str(tmp_path)}).features.preprocess
    training, tonight = features(history(), CUTOFF), features(history(), AS_OF)
    Preprocessor.fit(entries, training, CUTOFF).save(tmp_path / "version")
    values, names = Preprocessor.load(tmp_path / "version").transform(tonight)
    assert values.shape == (tonight.num_rows, len(names))
    assert np.isfinite(values).all()
    # A share that is never missing: standardised by the mean and deviation of training, by hand.
    share = np.array(training["online_event_share"])
    expected = (np.array(tonight["online_event_share"]) - share.mean()) / share.std()
    assert values[:, names.index("online_event_share")] == pytest.approx(expected, abs=1e-5)
