"""One role a task, audiences by purpose, what a loader needs of the tables' owner, and the log of who opened contact data."""

from pathlib import Path

from alembic import op

revision = "0008"
down_revision = "0007"

SQL = Path(__file__).parent / "sql"


def upgrade() -> None:
    sql = (SQL / "0008_roles.sql").read_text(encoding="utf-8")
    op.get_bind().exec_driver_sql(sql.replace("%", "%%"))  # the driver takes a lone % for a parameter
