"""The first schema: raw, quarantine, identity, ops, profile."""

from pathlib import Path

from alembic import op

revision = "0001"
down_revision = None

SQL = Path(__file__).parent / "sql"


def upgrade() -> None:
    for name in ("0001_raw", "0001_ops", "0001_identity", "0001_profile", "0001_roles"):
        op.get_bind().exec_driver_sql((SQL / f"{name}.sql").read_text(encoding="utf-8"))
