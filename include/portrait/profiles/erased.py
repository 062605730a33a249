"""Who was erased while a night was at work is not in what it publishes."""

import logging

from sqlalchemy import Connection, text

from portrait.ingest.suppression import CUSTOMER, Suppression
from portrait.profiles.partitions import partition
from portrait.profiles.tables import CUSTOMER_PROFILE, TABLES

log = logging.getLogger(__name__)


def remove_erased(connection: Connection, suppression: Suppression, run_id: str, state: str) -> int:
    """Delete erased customers from a run's loaded tables; gives how many there were.

    The caller holds the pointer: an erasure that begins later finds the run where it looks.
    """
    if not suppression:
        return 0
    profile = partition(CUSTOMER_PROFILE.name, run_id, state)
    ids = connection.execute(text(f"select customer_id from profile_store.{profile}")).scalars()
    erased = sorted(suppression.among(CUSTOMER, ids))
    if erased:
        for table in TABLES.values():
            if table.is_of_customers:
                connection.execute(
                    text(
                        f"delete from profile_store.{partition(table.name, run_id, state)} where customer_id = any(:i)"
                    ),
                    {"i": erased},
                )
        log.info("run %s: %d customers were erased since it began", run_id, len(erased))
    return len(erased)
