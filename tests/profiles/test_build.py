"""The six Parquet tables of a run, from inputs to values."""

from collections.abc import Callable
from datetime import date
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from portrait.config import Settings
from portrait.errors import PortraitError
from portrait.profiles.build import SEGMENT_CENTRES, build
from portrait.profiles.inferred import COLUMNS as INFERRED
from portrait.profiles.tables import TABLES, profiles_dir
from portrait.run import Run

AS_OF = date(2026, 3, 1)
KINDS = {
    "string": pa.string(),
    "date": pa.date32(),
    "boolean": pa.bool_(),
    "int32": pa.int32(),
    "float64": pa.float64(),
}
UNKNOWN = (
    *("return_rate", "discount_share", "price_sensitivity", "promotion_sensitivity", "favourite_daypart"),
    *("p_alive", "expected_orders_90d", "expected_spend_90d", "clv_12m", "clv_12m_low", "clv_12m_high"),
    "price_level",
    *INFERRED,
)
"""Null where the features or the number of buyers do not say it."""
NEVER = dict.fromkeys(("region", "city", "gender", "member_level"))


def rows(settings: Settings, run: Run, table: str) -> list[dict[str, Any]]:
    return pq.read_table(TABLES[table].file(settings, run)).to_pylist()


@pytest.fixture
def shop(settings: Settings, run: Run, write_inputs: Callable[..., None], buyer: Callable[..., Any]) -> None:
    """ann buys everywhere, bob once and only online, cat only registered, dan is a device that looked."""
    write_inputs(
        run,
        customer=[
            {
                "customer_id": "ann",
                "is_known": True,
                "cards": 1,
                "accounts": 1,
                "devices": 2,
                "gender": "female",
                "birth_date": date(1990, 3, 2),
                "region": "Zhejiang",
                "city": "Hangzhou",
                "member_level": "gold",
                "joined_on": date(2025, 3, 1),
            },
            {
                "customer_id": "bob",
                "is_known": True,
                "cards": 0,
                "accounts": 1,
                "devices": 1,
                "home_store": "s9",
            },
            {
                "customer_id": "cat",
                "is_known": True,
                "cards": 1,
                "accounts": 0,
                "devices": 0,
                "birth_date": date(1900, 1, 1),
                "home_store": "s1",
                "joined_on": AS_OF,
            },
            {"customer_id": "dan", "is_known": False, "cards": 0, "accounts": 0, "devices": 1},
        ],
        rfm=[
            buyer(
                "ann",
                date(2026, 2, 20),
                AS_OF,
                first_purchase_on=date(2025, 12, 2),
                frequency=5,
                monetary=500.0,
                refunded=20.0,
                interpurchase_days=20.0,
                frequency_90d=3,
                frequency_365d=5,
                store_monetary=400.0,
                value_type="important value",
            ),
            buyer("bob", date(2026, 2, 10), AS_OF, monetary=30.0, store_monetary=0.0),
        ],
        activity=[
            {
                "customer_id": "ann",
                "first_seen_on": date(2025, 3, 2),
                "last_seen_on": date(2026, 2, 28),
                "online_events": 12,
                "store_receipts": 4,
                "views_30d": 7,
                "searches_30d": 2,
                "favourite_store": "s2",
            },
            {
                "customer_id": "bob",
                "first_seen_on": date(2026, 2, 9),
                "last_seen_on": date(2026, 2, 10),
                "online_events": 3,
                "store_receipts": 0,
            },
            {
                "customer_id": "dan",
                "first_seen_on": date(2026, 2, 28),
                "last_seen_on": date(2026, 2, 28),
                "online_events": 1,
                "store_receipts": 0,
                "views_30d": 1,
            },
        ],
        affinity=[
            {
                "customer_id": c,
                "dimension": d,
                "value": v,
                "rank": r,
                "score": s,
                "evidence": 2,
                "last_on": AS_OF,
            }
            for c, d, v, r, s in (
                ("ann", "category", "Tea", 2, 0.3),
                ("ann", "category", "Dairy", 1, 0.7),
                ("ann", "brand", "Alp", 1, 1.0),
                ("dan", "category", "Toys", 1, 1.0),
            )
        ],
        recommendation=[
            {
                "customer_id": c,
                "kind": k,
                "rank": r,
                "sku": sku,
                "score": 0.5,
                "model_version": "m1",
                "because_kind": why,
                "because_of": of,
            }
            for c, k, r, sku, why, of in (
                ("bob", "new", 1, "milk", "category", "Dairy"),
                ("ann", "new", 2, "tea", "popular", None),
                ("ann", "new", 1, "milk", "item", "tea"),
                ("ann", "again", 1, "lost", "again", "lost"),
            )
        ],
        embedding=[
            {"customer_id": "bob", "embedding": [0.0, 2.0], "model_version": "m2"},
            {"customer_id": "ann", "embedding": [3.0, 0.0], "model_version": "m2"},
        ],
        product=[{"sku": "milk", "name": "Fresh milk", "name_zh": "鲜奶"}, {"sku": "tea", "name_zh": "绿茶"}],
    )


