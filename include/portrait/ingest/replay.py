"""Refused rows again: after a fix in `sources.yaml` they go through the contract once more."""

import json
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from itertools import islice
from typing import Any

import pyarrow as pa

from portrait.config import Settings, SourceSpec
from portrait.ingest.mapping import ROW, literal
from portrait.ingest.pull import PullResult, load_batch, one_at_a_time
from portrait.ingest.seal import seal_of
from portrait.ingest.validate import SEALED_ROW, Validator
from portrait.sources import BadLine, Delivery
from portrait.sources.readers import JSON_LINE
from portrait.warehouse import Transaction, Warehouse, open_warehouse
from portrait.warehouse.grants import LOADER

log = logging.getLogger(__name__)
_BATCH_ROWS = 10_000


@dataclass(frozen=True)
class ReplayResult:
    """What became of the refused rows that were tried again: `pull` counts what was loaded."""

    source: str
    tried: int
    resolved: int
    still_refused: int
    pull: PullResult | None = None


def replay(
    settings: Settings, source_name: str, code: str | None = None, as_of: date | None = None
) -> ReplayResult:
    """Try a source's refused rows again, with today's `sources.yaml`; those that are good now are loaded.

    A row that is refused again keeps its place in quarantine, with the new reason. Lines that could not be split into
    columns cannot be tried: deliver the file again.

    Parameters
    ----------
    code : only rows refused for this reason (``bad_decimal:quantity``).
    as_of : the business date of the pull; that of the source's last batch unless given.

    Raises
    ------
    PortraitError : on an unknown source, or when PORTRAIT_PII_KEY is not the key of the rows.
    """
    settings = settings.acting_as(LOADER)
    source = settings.sources.source(source_name)
    warehouse = open_warehouse(settings)
    with one_at_a_time(warehouse, source.name):
        last = as_of or warehouse.scalar(
            "select max(business_date) from ops.batch where source = :s and status = 'loaded'", s=source.name
        )
        rows = _Refused(settings, warehouse, source, code)
        deliveries = rows.pending(None)
        if not deliveries:
            return ReplayResult(source.name, 0, 0, 0)
        validator = _ReplayValidator(settings, source, deliveries, last, rows)

        def record(transaction: Transaction, batch_id: int) -> None:
            _resolve(transaction, validator, rows.selection, batch_id)

        result = load_batch(warehouse, source, last, validator, record)
    still = result.rows_rejected + result.rows_not_due
    return ReplayResult(source.name, result.rows_read, result.rows_read - still, still, result)


class _Refused:
    """The open rows of a source in quarantine as a source of their own; their row number is their rank there."""

    def __init__(
        self, settings: Settings, warehouse: Warehouse, source: SourceSpec, code: str | None
    ) -> None:
        self._warehouse, self._source = warehouse, source
        self._seal = seal_of(settings)
        of_code = f"and reason_code = {literal(code)}" if code else ""
        self.selection = f"""
            select listed.*, sealed,
                   row_number() over (order by path, delivered_for, row_number, payload_md5) as rank
            from quarantine.rejected_row as listed
            join pii.rejected_payload using (source, path, row_number, payload_md5)
            where source = {literal(source.name)} and resolved_at is null {of_code}
                and reason_code not in ('bad_line:columns', 'bad_json:line')
        """

    def pending(self, as_of: date | None, mark: int | None = None) -> list[Delivery]:
        found = self._warehouse.rows(
            f"select path, delivered_for, max(first_seen_at)::date + 1 as latest from ({self.selection}) as open "
            "group by 1, 2 order by 1, 2"
        )
        return [Delivery(r["path"], delivered_for=r["delivered_for"], latest=r["latest"]) for r in found]

    def schema(self, delivery: Delivery) -> pa.Schema:
        if self._source.lines:
            return pa.schema([])
        names: dict[str, None] = {}
        for _, row in self._rows(delivery):
            names.update(dict.fromkeys(json.loads(row)))
        return pa.schema([(name, pa.string()) for name in names])

    def batches(self, delivery: Delivery, bad_line: BadLine) -> Iterator[pa.RecordBatch]:
        schema = self.schema(delivery)
        for some in _batched(self._rows(delivery), _BATCH_ROWS):
            ranks = pa.array([rank for rank, _ in some], pa.int64())
            if self._source.lines:
                columns = {JSON_LINE: pa.array([row for _, row in some], pa.string())}
            else:
                cells = [{k: _text(v) for k, v in _parse(row).items()} for _, row in some]
                columns = {n: pa.array([c.get(n) for c in cells], pa.string()) for n in schema.names}
            yield pa.RecordBatch.from_pydict({ROW: ranks, **columns})

    def _rows(self, delivery: Delivery) -> Iterator[tuple[int, str]]:
        day = delivery.delivered_for
        dated = f"delivered_for = date {literal(str(day))}" if day else "delivered_for is null"
        with self._warehouse.arrow_reader(
            f"select rank, sealed from ({self.selection}) as open "
            f"where path = {literal(delivery.name)} and {dated} order by rank"
        ) as reader:
            for batch in reader:
                for row in batch.to_pylist():
                    yield row["rank"], self._seal.open(row["sealed"], SEALED_ROW)


class _ReplayValidator(Validator):
    """Remembers which rows are not due: they stay in quarantine."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.waiting: list[int] = []

    def _note_early(self, early: pa.Table) -> None:
        super()._note_early(early)
        self.waiting += early["row_number"].to_pylist()


def _resolve(transaction: Transaction, validator: _ReplayValidator, selection: str, batch_id: int) -> None:
    refused = validator.rejected.reader().read_all().select(["row_number", "reason_code", "reason"])
    transaction.execute(
        "create temporary table again (row_number bigint, reason_code text, reason text) on commit drop"
    )
    transaction.copy_in("again", refused)
    waiting = pa.table({"row_number": pa.array(validator.waiting, pa.int64())})
    transaction.execute("create temporary table waiting (row_number bigint) on commit drop")
    transaction.copy_in("waiting", waiting)
    transaction.execute(f"create temporary table tried on commit drop as {selection}")
    same = (
        "listed.source = tried.source and listed.path = tried.path and listed.row_number = tried.row_number "
        "and listed.payload_md5 = tried.payload_md5"
    )
    transaction.execute(
        f"""
        update quarantine.rejected_row as listed set reason_code = again.reason_code, reason = again.reason
        from tried join again on again.row_number = tried.rank where {same}
        """
    )
    transaction.execute(
        f"""
        update quarantine.rejected_row as listed set resolved_at = now(), resolved_batch_id = :batch
        from tried where {same}
            and not exists (select from again where again.row_number = tried.rank)
            and not exists (select from waiting where waiting.row_number = tried.rank)
        """,
        batch=batch_id,
    )


def _parse(row: str) -> dict[str, Any]:
    """Numbers keep their text."""
    return dict(json.loads(row, parse_float=str, parse_int=str))


def _text(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False)


def _batched(rows: Iterator[tuple[int, str]], size: int) -> Iterator[list[tuple[int, str]]]:
    while some := list(islice(rows, size)):
        yield some
