"""Versions of the key, and changing from one to the next."""

from pathlib import Path

from alembic import op

revision = "0014"
down_revision = "0017"

SQL = Path(__file__).parent / "sql"


def upgrade() -> None:
    sql = (SQL / "0014_keys.sql").read_text(encoding="utf-8")
    op.get_bind().exec_driver_sql(sql.replace("%", "%%"))  # the driver takes a lone % for a parameter
