"""Where an audience goes: a file, a table of the warehouse, or a webhook."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import pyarrow as pa
from sqlalchemy import text

from portrait.audiences.webhook import post_batches
from portrait.config import Settings
from portrait.config.audiences import Audience
from portrait.drafts import draft_of
from portrait.warehouse import Warehouse

Note = Callable[[int, int], None]
"""Told after each batch how many there are and how many were taken."""


@dataclass(frozen=True)
class Batch:
    """What is sent.

    Attributes
    ----------
    customers : ids, in order: a second try has the same batches.
    sent : batches of a webhook that were taken before.
    """

    audience: str
    as_of: date
    purpose: str
    channel: str
    idempotency_key: str
    customers: list[str]
    sent: int = 0


def target_of(settings: Settings, audience: Audience, as_of: date) -> str:
    """What `audience.export_log` calls the destination: no machine's path, no secret."""
    destination = audience.destination
    if destination.webhook is not None:
        parts = urlsplit(destination.webhook.url)
        host = parts.netloc.rpartition("@")[2]
        return urlunsplit((parts.scheme, host, parts.path, "", ""))
    if destination.format == "table":
        return "audience.delivery"
    return f"exports/{audience.code}/{as_of}.{destination.format}"


def deliver(
    settings: Settings, warehouse: Warehouse, audience: Audience, export_id: int, batch: Batch, note: Note
) -> None:
    """Send the batch to the audience's destination; a file or table appears whole or not at all."""
    destination = audience.destination
    if destination.webhook is not None:
        post_batches(destination.webhook, batch, note)
    elif destination.format == "table":
        _to_table(warehouse, export_id, batch)
    else:
        _to_file(settings.workspace_dir / target_of(settings, audience, batch.as_of), batch)


def _to_file(path: Path, batch: Batch) -> None:
    import pyarrow.csv as csv
    import pyarrow.parquet as pq

    number = len(batch.customers)
    said = {
        "audience": batch.audience,
        "as_of": str(batch.as_of),
        "purpose": batch.purpose,
        "channel": batch.channel,
    }
    table = pa.table(
        {
            "customer_id": pa.array(batch.customers, pa.string()),
            **{name: pa.array([value] * number, pa.string()) for name, value in said.items()},
        }
    )
    with draft_of(path) as draft:
        if path.suffix == ".parquet":
            pq.write_table(table, draft)
        else:
            csv.write_csv(table, draft)


def _to_table(warehouse: Warehouse, export_id: int, batch: Batch) -> None:
    with warehouse.begin() as connection:
        connection.execute(text("delete from audience.delivery where audience = :a"), {"a": batch.audience})
        connection.execute(
            text(
                "insert into audience.delivery (audience, customer_id, as_of, export_id)"
                " select :a, customer_id, :d, export_id from audience.exported where export_id = :e"
            ),
            {"a": batch.audience, "d": batch.as_of, "e": export_id},
        )
