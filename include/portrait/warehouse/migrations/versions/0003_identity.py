"""Identity: numbered identifiers, edges with evidence and validity, one owner at any instant, manual rules, explain()."""

from pathlib import Path

from alembic import op

revision = "0003"
down_revision = "0002"

SQL = Path(__file__).parent / "sql"


def upgrade() -> None:
    for name in ("0003_identity", "0003_explain"):
        op.get_bind().exec_driver_sql((SQL / f"{name}.sql").read_text(encoding="utf-8"))
