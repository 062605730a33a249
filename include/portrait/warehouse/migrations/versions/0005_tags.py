"""Tags with their definitions, the value of a customer, and the wider profile."""

from pathlib import Path

from alembic import op

revision = "0005"
down_revision = "0004"

SQL = Path(__file__).parent / "sql"


def upgrade() -> None:
    op.get_bind().exec_driver_sql((SQL / "0005_tags.sql").read_text(encoding="utf-8"))