@pytest.mark.usefixtures("shop")
def test_customer_profile(settings: Settings, run: Run) -> None:
    build(settings, run)
    ann, bob, cat, dan = rows(settings, run, "customer_profile")
    assert ann == {
        "run_id": "2026-03-01.1",
        "customer_id": "ann",
        "as_of": AS_OF,
        "is_known": True,
        "gender": "female",
        "birth_date": date(1990, 3, 2),
        "age": 35,
        "age_band": "35-44",
        "region": "Zhejiang",
        "city": "Hangzhou",
        "member_level": "gold",
        "home_store": "s2",
        "joined_on": date(2025, 3, 1),
        "tenure_days": 365,
        "cards": 1,
        "accounts": 1,
        "devices": 2,
        "channels": "both",
        "first_seen_on": date(2025, 3, 2),
        "last_seen_on": date(2026, 2, 28),
        "last_purchase_on": date(2026, 2, 20),
        "recency_days": 9,
        "frequency": 5,
        "monetary": 500.0,
        "refunded": 20.0,
        "average_basket": 100.0,
        "store_share": 0.8,
        "views_30d": 7,
        "searches_30d": 2,
        "value_type": "important value",
        "lifecycle": "active",
        "spending_tier": "high",
        "favourite_category": "Dairy",
        "favourite_brand": "Alp",
        "segment_id": 1,
        "segment_name": "Dairy lovers, active",
        "frequency_90d": 3,
        "monetary_90d": 10.0,
        "frequency_365d": 5,
        "monetary_365d": 10.0,
        "interpurchase_days": 20.0,
        **dict.fromkeys(("r_score", "f_score", "m_score"), 3),
        "carts_30d": 0,
        "aipl_stage": "loyal",
        "city_tier": "new_first",
        "favourite_store": "s2",
        **dict.fromkeys(UNKNOWN),
    }
    assert {c: bob[c] for c in ("home_store", "joined_on", "tenure_days", "channels", "lifecycle")} == {
        "home_store": "s9",
        "joined_on": date(2026, 2, 9),  # of the first event: no registration is known
        "tenure_days": 20,
        "channels": "online",
        "lifecycle": "new",
    }
    assert (bob["spending_tier"], bob["store_share"], bob["views_30d"]) == ("low", 0.0, 0)
    assert (cat["birth_date"], cat["age"], cat["age_band"]) == (None, None, None)
    for nobody in (cat, dan):
        assert (nobody["lifecycle"], nobody["frequency"], nobody["monetary"]) == ("prospect", 0, 0.0)
        for column in (
            "recency_days",
            "average_basket",
            "store_share",
            "value_type",
            "spending_tier",
            "segment_id",
        ):
            assert nobody[column] is None, column
    assert (cat["channels"], cat["first_seen_on"], cat["tenure_days"]) == ("none", None, 0)
    assert (dan["channels"], dan["is_known"], dan["favourite_category"]) == ("online", False, "Toys")


@pytest.mark.usefixtures("shop")
def test_the_other_tables(settings: Settings, run: Run) -> None:
    result = build(settings, run)
    assert result.rows == {
        "customer_profile": 4,
        "rfm": 2,
        "affinity": 4,
        "segment": 2,
        "embedding": 2,
        "recommendation": 4,
        "popular": 0,
        "customer_value": 2,
        "repurchase": 0,
        "search_interest": 0,
        "customer_tag": 0,
        "tag_definition": 0,
    }
    assert [
        (r["customer_id"], r["kind"], r["rank"], r["product_name"])
        for r in rows(settings, run, "recommendation")
    ] == [
        ("ann", "again", 1, None),  # no product file knows it
        ("ann", "new", 1, "Fresh milk"),
        ("ann", "new", 2, "绿茶"),
        ("bob", "new", 1, "Fresh milk"),
    ]
    assert [
        (r["because_kind"], r["because_of"], r["because_name"]) for r in rows(settings, run, "recommendation")
    ] == [
        ("again", "lost", None),
        ("item", "tea", "绿茶"),
        ("popular", None, None),
        ("category", "Dairy", "Dairy"),
    ]
    assert [(r["customer_id"], r["embedding"]) for r in rows(settings, run, "embedding")] == [
        ("ann", [3.0, 0.0]),
        ("bob", [0.0, 2.0]),
    ]
    assert {r["customer_id"]: r["distance"] for r in rows(settings, run, "segment")} == {
        "ann": 0.0,
        "bob": 0.0,
    }
    centres = pq.read_table(profiles_dir(settings, run) / SEGMENT_CENTRES).to_pylist()
    assert [(c["segment_id"], c["customers"]) for c in centres] == [(1, 1), (2, 1)]
    assert result.segments == {c["segment_id"]: c["segment_name"] for c in centres}


