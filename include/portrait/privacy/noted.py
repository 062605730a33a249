"""A change of `raw` that no delivery made, noted so that the next night reads its days again."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date

from portrait.warehouse import Warehouse


@contextmanager
def noted_batch(warehouse: Warehouse, source: str, entity: str, day: date) -> Iterator[int]:
    """A batch of `ops.batch`; whoever changes rows notes their days in `ops.batch_partition` with the change.

    Until the end it is `loading`: a night that copies meanwhile looks at its days again. One that a crash left so is
    ended by the next; its days are those of its transactions.

    Parameters
    ----------
    source : what stands for the source, as no source delivered it.
    day : business date of the batch.
    """
    end_batches(warehouse, source, entity)
    yield warehouse.scalar(
        "insert into ops.batch (source, entity, business_date, status) values (:s, :e, :d, 'loading') returning batch_id",
        s=source,
        e=entity,
        d=day,
    )
    end_batches(warehouse, source, entity)


def end_batches(warehouse: Warehouse, source: str, entity: str) -> None:
    """End what is loading; nobody else may be at work for this source."""
    warehouse.execute(
        "update ops.batch set status = 'loaded', finished_at = now() "
        "where source = :s and entity = :e and status = 'loading'",
        s=source,
        e=entity,
    )
