"""A tiny shop's features and model outputs, written the way the rooms before this one do."""

from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from portrait.config import Settings
from portrait.config.privacy import PrivacyConfig
from portrait.config.tags import TagsFile
from portrait.profiles.build import build
from portrait.profiles.publish import audit, load, publish
from portrait.run import Run
from portrait.warehouse import Warehouse

TEXT, INT, REAL, DAY = pa.string(), pa.int32(), pa.float64(), pa.date32()

SCHEMAS: dict[str, dict[str, pa.DataType]] = {
    "features/customer": {
        "customer_id": TEXT,
        "is_known": pa.bool_(),
        **dict.fromkeys(("cards", "accounts", "devices"), INT),
        "gender": TEXT,
        "birth_date": DAY,
        **dict.fromkeys(("region", "city", "member_level", "home_store"), TEXT),
        "joined_on": DAY,
    },
    "features/rfm": {
        "customer_id": TEXT,
        "first_purchase_on": DAY,
        "last_purchase_on": DAY,
        "recency_days": INT,
        "frequency": INT,
        "monetary": REAL,
        "frequency_30d": INT,
        "monetary_30d": REAL,
        "frequency_90d": INT,
        "monetary_90d": REAL,
        "frequency_365d": INT,
        "monetary_365d": REAL,
        "refunded": REAL,
        "items": INT,
        "interpurchase_days": REAL,
        "store_monetary": REAL,
        "store_frequency": INT,
        **dict.fromkeys(("r_score", "f_score", "m_score"), INT),
        "value_type": TEXT,
    },
    "features/activity": {
        "customer_id": TEXT,
        "first_seen_on": DAY,
        "last_seen_on": DAY,
        **dict.fromkeys(("online_events", "store_receipts", "views_30d", "searches_30d", "carts_30d"), INT),
        "favourite_store": TEXT,
    },
    "features/affinity": {
        "customer_id": TEXT,
        "dimension": TEXT,
        "value": TEXT,
        "rank": INT,
        "score": REAL,
        "evidence": INT,
        "last_on": DAY,
    },
    "models/recommendation": {
        "customer_id": TEXT,
        "kind": TEXT,
        "rank": INT,
        "sku": TEXT,
        "score": REAL,
        "model_version": TEXT,
        "because_kind": TEXT,
        "because_of": TEXT,
    },
    "models/embedding": {
        "customer_id": TEXT,
        "embedding": pa.list_(pa.float32()),
        "model_version": TEXT,
    },
    "product": dict.fromkeys(
        ("sku", "name", "name_zh", "brand", "category_1", "category_2", "category_3"), TEXT
    ),
}

RFM_DEFAULTS: dict[str, Any] = {
    **{f"frequency_{d}": 1 for d in ("30d", "90d", "365d")},
    **{f"monetary_{d}": 10.0 for d in ("30d", "90d", "365d")},
    "refunded": 0.0,
    "items": 1,
    "store_frequency": 0,
    "r_score": 3,
    "f_score": 3,
    "m_score": 3,
    "value_type": "general",
}

Rows = list[dict[str, Any]]
WriteInputs = Callable[..., None]
Night = Callable[..., Run]


def rfm_row(customer_id: str, last: date, as_of: date, **columns: Any) -> dict[str, Any]:
    """A row of features/rfm; one purchase of 10 on `last` unless told otherwise."""
    row = {
        **RFM_DEFAULTS,
        "customer_id": customer_id,
        "first_purchase_on": last,
        "last_purchase_on": last,
        "recency_days": (as_of - last).days,
        "frequency": 1,
        "monetary": 10.0,
        **columns,
    }
    return {"store_monetary": row["monetary"], **row}


@pytest.fixture
def settings(make_settings: Callable[..., Settings]) -> Settings:
    """Settings without tags, those of tags.yaml may change, and with customers who need not be asked: what is tested here is
    another thing."""
    nobody_asked = PrivacyConfig(consent_required=())
    return make_settings().model_copy(update={"tags": TagsFile(), "privacy": nobody_asked})


