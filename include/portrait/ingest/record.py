"""What a batch leaves behind besides its rows: refused rows, contact data, files read, columns seen, watermark."""

import logging

import pyarrow as pa

from portrait.config import SourceSpec
from portrait.ingest.mapping import referenced_columns
from portrait.ingest.spool import Spool
from portrait.ingest.validate import CONTACT, DETAIL, REJECTED, Tally
from portrait.sources import Delivery
from portrait.warehouse import Transaction

log = logging.getLogger(__name__)

_TYPES = {
    "int64": "bigint",
    "string": "text",
    "date32[day]": "date",
    "binary": "bytea",
    "bool": "boolean",
    "timestamp[us, tz=UTC]": "timestamptz",
}


def quarantine(
    transaction: Transaction, source: SourceSpec, rejected: Spool, batch_id: int, read: list[str]
) -> None:
    """List a batch's refused rows; one that is listed stays as it is, one that was resolved is open again.

    Listed rows of the files just `read` that were not refused this time are resolved.
    """
    _copy(transaction, "rejected", REJECTED, rejected.reader())
    values = {"source": source.name, "batch": batch_id}
    transaction.execute(
        """
        insert into quarantine.rejected_row as listed
            (source, path, row_number, payload_md5, batch_id, reason_code, reason, payload, delivered_for)
        select distinct on (path, row_number, payload_md5)
            :source, path, row_number, payload_md5, :batch, reason_code, reason, payload::jsonb, delivered_for
        from rejected
        on conflict (source, path, row_number, payload_md5) do update
            set reason_code = excluded.reason_code, reason = excluded.reason,
                resolved_at = null, resolved_batch_id = null
            where listed.resolved_at is not null or listed.reason_code <> excluded.reason_code
        """,
        **values,
    )
    transaction.execute(
        """
        insert into pii.rejected_payload
        select distinct on (path, row_number, payload_md5) :source, path, row_number, payload_md5, sealed
        from rejected on conflict do nothing
        """,
        source=source.name,
    )
    paths = pa.table({"path": pa.array(read, pa.string())})
    _copy(transaction, "reread", paths.schema, paths)
    transaction.execute(
        """
        update quarantine.rejected_row as listed set resolved_at = now(), resolved_batch_id = :batch
        from reread
        where listed.source = :source and listed.path = reread.path and listed.row_number > 0
            and listed.resolved_at is null and not exists (
                select from rejected where rejected.path = listed.path
                    and rejected.row_number = listed.row_number and rejected.payload_md5 = listed.payload_md5)
        """,
        **values,
    )


def keep_contacts(transaction: Transaction, contacts: Spool) -> None:
    """Store the sealed clear values behind keyed hashes, each once."""
    if not contacts.rows:
        return
    _copy(transaction, "contacts", CONTACT, contacts.reader())
    transaction.execute(
        "insert into pii.contact (kind, hash, sealed) "
        "select distinct on (kind, hash) kind, hash, sealed from contacts on conflict do nothing"
    )


def keep_details(transaction: Transaction, source: SourceSpec, details: Spool) -> None:
    """Store sealed names and addresses by the key of their row; of two versions the newer one stays."""
    if not details.rows:
        return
    _copy(transaction, "details", DETAIL, details.reader())
    transaction.execute(
        """
        create temporary table newest_detail on commit drop as
        select distinct on (source_row_id) source_row_id, updated_at, print_md5, sealed
        from details order by source_row_id, updated_at desc nulls last, place desc
        """
    )
    # No upsert: its `excluded.sealed` would need the right to read what is sealed, which a loader has not.
    transaction.execute(
        """
        delete from pii.member_detail as known using newest_detail as new
        where known.source = :source and known.source_row_id = new.source_row_id
            and known.print_md5 <> new.print_md5
            and (known.updated_at is null or new.updated_at >= known.updated_at)
        """,
        source=source.name,
    )
    transaction.execute(
        """
        insert into pii.member_detail (source, source_row_id, updated_at, print_md5, sealed)
        select :source, source_row_id, updated_at, print_md5, sealed from newest_detail
        on conflict do nothing
        """,
        source=source.name,
    )


