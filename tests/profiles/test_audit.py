"""A run that does not pass its audit is not published."""

from collections.abc import Callable
from datetime import date
from typing import Any

import pytest
from portrait.config import Settings
from portrait.errors import PortraitError
from portrait.profiles.build import build
from portrait.profiles.publish import audit, load, publish
from portrait.run import Run
from portrait.warehouse import Warehouse


def failures(warehouse: Warehouse, run: Run) -> set[tuple[str, str]]:
    found = warehouse.rows(
        "select check_name, table_name from ops.data_quality where run_id = :r and not passed", r=run.run_id
    )
    return {(r["check_name"], r["table_name"]) for r in found}


def test_a_sound_run_passes_and_every_check_is_recorded(
    settings: Settings, warehouse: Warehouse, loaded: Run
) -> None:
    checks = audit(settings, loaded)
    assert all(c.passed for c in checks)
    assert warehouse.scalar("select count(*) from ops.data_quality") == len(checks)
    assert audit(settings, loaded) == checks  # again, and still one row a check
    assert warehouse.scalar("select count(*) from ops.data_quality") == len(checks)
    assert {c.check_name for c in checks if c.table_name == "customer_profile"} == {
        "rows_as_computed",
        "duplicate_keys",
        "invalid_rows",
        "dated_after_as_of",
        "not_empty",
        "other_as_of",
    }


@pytest.mark.parametrize(
    ("damage", "failed"),
    [
        ("delete from affinity_20260301_1 where dimension = 'brand'", {("rows_as_computed", "affinity")}),
        ("update affinity_20260301_1 set score = 1.5", {("invalid_rows", "affinity")}),
        ("update rfm_20260301_1 set m_score = 6", {("invalid_rows", "rfm")}),
        ("update rfm_20260301_1 set r_score = null", {("invalid_rows", "rfm")}),
        ("update recommendation_20260301_1 set sku = null", {("invalid_rows", "recommendation")}),
        ("update rfm_20260301_1 set last_purchase_on = '2026-03-02'", {("dated_after_as_of", "rfm")}),
        (
            "update customer_profile_20260301_1 set as_of = '2026-02-28'",
            {("other_as_of", "customer_profile")},
        ),
        (
            "update embedding_20260301_1 set customer_id = 'nobody' where customer_id = 'c1'",
            {("unknown_customers", "embedding")},
        ),
        (
            "drop index embedding_20260301_1__load_embedding_idx;"
            "update embedding_20260301_1 set embedding = '[1,2]' where customer_id = 'c1'",
            {("dimensions", "embedding")},
        ),
    ],
)
def test_each_damage_is_found(
    settings: Settings, warehouse: Warehouse, loaded: Run, damage: str, failed: set[tuple[str, str]]
) -> None:
    warehouse.execute(f"set search_path = profile_store, public; {damage}")
    with pytest.raises(PortraitError, match=f"run 2026-03-01.1 failed its audit.*{next(iter(failed))[0]} in"):
        audit(settings, loaded)
    assert failures(warehouse, loaded) == failed


def test_a_failed_audit_leaves_the_pointer(
    settings: Settings, warehouse: Warehouse, night: Callable[..., Run], loaded: Run
) -> None:
    shown = night(5)
    warehouse.execute("update profile_store.rfm_20260301_1 set f_score = 0")
    with pytest.raises(PortraitError, match=r"invalid_rows in rfm \(found 6, expected = 0\)"):
        audit(settings, loaded)
    with pytest.raises(PortraitError, match="failed its audit and cannot be published: invalid_rows in rfm"):
        publish(settings, loaded)
    assert warehouse.scalar("select run_id from ops.published_run") == shown.run_id


def test_repeated_keys_are_loaded_counted_and_refused(
    settings: Settings,
    warehouse: Warehouse,
    run: Run,
    add_run: Callable,
    small_night: Callable,
    add_affinity: Any,
) -> None:
    add_run(run)
    small_night(run)
    add_affinity(run)
    build(settings, run)
    load(settings, run)
    with pytest.raises(PortraitError, match=r"duplicate_keys in affinity \(found 1, expected = 0\)"):
        audit(settings, run)


@pytest.fixture
def add_affinity(settings: Settings) -> Callable[[Run], None]:
    """Repeat the first row of the affinities."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    def add(run: Run) -> None:
        path = settings.run_dir(run.run_id) / "features" / "affinity.parquet"
        table = pq.read_table(path)
        pq.write_table(pa.concat_tables([table, table.slice(0, 1)]), path)

    return add


def test_a_shrunken_night_is_refused(
    settings: Settings, warehouse: Warehouse, night: Callable[..., Run]
) -> None:
    shown = night(1, size=8)
    night(2, size=4)  # exactly half is let through
    with pytest.raises(PortraitError, match=r"customers_to_last_night in customer_profile \(found 0.25"):
        night(3, size=1)
    assert warehouse.scalar("select run_id from ops.published_run") == "2026-03-02.1" != shown.run_id


def test_an_empty_night_is_refused(
    settings: Settings, run: Run, add_run: Callable, write_inputs: Callable[..., None]
) -> None:
    add_run(run)
    write_inputs(run)
    build(settings, run)
    load(settings, run)
    with pytest.raises(PortraitError, match="not_empty in customer_profile"):
        audit(settings, run)


def test_a_run_that_is_not_loaded_cannot_be_audited(settings: Settings) -> None:
    with pytest.raises(PortraitError, match=r"run 2026-04-01.1 is not loaded"):
        audit(settings, Run("2026-04-01.1", date(2026, 4, 1)))
