"""The stability index of a night against the one before, by hand and from tables."""

import math
from collections.abc import Callable

import pytest
from portrait.config import Settings
from portrait.profiles.drift import TEXTS, stability_index
from portrait.profiles.publish import audit
from portrait.run import Run
from portrait.warehouse import Warehouse


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ({"a": 50, "b": 50}, {"a": 5, "b": 5}, 0.0),
        ({"a": 50, "b": 50}, {"a": 60, "b": 40}, 0.1 * math.log(1.2) + -0.1 * math.log(0.8)),
        # A group that is new counts as half a customer of the earlier hundred.
        (
            {"a": 100},
            {"a": 50, None: 50},
            -0.5 * math.log(0.5) + 0.495 * math.log(100),
        ),
        ({}, {"a": 1}, 0.0),
    ],
)
def test_by_hand(before: dict[str | None, int], after: dict[str | None, int], expected: float) -> None:
    assert stability_index(before, after) == pytest.approx(expected)


def test_the_first_night_has_nothing_to_compare_with(
    settings: Settings, warehouse: Warehouse, loaded: Run
) -> None:
    audit(settings, loaded)
    assert warehouse.scalar("select count(*) from ops.profile_drift") == 0


def test_a_night_that_turned_is_an_alert_and_is_published_all_the_same(
    settings: Settings, warehouse: Warehouse, night: Callable[..., Run], loaded: Run
) -> None:
    before, next_run = night(5), loaded
    suffix = next_run.run_id.replace("-", "").replace(".", "_")
    table = f"profile_store.customer_profile_{suffix}"
    warehouse.execute(f"update {table} set lifecycle = 'lost', monetary = 0")
    checks = audit(settings, next_run)
    assert all(c.passed for c in checks)
    found = {
        r["column_name"]: r["psi"]
        for r in warehouse.rows(
            "select column_name, psi from ops.profile_drift where run_id = :r and against_run_id = :b",
            r=next_run.run_id,
            b=before.run_id,
        )
    }
    assert set(found) > set(TEXTS)
    assert found["channels"] == pytest.approx(0.0)
    assert found["frequency"] == pytest.approx(0.0)
    earlier, now = (
        {
            r["lifecycle"]: r["n"]
            for r in warehouse.rows(f"select lifecycle, count(*) as n from {name} group by 1")
        }
        for name in (
            f"profile_store.customer_profile_{before.run_id.replace('-', '').replace('.', '_')}",
            table,
        )
    )
    assert now == {"lost": sum(earlier.values())}
    assert found["lifecycle"] == pytest.approx(stability_index(earlier, now))
    assert found["lifecycle"] > 0.25
    assert found["monetary"] > 0.25
    (alert,) = warehouse.rows("select message from ops.alert where kind = 'profile_drift'")
    assert "lifecycle" in alert["message"]
    assert "channels" not in alert["message"]
    # Again, and still one row a column.
    audit(settings, next_run)
    assert warehouse.scalar("select count(*) from ops.profile_drift") == len(found)