def note_files(
    transaction: Transaction,
    source: SourceSpec,
    files: list[Delivery],
    tally: Tally,
    batch_id: int,
    digests: dict[str, str],
    spec_md5: str,
) -> None:
    """Remember which files were read, so that they are not read again."""
    files = [f for f in files if f.numbered]
    if not files:
        return
    table = pa.table(
        {
            "path": [f.name for f in files],
            "size_bytes": pa.array([f.size for f in files], pa.int64()),
            "fingerprint": [f.fingerprint for f in files],
            "rows_read": pa.array([tally.per_file[f.name] for f in files], pa.int64()),
            "rows_not_due": pa.array([tally.not_due[f.name] for f in files], pa.int64()),
            "content_sha256": pa.array([digests.get(f.name) for f in files], pa.string()),
        }
    )
    _copy(transaction, "files", table.schema, table)
    transaction.execute(
        """
        insert into ops.batch_file (source, path, size_bytes, fingerprint, batch_id, rows_read, rows_not_due,
            content_sha256, spec_md5)
        select :source, path, size_bytes, fingerprint, :batch, rows_read, rows_not_due, content_sha256, :spec
        from files
        on conflict (source, path) do update set size_bytes = excluded.size_bytes,
            fingerprint = excluded.fingerprint, batch_id = excluded.batch_id,
            rows_read = excluded.rows_read, rows_not_due = excluded.rows_not_due,
            content_sha256 = excluded.content_sha256, spec_md5 = excluded.spec_md5
        """,
        source=source.name,
        batch=batch_id,
        spec=spec_md5,
    )


def note_columns(transaction: Transaction, source: SourceSpec, tally: Tally, batch_id: int) -> None:
    """Record which columns the source delivered; one that is new or missing raises an alert."""
    mapped = {c.lower() for c in referenced_columns(source)}
    table = pa.table(
        {
            "column_name": pa.array(list(tally.columns), pa.string()),
            "mapped": [c.lower() in mapped for c in tally.columns],
        },
        schema=pa.schema([("column_name", pa.string()), ("mapped", pa.bool_())]),
    )
    _copy(transaction, "columns", table.schema, table)
    (before,) = transaction.rows(
        "select count(*) as columns from ops.source_column where source = :source", source=source.name
    )
    added = transaction.rows(
        """
        insert into ops.source_column (source, column_name, mapped, first_batch_id, last_batch_id)
        select :source, column_name, mapped, :batch, :batch from columns
        on conflict (source, column_name) do update
            set mapped = excluded.mapped, last_batch_id = excluded.last_batch_id, last_seen_at = now()
        returning column_name, first_batch_id = :batch as is_new, mapped
        """,
        source=source.name,
        batch=batch_id,
    )
    for column in added if before["columns"] else []:
        if column["is_new"] and not column["mapped"]:
            _alert(
                transaction,
                source,
                "column_added",
                f"{source.name} delivers a column '{column['column_name']}' that it did not have before; it is "
                "ignored, map it under columns if it is wanted",
            )
    for name, delivery in tally.absent.items():
        _alert(
            transaction,
            source,
            "column_missing",
            f"{source.name}: {delivery} has no column '{name}', which is mapped; it is null in its rows. Ask for it "
            "to be delivered again, or correct sources.yaml",
        )


def note_mark(transaction: Transaction, source: SourceSpec, tally: Tally, batch_id: int) -> None:
    """Remember how far a database or API has been read: up to the first row that is not due, else the last one."""
    mark = tally.held if tally.held is not None else tally.mark
    if source.watermark is None or mark is None:
        return
    transaction.execute(
        """
        insert into ops.source_state as state (source, mark, batch_id) values (:source, :mark, :batch)
        on conflict (source) do update set mark = excluded.mark, batch_id = excluded.batch_id, noted_at = now()
        where excluded.mark > state.mark
        """,
        source=source.name,
        mark=mark,
        batch=batch_id,
    )


def _alert(transaction: Transaction, source: SourceSpec, kind: str, message: str) -> None:
    log.warning("%s", message)
    transaction.execute(
        """
        insert into ops.alert (kind, source, message)
        select :kind, :source, :message
        where not exists (select from ops.alert
            where kind = :kind and source = :source and message = :message and raised_at > now() - interval '1 day')
        """,
        kind=kind,
        source=source.name,
        message=message,
    )


def _copy(
    transaction: Transaction, table: str, schema: pa.Schema, data: pa.Table | pa.RecordBatchReader
) -> None:
    """A temporary table of the transaction with this Arrow data."""
    columns = ", ".join(f"{f.name} {_TYPES[str(f.type)]}" for f in schema)
    transaction.execute(f"create temporary table {table} ({columns}) on commit drop")
    transaction.copy_in(table, data)
