"""A warehouse with nights from before there were tags: they stay whole."""

import pytest
from portrait.profiles.history import stored_runs
from portrait.warehouse import Warehouse
from portrait.warehouse.database import create_database
from portrait.warehouse.migrate import migrate
from sqlalchemy import URL

BEFORE = ("customer_profile", "rfm", "affinity", "segment", "embedding", "recommendation")


@pytest.fixture
def older(server: URL) -> Warehouse:
    """A warehouse of revision 0004 with one published night of one customer."""
    create_database(server, "older_portrait")
    warehouse = Warehouse(server.set(database="older_portrait"))
    migrate(warehouse, "0004")
    warehouse.execute(
        "insert into ops.run (run_id, as_of, run_key, seed, status)"
        " values ('2026-03-01.1', '2026-03-01', 'k', 0, 'published')"
    )
    for table in BEFORE:
        warehouse.execute(
            f"create table profile_store.{table}_20260301_1 partition of profile_store.{table}"
            " for values in ('2026-03-01.1')"
        )
    warehouse.execute(
        "insert into profile_store.customer_profile (run_id, customer_id, monetary) values ('2026-03-01.1', 'ann', 5)"
    )
    warehouse.execute("insert into ops.published_run (run_id) values ('2026-03-01.1')")
    return warehouse


def test_nights_from_before_are_still_shown_and_kept(older: Warehouse) -> None:
    migrate(older)
    assert older.rows("select customer_id, monetary, p_alive from profile.customer_profile") == [
        {"customer_id": "ann", "monetary": 5.0, "p_alive": None}
    ]
    assert older.scalar("select count(*) from profile.customer_tag") == 0
    with older.begin() as connection:
        assert stored_runs(connection) == {"2026-03-01.1"}
