"""More of the profile: city tier, price level, what a model infers, repurchase, searches, look-alikes."""

from pathlib import Path

from alembic import op

revision = "0010"
down_revision = "0009"

SQL = Path(__file__).parent / "sql"


def upgrade() -> None:
    op.get_bind().exec_driver_sql((SQL / "0010_profile_more.sql").read_text(encoding="utf-8"))
