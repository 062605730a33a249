"""How far a night moved from the one before."""

from pathlib import Path

from alembic import op

revision = "0018"
down_revision = "0014"

SQL = Path(__file__).parent / "sql"


def upgrade() -> None:
    op.get_bind().exec_driver_sql((SQL / "0018_drift.sql").read_text(encoding="utf-8"))
