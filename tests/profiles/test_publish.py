"""Moving the pointer forward and back."""

from collections.abc import Callable
from datetime import date

import pytest
from portrait.config import Settings
from portrait.errors import PortraitError
from portrait.profiles.publish import audit, load, publish, rollback
from portrait.run import Run
from portrait.warehouse import Warehouse


def shown(warehouse: Warehouse) -> str:
    """Marker of the night that readers see."""
    markers = warehouse.rows("select distinct region from profile.customer_profile")
    assert len(markers) == 1
    return str(markers[0]["region"])


def test_publishing_shows_the_run_and_logs_it(
    settings: Settings, warehouse: Warehouse, night: Callable[..., Run]
) -> None:
    first = night(1, "first")
    assert shown(warehouse) == "first"
    night(2, "second")
    assert shown(warehouse) == "second"
    assert warehouse.rows(
        "select run_id, replaced_run_id, action from ops.publication order by publication_id"
    ) == [
        {"run_id": "2026-03-01.1", "replaced_run_id": None, "action": "publish"},
        {"run_id": "2026-03-02.1", "replaced_run_id": "2026-03-01.1", "action": "publish"},
    ]
    run = warehouse.rows("select status, finished_at from ops.run where run_id = :r", r=first.run_id)[0]
    assert run["status"] == "published"
    assert run["finished_at"] is not None


def test_publishing_again_changes_nothing(
    settings: Settings, warehouse: Warehouse, night: Callable[..., Run]
) -> None:
    run = night(1)
    before = warehouse.rows("select * from ops.published_run, ops.run")
    result = publish(settings, run)
    assert (result.moved, result.replaced_run_id, result.kept, result.dropped) == (
        False,
        None,
        (run.run_id,),
        (),
    )
    assert warehouse.rows("select * from ops.published_run, ops.run") == before
    assert warehouse.scalar("select count(*) from ops.publication") == 1


def test_an_audit_is_needed_and_counts_for_what_it_saw(
    settings: Settings, warehouse: Warehouse, loaded: Run
) -> None:
    with pytest.raises(PortraitError, match="was not audited since it was loaded"):
        publish(settings, loaded)
    audit(settings, loaded)
    load(settings, loaded)
    with pytest.raises(PortraitError, match="was not audited since it was loaded"):
        publish(settings, loaded)
    assert warehouse.scalar("select count(*) from ops.published_run") == 0


def test_a_run_that_is_not_loaded_is_not_published(settings: Settings) -> None:
    with pytest.raises(PortraitError, match=r"run 2026-04-01.1 is not loaded"):
        publish(settings, Run("2026-04-01.1", date(2026, 4, 1)))


def test_rolling_back_step_by_step(
    settings: Settings, warehouse: Warehouse, night: Callable[..., Run]
) -> None:
    for day in (1, 2, 3):
        night(day, f"night {day}")
    assert rollback(settings) == "2026-03-02.1"
    assert shown(warehouse) == "night 2"
    assert rollback(settings) == "2026-03-01.1"
    assert shown(warehouse) == "night 1"
    with pytest.raises(
        PortraitError,
        match=r"no earlier run to roll back to; kept runs: 2026-03-03.1, 2026-03-02.1, 2026-03-01.1",
    ):
        rollback(settings)
    assert warehouse.rows(
        "select run_id, replaced_run_id from ops.publication where action = 'rollback'"
    ) == [
        {"run_id": "2026-03-02.1", "replaced_run_id": "2026-03-03.1"},
        {"run_id": "2026-03-01.1", "replaced_run_id": "2026-03-02.1"},
    ]


def test_a_run_that_was_taken_back_is_passed_over(
    settings: Settings, warehouse: Warehouse, night: Callable[..., Run]
) -> None:
    night(1, "good")
    night(2, "bad")
    rollback(settings)
    night(3, "next")
    assert rollback(settings) == "2026-03-01.1"
    assert shown(warehouse) == "good"


def test_rolling_back_to_a_run_or_a_date(
    settings: Settings, warehouse: Warehouse, night: Callable[..., Run]
) -> None:
    night(1, "first")
    night(1, "second try", attempt=2)
    night(2, "next day")
    assert rollback(settings, "2026-03-01.1") == "2026-03-01.1"
    assert shown(warehouse) == "first"
    assert rollback(settings, "2026-03-01") == "2026-03-01.2"
    assert rollback(settings, "2026-03-02") == "2026-03-02.1"  # and forward again
    assert rollback(settings, "2026-03-02") == "2026-03-02.1"  # where it is already: no move
    assert warehouse.scalar("select count(*) from ops.publication where action = 'rollback'") == 3


def test_targets_that_were_never_published_are_refused(
    settings: Settings, night: Callable[..., Run], loaded: Run
) -> None:
    night(5)
    for to in ("2026-02-01", "2026-03-09.1", "yesterday", loaded.run_id):
        refusal = f"'{to}' was never published or its tables are gone; kept runs: 2026-03-05.1$"
        with pytest.raises(PortraitError, match=refusal):
            rollback(settings, to)


def test_nothing_to_roll_back_before_the_first_night(settings: Settings) -> None:
    with pytest.raises(PortraitError, match="nothing is published yet"):
        rollback(settings)


def test_publishing_after_a_rollback_shows_the_run_again(
    settings: Settings, warehouse: Warehouse, night: Callable[..., Run]
) -> None:
    night(1, "first")
    second = night(2, "second")
    rollback(settings)
    assert publish(settings, second).replaced_run_id == "2026-03-01.1"
    assert shown(warehouse) == "second"
