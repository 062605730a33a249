"""Rows that may be in `raw` already: each is compared with what is stored under its key, and the newer version stays."""

from collections import Counter
from collections.abc import Iterator
from datetime import date

import pyarrow as pa

from portrait.config import SourceSpec
from portrait.contracts import CONTRACTS
from portrait.ingest.mapping import key_has_date
from portrait.ingest.route import REPEATED
from portrait.ingest.spool import Spool
from portrait.warehouse import Transaction


class Merge:
    """The comparison, step by step in temporary tables of the batch's transaction.

    `aside` (the rows as they came) → `latest` (one a key) → `judged` (a verdict each: new, replace, move, same, touch
    or outdated) → `todo` (those that change something) → `raw`.
    """

    def __init__(
        self, transaction: Transaction, source: SourceSpec, batch_id: int, columns: list[str]
    ) -> None:
        self.transaction, self.source, self.batch_id, self.columns = transaction, source, batch_id, columns
        self.contract = CONTRACTS[source.entity]
        self.table = f"raw.{source.entity}"
        self._listed = ", ".join(columns)

    def aside(self, spool: Spool) -> tuple[pa.Schema, Iterator[pa.RecordBatch]]:
        """Make the table `aside` and give what is to be copied into it."""
        self._run(
            f"create temporary table aside on commit drop as select {self._listed}, 0::bigint as place, "
            f"true as {REPEATED} from {self.table} with no data"
        )
        kept = [*self.columns, "place", REPEATED]
        shape = pa.schema([spool.schema.field(name) for name in kept])
        return shape, (batch.select(kept) for batch in spool.reader())

    def take_back(self) -> Counter[date]:
        """Rows of this batch in `raw` whose key came again later: back to the others of their key, first of them."""
        self._run(
            "create temporary table twice on commit drop as "
            f"select distinct source_row_id from aside where {REPEATED}"
        )
        self._run("analyze twice")
        self._run(
            f"""
            with back as (
                delete from {self.table} as stored using twice
                where stored.source = :source and {this_batch("stored")}
                    and stored.source_row_id = twice.source_row_id
                returning {", ".join(f"stored.{c}" for c in self.columns)}
            )
            insert into aside select {self._listed}, 0, true from back
            """
        )
        rows = self.transaction.rows(
            "select business_date as day, count(*) as rows from aside where place = 0 group by 1"
        )
        return Counter({r["day"]: r["rows"] for r in rows})

    def run(self) -> tuple[dict[str, int], Counter[date]]:
        """Bring `raw` up to date. Gives the rows of `aside` by what became of them, and how many changed on each date."""
        self._run("set local work_mem = '256MB'")
        self._latest()
        self._judge()
        self._delete_moved()
        self._update()
        self._insert()
        return self._counts()

    def _latest(self) -> None:
        """Sorting everything to find the few keys that came twice would take longest."""
        self._run(
            f"""
            create temporary table latest on commit drop as
            select {self._listed} from aside where source_row_id not in (select source_row_id from twice)
            union all
            (select distinct on (source_row_id) {self._listed} from aside join twice using (source_row_id)
             order by source_row_id, updated_at desc nulls last, place desc)
            """
        )
        self._run("analyze latest")

    def _judge(self) -> None:
        values = self._values
        same_key, same_day = "stored.source_row_id = latest.source_row_id", "true"
        if self.contract.partitioned:
            same_day = "stored.business_date = latest.business_date"
        if self.contract.partitioned and key_has_date(self.source):
            same_key += (
                " and stored.business_date = latest.business_date and stored.business_date between "
                "(select min(business_date) from latest) and (select max(business_date) from latest)"
            )
        equal = (
            f"{same_day} and ({', '.join(f'latest.{v}' for v in values)}) "
            f"is not distinct from ({', '.join(f'stored.{v}' for v in values)})"
        )
        # A snapshot that does not say when a row was changed would else be written whole every day.
        touched = "latest.updated_at is distinct from stored.updated_at" if self._says_when else "false"
        self._run(
            f"""
            create temporary table judged on commit drop as
            select latest.source_row_id, latest.business_date as day, stored.business_date as stored_day,
                   case when stored.source_row_id is null then 'new'
                        when {outdated("latest", "stored")} then 'outdated'
                        when {equal} then case when {touched} then 'touch' else 'same' end
                        when {same_day} then 'replace' else 'move' end as verdict
            from latest left join {self.table} as stored on stored.source = :source and {same_key}
            """
        )
        self._run(
            "create temporary table todo on commit drop as "
            "select judged.stored_day, judged.verdict, latest.* from judged join latest using (source_row_id) "
            "where verdict not in ('same', 'outdated')"
        )
        self._run("analyze todo")

    def _delete_moved(self) -> None:
        self._run(
            f"delete from {self.table} as stored using todo where verdict = 'move' and {_THERE}",
        )

    def _update(self) -> None:
        dated = [] if self.contract.partitioned else ["business_date"]
        assigned = ", ".join(f"{v} = todo.{v}" for v in [*self._values, "updated_at", *dated])
        self._run(
            f"update {self.table} as stored set {assigned}, batch_id = :batch, loaded_at = now() "
            f"from todo where verdict = 'replace' and {_THERE}"
        )
        self._run(
            f"update {self.table} as stored set updated_at = todo.updated_at "
            f"from todo where verdict = 'touch' and {_THERE}"
        )

    def _insert(self) -> None:
        self._run(
            f"insert into {self.table} (source, {self._listed}, batch_id) "
            f"select :source, {self._listed}, :batch from todo where verdict in ('new', 'move')"
        )

    def _counts(self) -> tuple[dict[str, int], Counter[date]]:
        (came,) = self.transaction.rows(
            "select (select count(*) from aside) - (select count(*) from latest) as earlier"
        )
        counts: Counter[str] = Counter(duplicate=came["earlier"])
        changed: Counter[date] = Counter()
        for row in self.transaction.rows(
            "select verdict, case when verdict not in ('same', 'touch', 'outdated') then day end as day, "
            "case when verdict = 'move' then stored_day end as stored_day, count(*) as rows "
            "from judged group by 1, 2, 3"
        ):
            counts[_COUNTED[row["verdict"]]] += row["rows"]
            for day in (row["day"], row["stored_day"]):
                if day is not None:
                    changed[day] += row["rows"]
        return dict(counts), changed

    @property
    def _values(self) -> list[str]:
        return [c for c in self.columns if c not in ("source_row_id", "updated_at", "business_date")]

    @property
    def _says_when(self) -> bool:
        """Whether the source itself says when a row was changed."""
        watermark = self.source.watermark
        return "updated_at" in self.source.columns or (
            watermark is not None and watermark.type == "timestamp"
        )

    def _run(self, sql: str) -> None:
        self.transaction.execute(sql, source=self.source.name, batch=self.batch_id)


def outdated(new: str, stored: str) -> str:
    """Whether the stored row is the newer version: an SQL condition on two row names."""
    return (
        f"({stored}.updated_at is not null "
        f"and ({new}.updated_at is null or {new}.updated_at < {stored}.updated_at))"
    )


def this_batch(name: str) -> str:
    """Whether a stored row is of this batch, in words that the planner has no statistics for.

    Those of the table know only earlier batches: it would take this one's millions of rows for none, and loop.
    """
    return f"{name}.batch_id + 0 = :batch"


_THERE = (
    "stored.source = :source and stored.source_row_id = todo.source_row_id "
    "and stored.business_date = todo.stored_day"
)
_COUNTED = {
    "new": "inserted",
    "replace": "updated",
    "move": "updated",
    "same": "unchanged",
    "touch": "unchanged",
    "outdated": "outdated",
}
