"""Portrait's tables against the same features written in pandas (`benchmarks/features_pandas.py`), on random rows."""

import importlib.util
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from portrait.features.cells import VALUES
from portrait.features.matrix import read_csr

from .conftest import Shop

BASELINE = Path(__file__).parents[2] / "benchmarks" / "features_pandas.py"
AS_OF = date(2026, 3, 31)
DAYS = 120
KEYS = {
    "affinity": ["dimension", "customer", "rank"],
    "repurchase": ["customer", "category"],
    "search": ["customer", "query"],
    "catalogue": ["item"],
    "cleaned": ["rule", "business_date"],
    "purchases": ["customer", "business_date", "item"],
}
EVENTS = (
    "product_viewed", "product_viewed", "product_viewed", "products_searched", "product_added", "product_favorited",
    "product_shared", "product_reviewed", "order_completed", "order_refunded",
)  # fmt: skip


@pytest.fixture(scope="session")
def baseline() -> ModuleType:
    spec = importlib.util.spec_from_file_location("features_pandas", BASELINE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def busy(shop: Shop) -> Shop:
    """Forty customers with every kind of event, copies, a robot, lines of too many pieces, returns and gaps in the data."""
    rng = np.random.default_rng(11)
    shop.products(AS_OF - timedelta(days=DAYS), *(_product(n) for n in range(40)))
    shop.products(
        AS_OF - timedelta(days=3), {"sku": "s5", "category_1": "new", "list_price": 9}, source="other"
    )
    for number in range(DAYS, -1, -6):
        day = AS_OF - timedelta(days=number)
        rows = [_event(rng, day) for _ in range(60)]
        shop.events(day, *rows, *rows[:3])
        for _ in range(6):
            _receipt(shop, rng, day)
    shop.events(
        AS_OF, *({"device_id": "robot", "sku": "s1", "occurred_at": _at(AS_OF, n)} for n in range(25))
    )
    for number in range(8):
        shop.member(AS_OF - timedelta(days=number), **_member(rng, number))
    features = shop.settings.features.model_copy(update={"bot_events_per_day": 20, "quantity_cap": 5})
    shop.settings = shop.settings.model_copy(update={"features": features})
    return shop


def _product(number: int) -> dict[str, Any]:
    return {
        "sku": f"s{number}", "brand": None if number % 9 == 0 else f"b{number % 5}", "category_1": "xyz"[number % 3],
        "category_2": None if number % 4 else f"sub{number % 3}", "list_price": None if number % 7 == 0 else 5 + number % 11,
    }  # fmt: skip


def _at(day: date, minute: int) -> datetime:
    return datetime.combine(day, datetime.min.time(), UTC) + timedelta(minutes=minute)


def _event(rng: np.random.Generator, day: date) -> dict[str, Any]:
    person, name = int(rng.integers(40)), str(rng.choice(EVENTS))
    row = {
        "event_name": name,
        "occurred_at": _at(day, int(rng.integers(1300))),
        "sku": f"s{rng.integers(45)}",
    }
    row["device_id"] = f"d{person}"
    if rng.random() < 0.6:
        row["account_id"] = f"a{person}"
    if name == "products_searched":
        return {**row, "sku": None, "search_query": f"q{rng.integers(6)}"}
    if name == "product_reviewed":
        return {**row, "rating": int(rng.integers(1, 6))}
    if name.startswith("order_"):
        row |= {"quantity": int(rng.integers(1, 8)), "unit_price": round(float(rng.uniform(1, 50)), 2)}
        return {**row, "order_id": f"o{day}.{person}" if person % 5 else None}
    return row


def _receipt(shop: Shop, rng: np.random.Generator, day: date) -> None:
    lines: list[dict[str, Any]] = [
        {"sku": f"s{rng.integers(45)}", "quantity": int(rng.integers(1, 4)), "unit_price": 7.5,
         "discount_amount": [None, 0.5, 2][int(rng.integers(3))]}
        for _ in range(int(rng.integers(1, 4)))
    ]  # fmt: skip
    if rng.random() < 0.2:
        lines.append({"sku": "s2", "quantity": -1, "line_amount": -7.5})
    kind = "return" if rng.random() < 0.1 else "sale"
    shop.receipt(day, *lines, kind=kind, store_id=f"st{rng.integers(4)}", card_hash=f"c{rng.integers(40)}",
                 occurred_at=_at(day, int(rng.integers(900))))  # fmt: skip


def _member(rng: np.random.Generator, number: int) -> dict[str, Any]:
    """The first four join a card and an account of one number."""
    row = {
        "member_id": f"m{number}",
        "card_hash": f"c{number % 4}",
        "occurred_at": _at(AS_OF, -number * 1440),
    }
    row["birth_date"] = date(1890 if number == 2 else 1980, 1, 1 + number)
    return row | {
        "account_id": f"a{number % 4}",
        "gender": "fm"[number % 2],
        "city": None if number % 3 else "Wuhan",
    }


def test_all_tables_and_matrices(busy: Shop, baseline: ModuleType) -> None:
    busy.night(AS_OF)
    folder = busy.folder(AS_OF)
    made = baseline.PandasFeatures(busy.settings, busy.run(AS_OF), folder / "state" / "owners.parquet")
    ids = made.ids.set_index("customer_id").row
    counts = {}
    for name, theirs in made.tables.items():
        ours = _ours(folder, name, ids)
        if name == "sequence":
            ours = _unzipped(ours)
        theirs = theirs.reset_index() if theirs.index.name == "customer" else theirs
        key = KEYS.get(name, ["customer"])
        ours, theirs = (t.sort_values(key).reset_index(drop=True) for t in (ours, theirs))
        assert list(theirs[key[0]]) == list(ours[key[0]]), name
        wanted = [c for c in ours if name not in ("activity", "features") or c in theirs]
        for column in wanted:
            _agree(ours[column], theirs[column], f"{name}.{column}")
        counts[name] = len(ours)
    assert set(made.matrices) == set(VALUES)
    for name, theirs in made.matrices.items():
        matrix = read_csr(folder / "matrix" / name)
        assert matrix.nnz == theirs.nnz > 0
        np.testing.assert_allclose(matrix.toarray(), theirs.toarray(), rtol=1e-6, err_msg=name)
    # Nothing of this is empty, nor does it say that everything is nothing.
    assert min(counts.values()) >= 3
    assert set(made.tables["cleaned"].rule) == {"duplicate", "bot", "quantity"}
    families = made.tables["features"]
    assert [c for c in families if families[c].nunique() < 2] == []
    assert set(pq.read_schema(folder / "features.parquet").names) == {"customer_id", *families}


def _ours(folder: Path, name: str, ids: pd.Series) -> pd.DataFrame:
    if name == "purchases":
        table = pq.read_table(folder / "matrix" / "purchases.parquet").to_pandas()
        return table.assign(business_date=pd.to_datetime(table.pop("day"), unit="D"))
    table = pq.read_table(folder / f"{name}.parquet").to_pandas(date_as_object=False)
    if "customer_id" in table:
        table.insert(0, "customer", table.pop("customer_id").map(ids))
    return table


def _unzipped(table: pd.DataFrame) -> pd.DataFrame:
    """A list a field in place of a list of structs."""
    fields = ("at", "event", "item", "channel", "gap")
    return pd.DataFrame(
        {"customer": table.customer, **{f: [[s[f] for s in steps] for steps in table.steps] for f in fields}}
    )


def _agree(ours: pd.Series, theirs: pd.Series, name: str) -> None:
    if pd.api.types.is_datetime64_any_dtype(ours):
        assert list(ours.astype("datetime64[s]")) == list(theirs.astype("datetime64[s]")), name
    elif pd.api.types.is_numeric_dtype(ours):
        # Entropies are summed of rounded terms, weights of decimals with twelve places.
        a, b = ours.to_numpy("float64", na_value=np.nan), theirs.to_numpy("float64", na_value=np.nan)
        np.testing.assert_allclose(
            a,
            b,
            rtol=1e-4 if "entropy" in name else 1e-6,
            atol=1e-4 if "entropy" in name else 1e-9,
            err_msg=name,
        )
    else:
        there = ours.notna()
        assert list(there) == list(theirs.notna()), name
        assert list(ours[there]) == list(theirs[there]), name
