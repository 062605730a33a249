"""The profile API: its keys, the role that it reads with, the indexes that find a customer's events."""

from pathlib import Path

from alembic import op

revision = "0007"
down_revision = "0006"

SQL = Path(__file__).parent / "sql"


def upgrade() -> None:
    op.get_bind().exec_driver_sql((SQL / "0007_serving.sql").read_text(encoding="utf-8"))
