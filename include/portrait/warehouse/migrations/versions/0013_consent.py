"""Purposes of consent: one list, the history of each customer's statements, and views that show what they allow."""

from pathlib import Path

from alembic import op

revision = "0013"
down_revision = "0019"

SQL = Path(__file__).parent / "sql"


def upgrade() -> None:
    for name in ("0013_consent.sql", "0013_consent_views.sql"):
        op.get_bind().exec_driver_sql((SQL / name).read_text(encoding="utf-8"))
