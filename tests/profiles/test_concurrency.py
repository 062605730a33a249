"""Readers see one night or the other, whole, while the pointer moves and old nights are dropped.

How many milliseconds a move takes with a million customers is measured by `benchmarks/profiles.py`.
"""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from portrait.config import Settings
from portrait.profiles.build import build
from portrait.profiles.partitions import lock_pointer
from portrait.profiles.publish import audit, load, publish, rollback
from portrait.run import Run
from portrait.warehouse import Warehouse
from sqlalchemy import TextClause, text

CUSTOMERS = 50
QUERY = text(
    """
    select count(*) as customers, min(p.region) as region, max(p.region) as other_region,
           min(r.value_type) as value_type, max(r.value_type) as other_value_type
    from profile.customer_profile p
    join profile.rfm r using (customer_id)
    """
)


ONE_CUSTOMER = text(
    """
    select count(*) as rows, min(p.region) as region, max(p.region) as other_region, min(r.value_type) as value_type,
           min(n.sku) as first, max(n.rank) as last
    from profile.customer_profile p join profile.rfm r using (customer_id)
    join profile.recommendation n using (customer_id)
    where customer_id = 'c7'
    """
)
NO_LOCK_LONGER = text("set lock_timeout = '200ms'")


class Reader(threading.Thread):
    """Queries in a loop until told to stop; remembers what it saw. An impatient one fails when it waits for a lock."""

    def __init__(
        self, warehouse: Warehouse, stop: threading.Event, query: TextClause = QUERY, patient: bool = True
    ) -> None:
        super().__init__(daemon=True)
        self.warehouse, self.stop = warehouse, stop
        self.query, self.patient = query, patient
        self.seen: set[tuple] = set()
        self.queries = 0
        self.error: Exception | None = None

    def run(self) -> None:
        try:
            with self.warehouse.engine.connect() as connection:
                if not self.patient:
                    connection.execute(NO_LOCK_LONGER)
                    connection.commit()
                while not self.stop.is_set():
                    with connection.begin():
                        self.seen.add(tuple(connection.execute(self.query).one()))
                    self.queries += 1
                    time.sleep(0.0 if self.patient else 0.005)
        except Exception as error:
            self.error = error


@contextmanager
def reading(readers: list[Reader], stop: threading.Event) -> Iterator[None]:
    """The readers at work; none of them may have failed at the end."""
    for reader in readers:
        reader.start()
    try:
        yield
    finally:
        stop.set()
        for reader in readers:
            reader.join(20)
    assert [r.error for r in readers] == [None] * len(readers)


def test_no_reader_sees_a_mixture_or_an_empty_night(
    settings: Settings, warehouse: Warehouse, night: Callable[..., Run], small_night: Callable[..., None]
) -> None:
    night(1, "oldest", CUSTOMERS)
    night(2, "first", CUSTOMERS)
    second = night(3, "second", CUSTOMERS)
    stop = threading.Event()
    readers = [Reader(warehouse, stop) for _ in range(4)]
    with reading(readers, stop):
        for _ in range(10):
            assert rollback(settings) == "2026-03-02.1"
            publish(settings, second, keep=2)  # drops the oldest night the first time
        small_night(second, "second again", CUSTOMERS)
        build(settings, second)
        load(settings, second)
        audit(settings, second)
        publish(settings, second)  # exchanges the partitions that are being read
        time.sleep(0.2)
    seen = set().union(*(r.seen for r in readers))
    assert seen == {(CUSTOMERS, m, m, m, m) for m in ("first", "second", "second again")}
    assert sum(r.queries for r in readers) > 100


def test_eight_readers_wait_for_no_lock_of_the_pointer(
    settings: Settings, warehouse: Warehouse, night: Callable[..., Run]
) -> None:
    night(1, "first", CUSTOMERS)
    second = night(2, "second", CUSTOMERS)
    stop = threading.Event()
    readers = [Reader(warehouse, stop, ONE_CUSTOMER, patient=False) for _ in range(8)]
    with reading(readers, stop):
        for _ in range(8):
            rollback(settings)
            time.sleep(0.05)
            publish(settings, second)
            time.sleep(0.05)
    # 2 recommendations of each kind, of one night each time
    assert set().union(*(r.seen for r in readers)) == {(4, m, m, m, "s1", 2) for m in ("first", "second")}
    assert sum(r.queries for r in readers) > 100


def test_the_pointer_moves_while_a_long_query_reads(
    settings: Settings, warehouse: Warehouse, night: Callable[..., Run]
) -> None:
    night(1, "first", CUSTOMERS)
    second = night(2, "second", CUSTOMERS)
    with warehouse.engine.connect() as report, report.begin():
        assert report.execute(QUERY).one().region == "second"
        assert rollback(settings) == "2026-03-01.1"  # waits for the report's locks would end in TablesBusy
        assert report.execute(QUERY).one().region == "first"
        publish(settings, second)
        assert report.execute(QUERY).one().region == "second"


def test_a_move_that_is_not_yet_committed_holds_up_no_reader(
    warehouse: Warehouse, night: Callable[..., Run]
) -> None:
    night(1, "first", CUSTOMERS)
    night(2, "second", CUSTOMERS)
    with warehouse.engine.connect() as moving, warehouse.engine.connect() as reading, moving.begin():
        reading.execute(NO_LOCK_LONGER)
        lock_pointer(moving)
        moving.execute(text("update ops.published_run set run_id = '2026-03-01.1'"))
        assert reading.execute(ONE_CUSTOMER).one().region == "second"
        assert moving.execute(ONE_CUSTOMER).one().region == "first"
