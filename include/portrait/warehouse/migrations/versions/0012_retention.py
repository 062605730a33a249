"""How long rows are kept, and giving customers what is held on them."""

from pathlib import Path

from alembic import op

revision = "0012"
down_revision = "0011"

SQL = Path(__file__).parent / "sql"


def upgrade() -> None:
    sql = (SQL / "0012_retention.sql").read_text(encoding="utf-8")
    op.get_bind().exec_driver_sql(sql.replace("%", "%%"))  # the driver takes a lone % for a parameter
