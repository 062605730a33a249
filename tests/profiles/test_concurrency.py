"""Readers see one night or the other, whole, while the pointer moves and old nights are dropped."""

import threading
import time
from collections.abc import Callable

from portrait.config import Settings
from portrait.profiles.build import build
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
LONGEST_WAIT_S = 0.2


class Reader(threading.Thread):
    """Queries in a loop until told to stop; remembers what it saw and the longest wait."""

    def __init__(
        self, warehouse: Warehouse, stop: threading.Event, query: TextClause = QUERY, rests_s: float = 0.0
    ) -> None:
        super().__init__(daemon=True)
        self.warehouse, self.stop = warehouse, stop
        self.query, self.rests_s = query, rests_s
        self.seen: set[tuple] = set()
        self.waits: list[float] = []
        self.queries, self.longest_s = 0, 0.0
        self.error: Exception | None = None

    def run(self) -> None:
        try:
            with self.warehouse.engine.connect() as connection:
                while not self.stop.is_set():
                    started = time.perf_counter()
                    with connection.begin():
                        self.seen.add(tuple(connection.execute(self.query).one()))
                    self.waits.append(time.perf_counter() - started)
                    self.longest_s = max(self.longest_s, self.waits[-1])
                    self.queries += 1
                    time.sleep(self.rests_s)
        except Exception as error:
            self.error = error


def test_no_reader_sees_a_mixture_or_an_empty_night(
    settings: Settings, warehouse: Warehouse, night: Callable[..., Run], small_night: Callable[..., None]
) -> None:
    night(1, "oldest", CUSTOMERS)
    night(2, "first", CUSTOMERS)
    second = night(3, "second", CUSTOMERS)
    stop = threading.Event()
    readers = [Reader(warehouse, stop) for _ in range(4)]
    for reader in readers:
        reader.start()
    try:
        for _ in range(10):
            assert rollback(settings) == "2026-03-02.1"
            publish(settings, second, keep=2)  # drops the oldest night the first time
        small_night(second, "second again", CUSTOMERS)
        build(settings, second)
        load(settings, second)
        audit(settings, second)
        publish(settings, second)  # exchanges the partitions that are being read
        time.sleep(0.2)
    finally:
        stop.set()
        for reader in readers:
            reader.join(20)
    assert [r.error for r in readers] == [None] * 4
    seen = set().union(*(r.seen for r in readers))
    assert seen == {(CUSTOMERS, m, m, m, m) for m in ("first", "second", "second again")}
    assert sum(r.queries for r in readers) > 100
    assert max(r.longest_s for r in readers) < 2.0


def test_eight_readers_do_not_wait_for_the_pointer(
    settings: Settings, warehouse: Warehouse, night: Callable[..., Run]
) -> None:
    """Waits are held against those of a reader that asks for nothing of ours: a busy machine makes both wait."""
    night(1, "first", CUSTOMERS)
    second = night(2, "second", CUSTOMERS)
    stop = threading.Event()
    readers = [Reader(warehouse, stop, ONE_CUSTOMER, 0.005) for _ in range(8)]
    control = Reader(warehouse, stop, text("select 1"), 0.005)
    moves = []
    for reader in (*readers, control):
        reader.start()
    try:
        for _ in range(8):
            rollback(settings)
            time.sleep(0.05)
            moves.append(publish(settings, second).moved_in_s)
            time.sleep(0.05)
    finally:
        stop.set()
        for reader in (*readers, control):
            reader.join(20)
    assert [r.error for r in readers] == [None] * 8
    # 2 recommendations of each kind, of one night each time
    assert set().union(*(r.seen for r in readers)) == {(4, m, m, m, "s1", 2) for m in ("first", "second")}
    longest = LONGEST_WAIT_S + control.longest_s
    assert sum(wait > longest for r in readers for wait in r.waits) == 0
    assert sum(len(r.waits) for r in readers) > 200
    assert sorted(moves)[len(moves) // 2] < 0.1 + control.longest_s
