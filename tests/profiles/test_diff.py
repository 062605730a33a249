"""What changed between two nights."""

from collections.abc import Callable

import pytest
from portrait.config import Settings
from portrait.errors import PortraitError
from portrait.profiles.diff import difference, difference_tables
from portrait.run import Run
from portrait.warehouse import Warehouse


@pytest.fixture
def nights(warehouse: Warehouse, night: Callable[..., Run]) -> None:
    """Two nights of six and seven customers: c0 went, c1 became lost and poorer, c2 moved to another segment."""
    night(1, size=6)
    night(2, size=7)
    for statement in (
        "delete from profile_store.customer_profile where customer_id = 'c0' and run_id = '2026-03-02.1'",
        "update profile_store.customer_profile set lifecycle = 'lost', spending_tier = 'low'"
        " where customer_id = 'c1' and run_id = '2026-03-02.1'",
        "update profile_store.customer_profile set segment_name = 'Elsewhere'"
        " where customer_id = 'c2' and run_id = '2026-03-02.1'",
        "update profile_store.customer_profile set segment_name = 'Here' where run_id = '2026-03-01.1'",
        "update profile_store.customer_profile set segment_name = 'Here'"
        " where run_id = '2026-03-02.1' and segment_name <> 'Elsewhere'",
        "update profile_store.customer_profile set last_purchase_on = '2026-03-01'",
    ):
        warehouse.execute(statement)


@pytest.mark.usefixtures("nights")
def test_who_changed_and_why(settings: Settings) -> None:
    found = difference(settings, "2026-03-01.1", "2026-03-02.1")
    assert (found.came, found.went) == (1, 1)
    assert found.moves == {
        "segment_name": {("Here", "Elsewhere"): 1},
        "lifecycle": {("new", "lost"): 1},
    }
    assert found.customers == [
        {"customer_id": "c1", "changed": "lifecycle: new > lost", "why": "spending_tier: mid > low"},
        {
            "customer_id": "c2",
            "changed": "segment_name: Here > Elsewhere",
            "why": "time passed, or others changed",
        },
    ]
    titles = [t.title for t in difference_tables(settings, "2026-03-01.1", "2026-03-02.1", limit=1)]
    assert titles[-1] == "1 customers came, 1 went; some that changed"


@pytest.mark.usefixtures("nights")
def test_a_run_is_no_change_from_itself(settings: Settings) -> None:
    found = difference(settings, "2026-03-01.1", "2026-03-01.1")
    assert (found.came, found.went, found.customers) == (0, 0, [])
    assert not any(found.moves.values())


def test_runs_that_are_not_kept_are_named(settings: Settings, night: Callable[..., Run]) -> None:
    night(1)
    with pytest.raises(PortraitError, match=r"run '2026-01-01.1' has no profiles; kept runs: 2026-03-01.1"):
        difference(settings, "2026-03-01.1", "2026-01-01.1")
