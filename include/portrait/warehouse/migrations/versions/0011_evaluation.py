"""A night's evaluation by groups of customers."""

from pathlib import Path

from alembic import op

revision = "0011"
down_revision = "0010"

SQL = Path(__file__).parent / "sql"


def upgrade() -> None:
    op.get_bind().exec_driver_sql((SQL / "0011_evaluation.sql").read_text(encoding="utf-8"))
