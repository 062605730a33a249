"""Erasure: who was forgotten, under which receipt, and the indexes that find everything of one customer."""

from pathlib import Path

from alembic import op

revision = "0009"
down_revision = "0008"

SQL = Path(__file__).parent / "sql"


def upgrade() -> None:
    op.get_bind().exec_driver_sql((SQL / "0009_erasure.sql").read_text(encoding="utf-8"))
