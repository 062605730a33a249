"""Archives of old nights, of which profile.as_of() tells; look-alikes found by the index."""

from pathlib import Path

from alembic import op

revision = "0015"
down_revision = "0018"

SQL = Path(__file__).parent / "sql"


def upgrade() -> None:
    sql = (SQL / "0015_archive.sql").read_text(encoding="utf-8")
    op.get_bind().exec_driver_sql(sql.replace("%", "%%"))  # the driver takes a lone % for a parameter