@pytest.fixture
def buyer() -> Callable[..., dict[str, Any]]:
    return rfm_row


@pytest.fixture
def run() -> Run:
    return Run("2026-03-01.1", date(2026, 3, 1), seed=7)


@pytest.fixture
def add_run(warehouse: Warehouse) -> Callable[[Run], None]:
    """Register a run as the stages do."""

    def add(run: Run) -> None:
        warehouse.execute(
            "insert into ops.run (run_id, as_of, run_key, seed, status)"
            " values (:r, :d, :r, :s, 'running') on conflict do nothing",
            r=run.run_id,
            d=run.as_of,
            s=run.seed,
        )

    return add


@pytest.fixture
def write_inputs(settings: Settings) -> WriteInputs:
    """`write_inputs(run, customer=[...], rfm=[...], ...)`: missing columns are null.

    The four feature files are always written, the model outputs and products only when given.
    """

    def write(run: Run, **tables: Rows) -> None:
        for name, columns in SCHEMAS.items():
            room, _, short = name.rpartition("/")
            rows = tables.get(short)
            if rows is None and room != "features":
                continue
            path = settings.run_dir(run.run_id) / f"{name}.parquet"
            if name == "product":
                path = settings.lake_dir / "product" / "part.parquet"
            write_rows(path, rows or [], columns)

    return write


def write_rows(path: Path, rows: Rows, columns: dict[str, pa.DataType]) -> None:
    schema = pa.schema(columns)
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist([{c: r.get(c) for c in columns} for r in rows], schema), path)


@pytest.fixture
def small_night(write_inputs: WriteInputs) -> Callable[..., None]:
    """Inputs of `size` customers, all buyers with everything; `marker` is their region and value type."""

    def write(run: Run, marker: str = "north", size: int = 6) -> None:
        ids = [f"c{i}" for i in range(size)]
        known = {"is_known": True, "cards": 1, "accounts": 1, "devices": 0, "region": marker}
        seen = {
            "first_seen_on": run.as_of,
            "last_seen_on": run.as_of,
            "online_events": 1,
            "store_receipts": 1,
        }
        affinity = {"rank": 1, "score": 1.0, "evidence": 3, "last_on": run.as_of}
        write_inputs(
            run,
            customer=[{"customer_id": c, "joined_on": run.as_of, **known} for c in ids],
            rfm=[rfm_row(c, run.as_of, run.as_of, value_type=marker) for c in ids],
            activity=[{"customer_id": c, **seen} for c in ids],
            affinity=[
                {"customer_id": c, "dimension": d, "value": v, **affinity}
                for c in ids
                for d, v in (("category", "Dairy"), ("brand", "Alp"))
            ],
            recommendation=[
                {"customer_id": c, "kind": kind, "rank": rank, "sku": f"s{rank}", "score": 1.0 / rank}
                for c in ids
                for kind in ("new", "again")
                for rank in (1, 2)
            ],
            embedding=[
                {"customer_id": c, "embedding": [1.0, float(i % 2), 0.0], "model_version": "m"}
                for i, c in enumerate(ids)
            ],
        )

    return write


@pytest.fixture
def night(settings: Settings, add_run: Callable[[Run], None], small_night: Callable[..., None]) -> Night:
    """Publish a whole night: `night(day)` gives its run."""

    def make(day: int, marker: str = "north", size: int = 6, keep: int = 7, attempt: int = 1) -> Run:
        run = Run(f"2026-03-{day:02d}.{attempt}", date(2026, 3, day), seed=7)
        add_run(run)
        small_night(run, marker, size)
        build(settings, run)
        load(settings, run)
        audit(settings, run)
        publish(settings, run, keep)
        return run

    return make


@pytest.fixture
def loaded(
    settings: Settings, add_run: Callable[[Run], None], small_night: Callable[..., None], run: Run
) -> Run:
    """A run that is loaded, not audited yet."""
    add_run(run)
    small_night(run)
    build(settings, run)
    load(settings, run)
    return run
