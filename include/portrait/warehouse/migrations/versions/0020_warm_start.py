"""How many nights in a row a model version went on from the night before; groups of the evaluation by segment."""

from pathlib import Path

from alembic import op

revision = "0020"
down_revision = "0013"

SQL = Path(__file__).parent / "sql"


def upgrade() -> None:
    op.get_bind().exec_driver_sql((SQL / "0020_warm_start.sql").read_text(encoding="utf-8"))
