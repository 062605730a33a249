"""From staging to `raw.*`: one transaction a batch, so that it is all there or not there."""

import logging
from dataclasses import dataclass
from datetime import date

import pyarrow as pa
from sqlalchemy import Connection, text

from portrait.contracts import CONTRACTS
from portrait.ingest.validate import REJECTED, staged_schema
from portrait.warehouse import Warehouse
from portrait.warehouse.partitions import ensure_months

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Merged:
    """Rows of a batch by what the merge did with them."""

    inserted: int
    updated: int
    unchanged: int
    duplicate: int


def create_staging(connection: Connection, entity: str, table: str) -> None:
    """An empty unlogged table for a batch's accepted rows, and `<table>_rejected` for the refused ones."""
    names = staged_schema(entity).names
    stored = ", ".join(n for n in names if n != "place")
    connection.execute(text(f"drop table if exists staging.{table}, staging.{table}_rejected"))
    connection.execute(
        text(
            f"create unlogged table staging.{table} as "
            f"select {stored}, 0::bigint as place from raw.{entity} with no data"
        )
    )
    columns = ", ".join(f"{f.name} {'bigint' if pa.types.is_integer(f.type) else 'text'}" for f in REJECTED)
    connection.execute(text(f"create unlogged table staging.{table}_rejected ({columns})"))


def drop_staging(connection: Connection, table: str) -> None:
    connection.execute(text(f"drop table if exists staging.{table}, staging.{table}_rejected"))


def staged_dates(warehouse: Warehouse, table: str) -> list[date]:
    return [r["business_date"] for r in warehouse.rows(f"select distinct business_date from staging.{table}")]


def merge(
    connection: Connection,
    entity: str,
    source: str,
    table: str,
    batch_id: int,
    staged: int,
    dates: list[date],
    key_has_date: bool = False,
) -> Merged:
    """Upsert a staging table into `raw.<entity>` by natural key; the later row of a key wins.

    Rows equal to what is stored are not touched; an entity without dates of its own keeps the business date
    of the delivery that changed the row last. Changed business dates are noted in ops.batch_partition.

    Parameters
    ----------
    key_has_date : the natural key says the business date: a correction cannot move a row to another day.
    """
    contract = CONTRACTS[entity]
    if contract.partitioned:
        ensure_months(connection, entity, dates)
    key = ["source_row_id", *(["business_date"] if contract.partitioned else [])]
    columns = [n for n in staged_schema(entity).names if n != "place"]
    values = [c for c in columns if c not in key]
    compared = [c for c in values if c != "business_date"]
    listed = ", ".join(columns)
    moved = "select null::text as source_row_id, null::date as day where false"
    if contract.partitioned and not key_has_date:
        moved = f"""
            delete from raw.{entity} as stored using merged
            where merged.is_new and stored.source = :source
                and stored.source_row_id = merged.source_row_id and stored.business_date <> merged.day
            returning stored.source_row_id, stored.business_date as day"""
    counts = connection.execute(
        text(f"""
        with latest as (
            select distinct on (source_row_id) {listed} from staging.{table}
            order by source_row_id, place desc
        ), merged as (
            insert into raw.{entity} as stored (source, {listed}, batch_id)
            select :source, {listed}, :batch from latest
            on conflict (source, {", ".join(key)}) do update
                set {", ".join(f"{v} = excluded.{v}" for v in values)},
                    batch_id = excluded.batch_id, loaded_at = excluded.loaded_at
                where ({", ".join(f"stored.{v}" for v in compared)})
                    is distinct from ({", ".join(f"excluded.{v}" for v in compared)})
            returning new.source_row_id, new.business_date as day, old.source is null as is_new
        ), moved as ({moved}
        ), noted as (
            insert into ops.batch_partition (batch_id, entity, business_date, rows_changed)
            select :batch, :entity, day, count(*)
            from (select day from merged union all select day from moved) as changed group by day
        )
        select (select count(*) from latest) as distinct_rows,
               (select count(*) from merged where is_new) as new_rows,
               (select count(*) from merged where not is_new) as replaced,
               (select count(distinct source_row_id) from moved) as moved
        """),
        {"source": source, "batch": batch_id, "entity": entity},
    ).one()
    return Merged(
        inserted=counts.new_rows - counts.moved,
        updated=counts.replaced + counts.moved,
        unchanged=counts.distinct_rows - counts.new_rows - counts.replaced,
        duplicate=staged - counts.distinct_rows,
    )


def quarantine(connection: Connection, source: str, table: str, batch_id: int) -> None:
    """Copy a batch's refused rows to quarantine.rejected_row; a row already listed is left as it is."""
    connection.execute(
        text(f"""
        insert into quarantine.rejected_row
            (source, path, row_number, payload_md5, batch_id, reason_code, reason, payload)
        select :source, path, row_number, md5(payload), :batch, reason_code, reason, payload::jsonb
        from staging.{table}_rejected
        on conflict do nothing
        """),
        {"source": source, "batch": batch_id},
    )
