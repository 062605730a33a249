"""Bringing the warehouse's schema up to date with Alembic."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import text

from portrait.warehouse.database import Warehouse
from portrait.warehouse.grants import apply_grants

MIGRATIONS = Path(__file__).with_name("migrations")
_LOCK = 7_203_118  # any constant: two starters must not migrate at once


def migrate(warehouse: Warehouse, revision: str = "head") -> None:
    """Upgrade to `revision`, and give the roles their privileges. Safe to call from several processes at once."""
    with warehouse.begin() as guard:
        guard.execute(text("select pg_advisory_xact_lock(:k)"), {"k": _LOCK})
        with warehouse.engine.begin() as connection:
            command.upgrade(alembic_config(connection), revision)
            if connection.execute(text("select to_regclass('privacy.grants_given')")).scalar():
                apply_grants(connection)


def alembic_config(connection: object) -> Config:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.attributes["connection"] = connection
    return config
