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
from portrait.ingest.route import Router
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
        self._aside, self._aside_months = Spool(accepted_schema(source.entity)), set[date]()
        self._ready: set[date] = set()

    def load(self, rows: Rows) -> Loaded:
        """Read the stream to its end and load it."""
        try:
            copied = self._copy(rows)
            moved = self._settle_moved() if copied and self._may_have_moved else {"moved": 0, "outdated": 0}
            merged = self._merge() if self._aside.rows else {}
        finally:
            self._aside.close()
        self._note_dates()
        return Loaded(
            inserted=copied - moved["moved"] - moved["outdated"] + merged.get("inserted", 0),
            updated=moved["moved"] + merged.get("updated", 0),
            unchanged=merged.get("unchanged", 0),
            outdated=moved["outdated"] + merged.get("outdated", 0),
            duplicate=merged.get("duplicate", 0),
        )

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
                   {_outdated("new", "old")} as outdated
            from raw.{entity} as new
            join raw.{entity} as old using (source, source_row_id)
            where new.source = :source and new.batch_id = :batch and old.batch_id <> :batch
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

    def _merge(self) -> dict[str, int]:
        """Compare the rows set aside with what is stored, this batch's own copied rows included."""
        contract, entity, run = self.contract, self.source.entity, self._run
        self._ensure(self._aside_months)
        listed = ", ".join(self.columns)
        run(
            f"create temporary table aside on commit drop as "
            f"select {listed}, 0::bigint as place from raw.{entity} with no data"
        )
        kept = [*self.columns, "place"]
        reader = self._aside.reader()
        schema = pa.schema([self._aside.schema.field(c) for c in kept])
        self._copy_in("aside", schema, (b.select(kept) for b in reader))
        run(
            "create temporary table latest on commit drop as select distinct on (source_row_id) * from aside "
            "order by source_row_id, updated_at desc nulls last, place desc"
        )
        run("create index on latest (source_row_id)")
        run("analyze latest")
        values = [c for c in self.columns if c not in ("source_row_id", "updated_at", "business_date")]
        same_key, same_day = "stored.source_row_id = latest.source_row_id", "true"
        if contract.partitioned:
            same_day = "stored.business_date = latest.business_date"
            if key_has_date(self.source):
                same_key += (
                    " and stored.business_date = latest.business_date and stored.business_date between "
                    "(select min(business_date) from latest) and (select max(business_date) from latest)"
                )
        run(
            f"""
            create temporary table judged on commit drop as
            select latest.source_row_id, latest.business_date as day, stored.business_date as stored_day,
                   {same_day} as same_day, stored.batch_id = :batch as repeated,
                   {_outdated("latest", "stored")} as outdated,
                   {same_day} and ({", ".join(f"latest.{v}" for v in values)})
                       is not distinct from ({", ".join(f"stored.{v}" for v in values)}) as same
            from latest join raw.{entity} as stored on stored.source = :source and {same_key}
            """
        )
        run("analyze judged")
        stored = "stored.source = :source and stored.source_row_id = judged.source_row_id"
        there = f"{stored} and stored.business_date = judged.stored_day"
        run(
            f"delete from raw.{entity} as stored using judged "
            f"where {there} and not (outdated or same or same_day)"
        )
        run(
            f"""
            update raw.{entity} as stored
            set {", ".join(f"{v} = latest.{v}" for v in [*values, "updated_at", *self._dated])},
                batch_id = :batch, loaded_at = now()
            from judged join latest using (source_row_id)
            where {there} and same_day and not (outdated or same)
            """
        )
        if self._says_when:
            # Only then: a snapshot delivered every day would be written every day.
            run(
                f"""
                update raw.{entity} as stored set updated_at = latest.updated_at
                from judged join latest using (source_row_id)
                where {there} and same and not outdated and stored.updated_at is distinct from latest.updated_at
                """
            )
        run(
            f"""
            insert into raw.{entity} (source, {listed}, batch_id)
            select :source, {", ".join(f"latest.{c}" for c in self.columns)}, :batch
            from latest left join judged using (source_row_id)
            where judged.source_row_id is null or not (outdated or same or same_day)
            """
        )
        for row in self.transaction.rows(_CHANGED_DATES):
            self.router.copied[row["day"]] += int(row["rows"])
        (counts,) = self.transaction.rows(_COUNTS)
        return counts

    @property
    def _dated(self) -> list[str]:
        return [] if self.contract.partitioned else ["business_date"]

    @property
    def _says_when(self) -> bool:
        """Whether the source itself says when a row was changed."""
        watermark = self.source.watermark
        return "updated_at" in self.source.columns or (
            watermark is not None and watermark.type == "timestamp"
        )

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


def _outdated(new: str, stored: str) -> str:
    """Whether the stored row is the newer version."""
    return (
        f"({stored}.updated_at is not null "
        f"and ({new}.updated_at is null or {new}.updated_at < {stored}.updated_at))"
    )


# Of a key that came twice in one batch the copied row (`repeated`) has been counted already.
_COUNTS = """
select (select count(*) from latest) - (select count(*) from judged) as inserted,
       count(*) filter (where not (outdated or same or repeated)) as updated,
       count(*) filter (where same and not (outdated or repeated)) as unchanged,
       count(*) filter (where outdated and not repeated) as outdated,
       (select count(*) from aside) - (select count(*) from latest)
           + count(*) filter (where repeated) as duplicate
from judged
"""
_CHANGED_DATES = """
select day, sum(rows) as rows from (
    select latest.business_date as day, 1 as rows
    from latest left join judged using (source_row_id)
    where judged.source_row_id is null
        or (not (outdated or same) and not (repeated and same_day))
    union all
    select stored_day, case when repeated then -1 else 1 end
    from judged where not (outdated or same or same_day)
) as changed group by day
"""
