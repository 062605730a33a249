"""A source in a database: which part a pull reads, and how its rows come as Arrow record batches."""

from collections.abc import Iterator
from datetime import date, timedelta

import pyarrow as pa

from portrait.config import Settings, SourceSpec
from portrait.sources.delivery import BadLine, Delivery, Window, business_day_end
from portrait.sources.relation import Relation, find_relation

_POSTGRES = ("postgres", "postgresql")


class DatabaseConnector:
    """A source of one table or query: PostgreSQL by COPY, every other database through SQLAlchemy.

    Each reading is one read-only transaction, which holds no lock that writers wait for and ends with the reading.
    """

    def __init__(self, settings: Settings, source: SourceSpec) -> None:
        self.settings, self.source = settings, source

    def pending(self, as_of: date | None, mark: int | None = None) -> list[Delivery]:
        """One delivery: the rows from `mark` (less the overlap) to the end of the business date.

        An integer watermark has no end; without a watermark everything is read each time.
        """
        relation = find_relation(self.settings, self.source)
        watermark = self.source.watermark
        if watermark is None:
            return [Delivery(relation.name, window=Window())]
        if watermark.type == "integer":
            since = None if mark is None else mark - watermark.overlap
            return [Delivery(relation.name, window=Window(since))]
        overlap = timedelta(minutes=watermark.overlap) // timedelta(microseconds=1)
        since = None if mark is None else mark - overlap
        until = None if as_of is None else business_day_end(self.settings, self.source, as_of)
        return [Delivery(relation.name, delivered_for=as_of, window=Window(since, until))]

    def schema(self, delivery: Delivery) -> pa.Schema:
        relation = find_relation(self.settings, self.source)
        if _is_postgres(relation):
            from portrait.sources.postgres import postgres_schema

            return postgres_schema(relation)
        from portrait.sources.dialects import dialect_schema

        return dialect_schema(relation)

    def batches(self, delivery: Delivery, bad_line: BadLine) -> Iterator[pa.RecordBatch]:
        """Stream the delivery's window, at most `batch_rows` rows a batch; a database has no bad lines."""
        relation = find_relation(self.settings, self.source)
        window = delivery.window or Window()
        if _is_postgres(relation):
            from portrait.sources.postgres import postgres_batches

            return postgres_batches(relation, window)
        from portrait.sources.dialects import dialect_batches

        return dialect_batches(relation, window)


def _is_postgres(relation: Relation) -> bool:
    return relation.connection.conn_type.split("+")[0] in _POSTGRES
