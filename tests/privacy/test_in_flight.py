"""An erasure and a night at once, in both orders: what is published afterwards does not have the customer."""

from datetime import date

from portrait.config import Settings
from portrait.privacy.erase import erase
from portrait.profiles.publish import publish
from portrait.profiles.tables import TABLES
from portrait.run import Run
from portrait.warehouse import Warehouse

from .conftest import warehouse_run

RUN = Run("2025-03-02.1", date(2025, 3, 2))


def fill(warehouse: Warehouse, customers: list[str]) -> None:
    """A run that is loaded and audited."""
    with warehouse.engine.begin() as connection:
        for table in TABLES.values():
            name = f"profile_store.{table.name}_20250302_1"
            connection.exec_driver_sql(
                f"create table {name} partition of profile_store.{table.name} for values in ('{RUN.run_id}')"
            )
        for customer in customers:
            connection.exec_driver_sql(
                f"insert into profile_store.customer_profile (run_id, customer_id) values ('{RUN.run_id}', '{customer}')"
            )
        connection.exec_driver_sql(
            f"insert into ops.data_quality values ('{RUN.run_id}', 'not_empty', 'customer_profile', 1, '> 0', true)"
        )


def ids(warehouse: Warehouse) -> dict[str, str]:
    rows = warehouse.rows(
        "select value, customer_id from identity.customer_identifier where kind = 'account'"
    )
    return {r["value"]: r["customer_id"] for r in rows}


def shown(warehouse: Warehouse) -> list[str]:
    return [
        r["customer_id"]
        for r in warehouse.rows("select customer_id from profile.customer_profile order by 1")
    ]


def test_erased_before_the_load(loaded: Settings, warehouse: Warehouse) -> None:
    """The night read them before, and loads them after."""
    known = ids(warehouse)
    warehouse_run(loaded, RUN)
    erase(loaded, ["account:acc-lilei"], "tests")
    fill(warehouse, sorted(known.values()))
    publish(loaded, RUN)
    assert shown(warehouse) == [known["acc-hanmei"]]


def test_erased_between_load_and_publish(loaded: Settings, warehouse: Warehouse) -> None:
    known = ids(warehouse)
    warehouse_run(loaded, RUN)
    fill(warehouse, sorted(known.values()))
    done = erase(loaded, [known["acc-lilei"]], "tests")
    assert done.counts["profile_store.customer_profile deleted"] == 1
    publish(loaded, RUN)
    assert shown(warehouse) == [known["acc-hanmei"]]


def test_erased_after_the_publish(loaded: Settings, warehouse: Warehouse) -> None:
    known = ids(warehouse)
    warehouse_run(loaded, RUN)
    fill(warehouse, sorted(known.values()))
    publish(loaded, RUN)
    assert shown(warehouse) == sorted(known.values())
    erase(loaded, ["account:acc-lilei"], "tests")
    assert shown(warehouse) == [known["acc-hanmei"]]


def test_a_table_that_is_being_filled(loaded: Settings, warehouse: Warehouse) -> None:
    """The night's role makes it and owns it; the erasure acts as another one."""
    known = ids(warehouse)
    name = "profile_store.customer_profile_20250302_1__load"
    with warehouse.begin() as connection:
        connection.exec_driver_sql("set local role portrait_model")
        connection.exec_driver_sql(f"create table {name} (like profile_store.customer_profile)")
        for customer in known.values():
            connection.exec_driver_sql(
                f"insert into {name} (run_id, customer_id) values ('2025-03-02.1', '{customer}')"
            )
    erase(loaded, ["account:acc-lilei"], "tests")
    assert [r["customer_id"] for r in warehouse.rows(f"select customer_id from {name}")] == [
        known["acc-hanmei"]
    ]
