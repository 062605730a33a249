"""Readers see one night or the other, whole, while the pointer moves and old nights are dropped."""

import threading
import time
from collections.abc import Callable

from portrait.config import Settings
from portrait.profiles.build import build
from portrait.profiles.publish import audit, load, publish, rollback
from portrait.run import Run
from portrait.warehouse import Warehouse
from sqlalchemy import text

CUSTOMERS = 50
QUERY = text(
    """
    select count(*) as customers, min(p.region) as region, max(p.region) as other_region,
           min(r.value_type) as value_type, max(r.value_type) as other_value_type
    from profile.customer_profile p
    join profile.rfm r using (customer_id)
    """
)


class Reader(threading.Thread):
    """Queries in a loop until told to stop; remembers what it saw and the longest wait."""

    def __init__(self, warehouse: Warehouse, stop: threading.Event) -> None:
        super().__init__(daemon=True)
        self.warehouse, self.stop = warehouse, stop
        self.seen: set[tuple] = set()
        self.queries, self.longest_s = 0, 0.0
        self.error: Exception | None = None

    def run(self) -> None:
        try:
            with self.warehouse.engine.connect() as connection:
                while not self.stop.is_set():
                    started = time.perf_counter()
                    with connection.begin():
                        self.seen.add(tuple(connection.execute(QUERY).one()))
                    self.longest_s = max(self.longest_s, time.perf_counter() - started)
                    self.queries += 1
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
