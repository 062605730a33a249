"""What an erasure needs so that it can act as portrait_privacy."""

from pathlib import Path

from alembic import op

revision = "0019"
down_revision = "0015"

SQL = Path(__file__).parent / "sql"


def upgrade() -> None:
    sql = (SQL / "0019_erasing_role.sql").read_text(encoding="utf-8")
    op.get_bind().exec_driver_sql(sql.replace("%", "%%"))  # the driver takes a lone % for a parameter
