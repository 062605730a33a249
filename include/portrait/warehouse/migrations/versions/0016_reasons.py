"""Why an item is recommended, and how good the heads of the profile model are."""

from pathlib import Path

from alembic import op

revision = "0016"
down_revision = "0012"

SQL = Path(__file__).parent / "sql"


def upgrade() -> None:
    op.get_bind().exec_driver_sql((SQL / "0016_reasons.sql").read_text(encoding="utf-8"))
