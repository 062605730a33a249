"""From accepted rows to `raw.*`: one transaction a batch, so that it is all there or not there.

What cannot be there yet is copied straight into the table while it is read and validated; the rest (corrections, rows
delivered again, rows that come twice) is set aside and compared with what is stored.
"""

import logging
from collections.abc import Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import date

import pyarrow as pa

from portrait.config import SourceSpec
from portrait.contracts import CONTRACTS, Contract
from portrait.ingest.mapping import key_has_date
from portrait.ingest.merge import Merge, outdated, this_batch
from portrait.ingest.route import REPEATED, Router
from portrait.ingest.spool import Spool
from portrait.ingest.validate import accepted_schema, stored_schema
from portrait.warehouse import Transaction, Warehouse
from portrait.warehouse.partitions import MONTHS_AHEAD, ensure_months, months_of

log = logging.getLogger(__name__)
Rows = Generator[pa.RecordBatch, None, None]


@dataclass(frozen=True)
class Loaded:
    """Rows of a batch by what became of them in `raw`."""

    inserted: int
    updated: int
    unchanged: int
    outdated: int
    duplicate: int


class Loader:
    """Loads the rows of one batch into `raw.<entity>` by natural key; of two versions the newer one stays.

    The newer version is the one with the later `updated_at` (no value counts as oldest), on a tie the one that came
    later. Rows equal to what is stored are not touched; an entity without dates of its own keeps the business date of
    the delivery that changed the row last. Changed business dates are noted in ops.batch_partition.
    """

    def __init__(
        self, warehouse: Warehouse, transaction: Transaction, source: SourceSpec, batch_id: int, size: int
    ) -> None:
        self.warehouse, self.transaction, self.source, self.batch_id = (
            warehouse,
            transaction,
            source,
            batch_id,
        )
        self.contract: Contract = CONTRACTS[source.entity]
        self.columns = stored_schema(source.entity).names
        known = self._known_dates()
        first = not known
        self.router = Router(known if self.contract.partitioned or first else None, size)
        self._may_have_moved = bool(known) and self.contract.partitioned and not key_has_date(source)
        self._aside, self._aside_months = (
            Spool(accepted_schema(source.entity).append(pa.field(REPEATED, pa.bool_()))),
            set[date](),
        )
        self._ready: set[date] = set()

    def load(self, rows: Rows) -> Loaded:
        """Read the stream to its end and load it."""
        try:
            copied = self._copy(rows)
            merge = self._compare() if self._aside.rows else None
        finally:
            self._aside.close()
        if merge is not None:
            back = merge.take_back()
            self.router.copied.subtract(back)
            copied -= back.total()
        moved = self._settle_moved() if copied and self._may_have_moved else {"moved": 0, "outdated": 0}
        counts: dict[str, int] = {}
        if merge is not None:
            counts, changed = merge.run()
            self.router.copied.update(changed)
        self._note_dates()
        return Loaded(
            inserted=copied - moved["moved"] - moved["outdated"] + counts.get("inserted", 0),
            updated=moved["moved"] + counts.get("updated", 0),
            unchanged=counts.get("unchanged", 0),
            outdated=moved["outdated"] + counts.get("outdated", 0),
            duplicate=counts.get("duplicate", 0),
        )

    def _compare(self) -> Merge:
        """The rows set aside, where they can be compared with what is stored."""
        self._ensure(self._aside_months)
        merge = Merge(self.transaction, self.source, self.batch_id, self.columns)
        self._copy_in("aside", *merge.aside(self._aside))
        return merge

    def _known_dates(self) -> set[date]:
        """Business dates for which this source has ever loaded rows."""
        found = self.transaction.rows(
            "select distinct p.business_date from ops.batch_partition p join ops.batch b using (batch_id) "
            "where b.source = :source and p.entity = :entity",
            source=self.source.name,
            entity=self.source.entity,
        )
        return {r["business_date"] for r in found}

    def _copy(self, rows: Rows) -> int:
        """Copy what is new, set the rest aside. A COPY ends where a month begins that has no partition yet."""
        stream = self._straight(_ahead(rows))
        batch, copied = next(stream, None), 0
        while batch is not None:
            self._ensure(self._months(batch))
            ahead: list[pa.RecordBatch] = []

            def until_new_month(
                first: pa.RecordBatch, ahead: list[pa.RecordBatch] = ahead
            ) -> Iterator[pa.RecordBatch]:
                yield first
                for following in stream:
                    if not self._months(following) <= self._ready:
                        ahead.append(following)
                        return
                    yield following

            copied += self._copy_in(self.source.entity, batch.schema, until_new_month(batch), schema="raw")
            batch = ahead.pop() if ahead else None
        return copied

    def _straight(self, rows: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """The rows that go straight in, as the table has them; the others are written aside."""
        for batch in rows:
            straight, aside = self.router.split(batch)
            if aside.num_rows:
                self._aside.write(pa.Table.from_batches([aside]))
                self._aside_months |= self._months(aside)
            if straight.num_rows:
                source = pa.repeat(pa.scalar(self.source.name), straight.num_rows)
                batch_id = pa.repeat(pa.scalar(self.batch_id, pa.int64()), straight.num_rows)
                yield pa.RecordBatch.from_arrays(
                    [source, *(straight[c] for c in self.columns), batch_id],
                    names=["source", *self.columns, "batch_id"],
                )

    def _copy_in(self, table: str, shape: pa.Schema, batches: Iterator[pa.RecordBatch], **place: str) -> int:
        """COPY a stream; an error of what it reads is raised as it was, not as COPY's."""
        problem: list[Exception] = []

        def watched() -> Iterator[pa.RecordBatch]:
            try:
                yield from batches
            except Exception as error:
                problem.append(error)
                raise

        try:
            reader = pa.RecordBatchReader.from_batches(shape, watched())
            return self.transaction.copy_in(table, reader, **place)
        except Exception:
            if problem:
                raise problem[0] from None
            raise

    def _months(self, batch: pa.RecordBatch) -> set[date]:
        if not self.contract.partitioned:
            return set()
        return set(months_of(batch["business_date"].unique().to_pylist()))

    def _ensure(self, months: set[date]) -> None:
        if months - self._ready:
            ensure_months(self.warehouse, self.source.entity, months_of(months, MONTHS_AHEAD))
            self._ready |= months

    def _settle_moved(self) -> dict[str, int]:
        """Rows just copied whose key is stored under another date: the older version of the two goes."""
        entity, run = self.source.entity, self._run
        copied = self.router.copied
        run(
            f"""
            create temporary table moved on commit drop as
            select new.source_row_id, new.business_date as day, old.business_date as stored_day,
                   {outdated("new", "old")} as outdated
            from raw.{entity} as new
            join raw.{entity} as old using (source, source_row_id)
            where new.source = :source and {this_batch("new")} and old.batch_id <> :batch
                and new.business_date between :first and :last and old.business_date <> new.business_date
            """,
            first=min(copied),
            last=max(copied),
        )
        self.transaction.execute(
            f"""
            delete from raw.{entity} as stored using moved
            where stored.source = :source and stored.source_row_id = moved.source_row_id
                and stored.business_date = case when outdated then day else stored_day end
            """,
            source=self.source.name,
        )
        counts = {"moved": 0, "outdated": 0}
        for row in self.transaction.rows(
            "select day, stored_day, outdated, count(*) as rows from moved group by 1, 2, 3"
        ):
            if row["outdated"]:
                counts["outdated"] += row["rows"]
                copied[row["day"]] -= row["rows"]
            else:
                counts["moved"] += row["rows"]
                copied[row["stored_day"]] += row["rows"]
        return counts

    def _note_dates(self) -> None:
        changed = {day: rows for day, rows in sorted(self.router.copied.items()) if rows > 0}
        table = pa.table(
            {
                "batch_id": pa.repeat(pa.scalar(self.batch_id, pa.int64()), len(changed)),
                "entity": pa.repeat(pa.scalar(self.source.entity), len(changed)),
                "business_date": pa.array(list(changed), pa.date32()),
                "rows_changed": pa.array(list(changed.values()), pa.int64()),
            }
        )
        if changed:
            self.transaction.copy_in("batch_partition", table, schema="ops")

    def _run(self, sql: str, **parameters: object) -> None:
        known = {"source": self.source.name, "batch": self.batch_id, **parameters}
        self.transaction.execute(sql, **known)


def _ahead(batches: Rows) -> Iterator[pa.RecordBatch]:
    """The same, with the next batch read and validated while PostgreSQL takes the one before."""
    try:
        with ThreadPoolExecutor(1, "validate") as pool:
            following = pool.submit(next, batches, None)
            while (batch := following.result()) is not None:
                following = pool.submit(next, batches, None)
                yield batch
    finally:
        batches.close()
