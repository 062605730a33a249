"""Consent as it stands, audiences and who is in them, and the views that each team queries."""

from pathlib import Path

from alembic import op

revision = "0006"
down_revision = "0005"

SQL = Path(__file__).parent / "sql"


def upgrade() -> None:
    for name in ("0006_audiences", "0006_marts"):
        op.get_bind().exec_driver_sql((SQL / f"{name}.sql").read_text(encoding="utf-8"))