@pytest.mark.usefixtures("shop")
def test_files_have_exactly_the_declared_columns_and_types(settings: Settings, run: Run) -> None:
    build(settings, run)
    for table in TABLES.values():
        schema = pq.read_schema(table.file(settings, run))
        assert schema.names == ["run_id", *table.columns]
        for column, kind in table.columns.items():
            if kind in KINDS:
                assert schema.field(column).type == KINDS[kind], (table.name, column)
    assert pq.read_schema(TABLES["embedding"].file(settings, run)).field("embedding").type == pa.list_(
        pa.float32()
    )


@pytest.mark.usefixtures("shop")
def test_building_again_gives_the_same_bytes(settings: Settings, run: Run) -> None:
    build(settings, run)
    first = {p.name: p.read_bytes() for p in profiles_dir(settings, run).iterdir()}
    (profiles_dir(settings, run).with_name("profiles.tmp")).mkdir()  # left by a killed attempt
    build(settings, run)
    again = {p.name: p.read_bytes() for p in profiles_dir(settings, run).iterdir()}
    assert again == first
    assert len(again) == len(TABLES) + 2


def test_without_models_and_products(settings: Settings, run: Run, write_inputs: Callable[..., None]) -> None:
    write_inputs(run, customer=[{"customer_id": "a", "is_known": True, "cards": 1}])
    result = build(settings, run)
    assert result.segments == {}
    assert {t for t, n in result.rows.items() if n} == {"customer_profile"}
    assert rows(settings, run, "customer_profile")[0]["segment_name"] is None


def test_missing_features_are_named(settings: Settings, run: Run) -> None:
    with pytest.raises(
        PortraitError, match=r"features/customer.parquet: no such file; run `portrait features`"
    ):
        build(settings, run)


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ([1.0, float("nan")], "hold NaN or infinity, see customer z"),
        ([1.0], "differ in length .* see customer z"),
    ],
)
def test_unusable_embeddings_stop_the_build(
    settings: Settings, run: Run, write_inputs: Callable[..., None], bad: list[float], message: str
) -> None:
    embedding = [{"customer_id": "a", "embedding": [1.0, 2.0]}, {"customer_id": "z", "embedding": bad}]
    write_inputs(run, customer=[{"customer_id": c} for c in "az"], embedding=embedding)
    with pytest.raises(PortraitError, match=message):
        build(settings, run)
    assert not profiles_dir(settings, run).exists()


def test_segments_keep_their_numbers_when_the_embedding_space_turns(
    settings: Settings, run: Run, night: Callable[..., Run], write_inputs: Callable[..., None]
) -> None:
    """Tonight's training mirrors the space, and last night's smaller segment is the larger one."""
    night(1, size=7)
    before = {r["customer_id"]: r["segment_id"] for r in rows(settings, run, "segment")}
    assert before == {f"c{i}": 1 if i % 2 == 0 else 2 for i in range(7)}
    tonight = Run("2026-03-02.1", date(2026, 3, 2), seed=99)
    odd = [f"c{i}" for i in (1, 3, 5)] + [f"new{i}" for i in range(9)]
    write_inputs(
        tonight,
        customer=[{"customer_id": c, "is_known": True} for c in (*before, *odd[3:])],
        embedding=[
            {"customer_id": c, "embedding": [0.0, -1.0, 0.5] if c in odd else [-1.0, 0.0, 0.0]}
            for c in (*before, *odd[3:])
        ],
    )
    build(settings, tonight)
    after = {r["customer_id"]: r["segment_id"] for r in rows(settings, tonight, "segment")}
    # The odd ones are the larger cluster now (12 of 16) and are still segment 2.
    assert {c: after[c] for c in before} == before
    assert after["new0"] == 2


def test_habits_of_those_who_have_them(settings: Settings, run: Run, shop: None) -> None:
    shares = dict.fromkeys(("night_share", "morning_share", "afternoon_share", "evening_share"), 0.1)
    habits = [
        {"customer_id": "ann", "price_tier_mean": 4.5, "discount_share": 0.0, "return_rate": 0.1, **shares},
        {"customer_id": "bob", "price_tier_mean": 1.0, "discount_share": 0.3, "return_rate": 0.0, **shares},
        {"customer_id": "dan", **shares, "evening_share": 0.7},
    ]
    path = settings.run_dir(run.run_id) / "features" / "features.parquet"
    pq.write_table(
        pa.Table.from_pylist(
            habits,
            pa.schema({k: KINDS["string"] if k == "customer_id" else KINDS["float64"] for k in habits[0]}),
        ),
        path,
    )
    build(settings, run)
    found = {r["customer_id"]: r for r in rows(settings, run, "customer_profile")}
    # two are known: the one who buys cheaper is the more sensitive
    assert (found["ann"]["price_sensitivity"], found["bob"]["price_sensitivity"]) == ("low", "high")
    assert (found["ann"]["promotion_sensitivity"], found["bob"]["promotion_sensitivity"]) == ("low", "high")
    assert (found["dan"]["price_sensitivity"], found["dan"]["favourite_daypart"]) == (None, "evening")
    assert found["ann"]["return_rate"] == 0.1
