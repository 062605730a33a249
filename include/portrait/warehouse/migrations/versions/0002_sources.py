"""Sources of every kind: versions of rows, watermarks, columns seen, alerts, contact data, sealed payloads."""

from pathlib import Path

from alembic import op

revision = "0002"
down_revision = "0001"

SQL = Path(__file__).parent / "sql"
ENTITIES = ("online_event", "pos_receipt", "pos_receipt_line", "member", "product", "store", "consent_event")


def upgrade() -> None:
    connection = op.get_bind()
    for entity in ENTITIES:
        connection.exec_driver_sql(f"alter table raw.{entity} add column updated_at timestamptz")
        connection.exec_driver_sql(
            f"comment on column raw.{entity}.updated_at is 'When the source last changed the row; where it does not "
            "say, the day it was delivered for. Of two versions of a row the later one stays'"
        )
    connection.exec_driver_sql((SQL / "0002_sources.sql").read_text(encoding="utf-8"))
