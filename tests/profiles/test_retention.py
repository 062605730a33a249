"""Old nights go, the ones somebody may need stay."""

from collections.abc import Callable
from datetime import date

import pytest
from portrait.config import Settings
from portrait.errors import PortraitError
from portrait.profiles import retention
from portrait.profiles.build import build
from portrait.profiles.publish import load, publish, rollback
from portrait.run import Run
from portrait.warehouse import Warehouse
from sqlalchemy import text


def stored(warehouse: Warehouse) -> set[str]:
    """Runs with a table of any profile table."""
    return {
        r["run"]
        for r in warehouse.rows(
            "select distinct substring(relname from '\\d{8}_\\d+') as run from pg_class"
            " where relnamespace = 'profile_store'::regnamespace and relkind = 'r'"
        )
    }


def test_the_last_nights_are_kept(
    settings: Settings, warehouse: Warehouse, night: Callable[..., Run]
) -> None:
    for day in range(1, 5):
        night(day, keep=3)
    assert stored(warehouse) == {"20260302_1", "20260303_1", "20260304_1"}
    with pytest.raises(
        PortraitError, match=r"never published or its tables are gone; kept runs: 2026-03-04.1, 202"
    ):
        rollback(settings, "2026-03-01")


def test_what_is_published_is_never_dropped(
    settings: Settings, warehouse: Warehouse, night: Callable[..., Run]
) -> None:
    for day in (1, 2, 3):
        night(day)
    rollback(settings, "2026-03-01")
    assert set(retention.drop_old_runs(settings, warehouse, keep=1)) == {"2026-03-02.1"}
    assert stored(warehouse) == {"20260301_1", "20260303_1"}


def test_leftovers_of_unpublished_runs_go_with_their_time(
    settings: Settings,
    warehouse: Warehouse,
    night: Callable[..., Run],
    add_run: Callable,
    small_night: Callable,
) -> None:
    failed = Run("2026-02-01.1", date(2026, 2, 1))
    add_run(failed)
    small_night(failed)
    build(settings, failed)
    load(settings, failed)
    warehouse.execute("create table profile_store.rfm_20260201_1__load (run_id text)")
    night(1, keep=2)
    assert "20260201_1" in stored(warehouse)  # it may still be at work
    night(2, keep=2)  # the second night that was started after it
    assert stored(warehouse) == {"20260301_1", "20260302_1"}


def test_a_run_started_within_the_kept_nights_is_left_alone(
    settings: Settings, warehouse: Warehouse, night: Callable[..., Run], loaded: Run
) -> None:
    night(2, keep=2)
    assert stored(warehouse) == {"20260301_1", "20260302_1"}


def test_a_night_being_read_goes_another_night(
    settings: Settings,
    warehouse: Warehouse,
    night: Callable[..., Run],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(retention, "_PATIENCE_S", 0.3)
    night(1)
    run = night(2)
    with warehouse.begin() as reader:
        reader.execute(text("select count(*) from profile.customer_profile")).scalar()
        result = publish(settings, run, keep=1)
        assert result.dropped == ()
        assert "is being read" in caplog.text
    assert publish(settings, run, keep=1).dropped == ("2026-03-01.1",)
