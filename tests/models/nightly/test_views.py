"""Customers as they were on a day: nothing later is in views, labels or anything fitted."""

from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import ibis
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from portrait.config import Settings, load_settings
from portrait.features.engine import DuckDBEngine
from portrait.features.preprocess import Preprocessor
from portrait.features.weight import epoch_of, weight_at
from portrait.models.nightly.views import NightRows, examples_of, snapshot_at, world_at
from portrait.models.profile.examples import Examples
from portrait.models.profile.model import ProfileAutoencoder
from portrait.run import Run

AS_OF = date(2026, 6, 30)
CUTOFF = AS_OF - timedelta(days=30)
BEFORE = CUTOFF - timedelta(days=30)
ROWS = pa.schema(
    {
        "customer": pa.int32(), "event_name": pa.string(), "channel": pa.string(), "item": pa.int32(),
        "basket": pa.int64(), "quantity": pa.float64(), "amount": pa.decimal128(18, 4),
        "discount": pa.decimal128(18, 4), "rating": pa.float64(), "occurred_at": pa.timestamp("us", tz="UTC"),
        "local_hour": pa.int8(), "business_date": pa.date32(), "store_id": pa.string(), "search_query": pa.string(),
    }
)  # fmt: skip
OWNERS = pa.schema(
    {
        "kind": pa.string(), "code": pa.int64(), "customer": pa.int32(),
        "valid_from": pa.date32(), "valid_to": pa.date32(),
    }
)  # fmt: skip
Rows = list[dict[str, Any]]


def event(
    customer: int, day: date, item: int, name: str = "order_completed", amount: int = 10
) -> dict[str, Any]:
    return {
        "customer": customer, "event_name": name, "channel": "online", "item": item, "quantity": 1.0,
        "amount": amount if name == "order_completed" else None, "basket": 100 * day.toordinal() + customer,
        "occurred_at": datetime(day.year, day.month, day.day, 12, tzinfo=UTC), "local_hour": 20,
        "business_date": day,
    }  # fmt: skip


def history() -> Rows:
    random = np.random.default_rng(0)
    made = [
        event(
            int(random.integers(30)),
            AS_OF - timedelta(days=int(random.integers(150))),
            int(random.integers(6)),
            str(random.choice(["order_completed", "product_viewed"])),
            int(random.integers(1, 90)),
        )
        for _ in range(500)
    ]
    return made


class Nights:
    def __init__(self, folder: Path) -> None:
        self.folder, self.count = folder, 0
        self.settings: Settings = load_settings({"PORTRAIT_HOME": str(folder / "home")})

    def night(self, rows: Rows) -> NightRows:
        self.count += 1
        engine = DuckDBEngine("500MB", self.folder / "spill")
        path = self.folder / f"rows{self.count}.parquet"
        pq.write_table(pa.Table.from_pylist(rows, schema=ROWS), path)
        table = engine.read(path)
        config = self.settings.features
        table = table.mutate(weight=weight_at(table, config, epoch_of(AS_OF, config.half_life_days)))
        owners = ibis.memtable(OWNERS.empty_table())
        skus = pa.chunked_array([[f"i{n}" for n in range(6)]])
        return NightRows(engine, self.settings, Run("r", AS_OF, 7), table, owners, 40, skus, self.folder)


@pytest.fixture
def nights(tmp_path: Path) -> Nights:
    return Nights(tmp_path)


def test_a_customer_on_a_day_and_what_came_after(nights: Nights) -> None:
    rows = [
        event(3, BEFORE - timedelta(days=60), 1),
        event(3, BEFORE, 2, "product_viewed"),
        event(3, BEFORE + timedelta(days=1), 4, amount=25),
        event(5, BEFORE - timedelta(days=1), 0),
        event(5, BEFORE + timedelta(days=31), 0),
        event(6, BEFORE + timedelta(days=1), 0),
    ]
    night = nights.night(rows)
    world = world_at(night, CUTOFF)
    snapshot = snapshot_at(night, world, BEFORE)
    assert snapshot.rows.tolist() == [3, 5]  # 6 came later
    # Halved once in 60 days; a view counts a tenth.
    np.testing.assert_allclose(snapshot.views.basket.toarray()[0], [0, 0.5, 0.1, 0, 0, 0], rtol=1e-5)
    assert snapshot.views.events is not None
    assert snapshot.views.events.take(np.array([0])).item.tolist() == [1, 2]
    entries = [e for e in night.settings.features.preprocess if e.column in ("recency_days", "frequency")]
    fitted = Preprocessor.fit(entries, snapshot.features, BEFORE)
    (examples,) = examples_of(night, world, [snapshot], fitted, CUTOFF)
    assert examples.labels.purchase.tolist() == [1, 0]  # of 5 on the 31st day
    assert np.isnan(examples.labels.spend).all()  # 90 days are not over
    later = examples_of(night, world, [snapshot], fitted, BEFORE + timedelta(days=90))[0]
    assert later.labels.spend.tolist() == [25, 10]


def test_the_holdout_changes_nothing_that_is_fitted(nights: Nights) -> None:
    """Rows after the cut-off made absurd, doubled and for new customers: same preprocessing, same model."""
    rows = history()
    held = [r for r in rows if r["business_date"] > CUTOFF]
    assert len(held) > 50
    absurd = [{**r, "amount": 10**6, "item": 5, "local_hour": 3} for r in held]
    others = [{**r, "customer": 30 + r["customer"] % 10} for r in held]
    kept = [r for r in rows if r["business_date"] <= CUTOFF]
    inside = [{**r, "amount": 10**6} if r["business_date"] == kept[0]["business_date"] else r for r in kept]

    def learnt(rows: Rows) -> tuple[Examples, dict[str, np.ndarray]]:
        night = nights.night(rows)
        world = world_at(night, CUTOFF)
        snapshots = [snapshot_at(night, world, day) for day in (CUTOFF, BEFORE)]
        columns = ("recency_days", "frequency", "monetary", "evening_share")
        entries = [e for e in night.settings.features.preprocess if e.column in columns]
        fitted = Preprocessor.fit(entries, snapshots[0].features, CUTOFF)
        examples = Examples.joined(examples_of(night, world, snapshots, fitted, CUTOFF))
        model = ProfileAutoencoder(latent=8, hidden=8, epochs=2, event_width=4, experts=(), threads=1)
        model.fit_examples(examples, seed=1)
        return examples, {k: v.numpy() for k, v in model.module_.state_dict().items()}

    (one, weights), (other, again) = learnt(rows), learnt(kept + absurd + others)
    np.testing.assert_array_equal(one.views.features, other.views.features)
    np.testing.assert_array_equal(one.labels.purchase, other.labels.purchase)
    for name, value in weights.items():
        np.testing.assert_array_equal(value, again[name], err_msg=name)
    # A day inside the window does change them: the comparison sees what it should.
    touched = learnt(inside)[1]
    assert any((touched[name] != value).any() for name, value in weights.items())
