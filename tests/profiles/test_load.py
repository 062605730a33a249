"""Loading fills a run's own partitions, from nothing, whatever was left behind."""

from collections.abc import Callable

import pytest
from portrait.config import Settings
from portrait.errors import PortraitError
from portrait.profiles.build import build
from portrait.profiles.publish import audit, load, publish
from portrait.profiles.tables import TABLES
from portrait.run import Run
from portrait.warehouse import Warehouse
from sqlalchemy import text

TONIGHT = "2026-03-01.1"


def store_tables(warehouse: Warehouse) -> set[str]:
    found = warehouse.rows(
        "select relname from pg_class where relnamespace = 'profile_store'::regnamespace and relkind = 'r'"
    )
    return {r["relname"] for r in found}


def content(warehouse: Warehouse, run_id: str) -> dict[str, list]:
    return {
        t: sorted(map(str, warehouse.rows(f"select * from profile_store.{t} where run_id = :r", r=run_id)))
        for t in TABLES
    }


def test_rows_and_values_arrive(warehouse: Warehouse, loaded: Run) -> None:
    counts = {
        t: warehouse.scalar(f"select count(*) from profile_store.{t} where run_id = '{TONIGHT}'")
        for t in TABLES
    }
    assert counts == {
        "customer_profile": 6,
        "rfm": 6,
        "affinity": 12,
        "segment": 6,
        "embedding": 6,
        "recommendation": 24,
        "popular": 0,
        "customer_value": 6,
        "repurchase": 0,
        "search_interest": 0,
        "customer_tag": 0,
        "tag_definition": 0,
    }
    row = warehouse.rows("select * from profile_store.embedding where customer_id = 'c1'")[0]
    assert (row["run_id"], row["embedding"], row["model_version"]) == (TONIGHT, "[1,1,0]", "m")


def test_nothing_is_shown_before_it_is_published(warehouse: Warehouse, loaded: Run) -> None:
    assert warehouse.scalar("select count(*) from profile.customer_profile") == 0


def test_partitions_are_attached_and_indexed(warehouse: Warehouse, loaded: Run) -> None:
    assert store_tables(warehouse) == {f"{t}_20260301_1" for t in TABLES}
    indexes = {
        (r["tablename"], r["indexdef"].partition(" USING ")[2])
        for r in warehouse.rows(
            "select tablename, indexdef from pg_indexes where schemaname = 'profile_store'"
        )
    }
    assert indexes == {
        ("customer_profile_20260301_1", "btree (customer_id)"),
        ("customer_profile_20260301_1", "btree (segment_id)"),
        ("rfm_20260301_1", "btree (customer_id)"),
        ("affinity_20260301_1", "btree (customer_id, dimension, value)"),
        ("affinity_20260301_1", "btree (dimension, value)"),
        ("segment_20260301_1", "btree (customer_id)"),
        ("embedding_20260301_1", "btree (customer_id)"),
        ("embedding_20260301_1", "hnsw (((embedding)::vector(3)) vector_cosine_ops)"),
        ("recommendation_20260301_1", "btree (customer_id, kind, rank)"),
        ("recommendation_20260301_1", "btree (sku)"),
        ("popular_20260301_1", "btree (rank)"),
        ("customer_value_20260301_1", "btree (customer_id)"),
        ("repurchase_20260301_1", "btree (customer_id, category)"),
        ("repurchase_20260301_1", "btree (category, due_on)"),
        ("search_interest_20260301_1", "btree (customer_id, query)"),
        ("search_interest_20260301_1", "btree (query)"),
        ("customer_tag_20260301_1", "btree (customer_id, tag)"),
        ("customer_tag_20260301_1", "btree (tag, value)"),
        ("tag_definition_20260301_1", "btree (tag)"),
    }
    checks = "select count(*) from pg_constraint where contype = 'c' and conname = 'of_this_run'"
    assert warehouse.scalar(checks) == 0


def test_neighbours_use_the_index(warehouse: Warehouse, loaded: Run) -> None:
    with warehouse.begin() as connection:
        connection.execute(text("set local enable_seqscan = off"))
        plan = connection.execute(
            text(
                "explain select customer_id from profile_store.embedding_20260301_1"
                " order by embedding::vector(3) <=> '[1,0,0]' limit 3"
            )
        ).scalars()
        assert "Index Scan" in "\n".join(plan)


def test_loading_again_gives_the_same(settings: Settings, warehouse: Warehouse, loaded: Run) -> None:
    before = content(warehouse, TONIGHT)
    load(settings, loaded)
    assert content(warehouse, TONIGHT) == before
    assert store_tables(warehouse) == {f"{t}_20260301_1" for t in TABLES}


def test_a_killed_load_is_done_over(
    settings: Settings, warehouse: Warehouse, night: Callable[..., Run], loaded: Run
) -> None:
    """What kill -9 leaves: some tables filled, one half filled and without indexes, the rest missing."""
    other = night(5, marker="other")
    untouched = content(warehouse, other.run_id)
    wanted = content(warehouse, TONIGHT)
    warehouse.execute(
        """
        drop table profile_store.customer_profile_20260301_1, profile_store.rfm_20260301_1,
            profile_store.affinity_20260301_1, profile_store.segment_20260301_1,
            profile_store.embedding_20260301_1, profile_store.recommendation_20260301_1;
        create table profile_store.customer_profile_20260301_1__load (like profile_store.customer_profile);
        insert into profile_store.customer_profile_20260301_1__load (run_id, customer_id)
            values ('2026-03-01.1', 'half');
        create table profile_store.embedding_20260301_1__load (run_id text, embedding real[]);
        """
    )
    load(settings, loaded)
    assert content(warehouse, TONIGHT) == wanted
    assert content(warehouse, other.run_id) == untouched
    assert not [t for t in store_tables(warehouse) if "__" in t]


def test_the_published_run_is_exchanged_only_by_publishing(
    settings: Settings, warehouse: Warehouse, night: Callable[..., Run], small_night: Callable[..., None]
) -> None:
    run = night(1, marker="old")
    small_night(run, "new", size=5)
    build(settings, run)
    load(settings, run)
    shown = "select distinct region from profile.customer_profile"
    assert warehouse.rows(shown) == [{"region": "old"}]
    with pytest.raises(PortraitError, match="was not audited since it was loaded"):
        publish(settings, run)
    load(settings, run)  # killed and started again
    audit(settings, run)
    assert warehouse.rows(shown) == [{"region": "old"}]
    result = publish(settings, run)
    assert (result.moved, result.replaced_run_id) == (True, None)
    assert warehouse.rows(shown) == [{"region": "new"}]
    assert warehouse.scalar("select count(*) from profile.customer_profile") == 5
    assert store_tables(warehouse) == {f"{t}_20260301_1" for t in TABLES}


def test_empty_tables_can_be_loaded(
    settings: Settings, warehouse: Warehouse, run: Run, add_run: Callable, write_inputs: Callable[..., None]
) -> None:
    add_run(run)
    write_inputs(run, customer=[{"customer_id": "a", "is_known": True}])
    build(settings, run)
    assert load(settings, run).rows["embedding"] == 0
    audit(settings, run)
    publish(settings, run)
    assert warehouse.scalar("select lifecycle from profile.customer_profile") == "prospect"


def test_loading_needs_a_finished_build(settings: Settings, run: Run) -> None:
    with pytest.raises(
        PortraitError, match=r"profiles/customer_profile.parquet: no such file; run `portrait profile`"
    ):
        load(settings, run)
