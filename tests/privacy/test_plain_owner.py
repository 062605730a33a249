"""A login that owns the database and is no superuser: it migrates, and erases."""

import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from portrait import stages
from portrait.config import Settings
from portrait.privacy.erase import erase
from portrait.privacy.retention import retain
from portrait.privacy.verify import verify
from portrait.run import Run
from portrait.warehouse import Warehouse
from portrait.warehouse.grants import ROLES
from portrait.warehouse.migrate import migrate
from sqlalchemy import URL, create_engine, text
from sqlalchemy.pool import NullPool

from .conftest import DAY, LI_PHONE, warehouse_run

OWNER = "test_plain_owner"


@pytest.fixture
def warehouse(server: URL, template: str) -> Iterator[Warehouse]:
    """A warehouse that was migrated by its owner; the server's owner had made the roles and the extension."""
    name = f"portrait_{uuid.uuid4().hex[:12]}"
    engine = create_engine(server, isolation_level="AUTOCOMMIT", poolclass=NullPool)
    with engine.connect() as connection:
        connection.execute(text("select pg_advisory_lock(hashtext('test logins'))"))
        if not connection.execute(text("select 1 from pg_roles where rolname = :n"), {"n": OWNER}).scalar():
            connection.exec_driver_sql(f"create role {OWNER} login nosuperuser nocreaterole nocreatedb")
            connection.exec_driver_sql(f"grant {', '.join(ROLES)} to {OWNER}")
        connection.exec_driver_sql(f"create database {name} owner {OWNER}")
    Warehouse(server.set(database=name)).execute("create extension vector")
    own = Warehouse(server.set(username=OWNER, password=None, database=name))
    migrate(own)
    yield own
    with engine.connect() as connection:
        connection.execute(text(f"drop database {name} with (force)"))


@pytest.fixture
def settings(make_settings: Callable[..., Settings]) -> Settings:
    from .conftest import SOURCES

    return make_settings(SOURCES)


def test_it_migrates_loads_and_erases(
    warehouse: Warehouse, settings: Settings, deliver: Callable[..., Any]
) -> None:
    assert not warehouse.scalar("select rolsuper or rolcreaterole from pg_roles where rolname = current_user")
    deliver()
    run = Run("2025-03-01.1", DAY)
    warehouse_run(settings, run)
    stages.resolve(settings, run)
    done = erase(settings, [f"phone:{LI_PHONE}"], "tests")
    assert done.counts["raw.online_event deleted"] == 2
    assert verify(settings, done.receipt_id).traces == {}
    assert [t.place for t in retain(settings)] == list(settings.privacy.retention)
    # And again, as every start does.
    migrate(warehouse)
