"""One reader of `profiles.py`: a customer's profile and recommendations in a loop, until it is told to end (SIGTERM).

A process of its own, with few imports: eight of them start at once. It prints `ready` after its first query, and what it
saw as JSON at the end.
"""

import json
import random
import signal
import sys
import time
from pathlib import Path
from types import FrameType

from sqlalchemy import create_engine, text

READ = text(
    """
    select p.as_of, count(*), min(r.model_version), max(r.model_version)
    from profile.customer_profile p join profile.recommendation r using (customer_id)
    where customer_id = :c group by 1
    """
)
RECOMMENDATIONS = 20
"""Of each customer; `model_version` names their night."""
NOTED_S = 0.02
"""Shorter waits are not written down."""


def main() -> None:
    url, ids = sys.argv[1], Path(sys.argv[2]).read_text().split()
    ended = False

    def end(_: int, __: FrameType | None) -> None:
        nonlocal ended
        ended = True

    signal.signal(signal.SIGTERM, end)
    waits: list[tuple[float, float]] = []
    nights: set[str] = set()
    queries = mixed = empty = 0
    with create_engine(url).connect() as connection:
        connection.execute(READ, {"c": ids[0]}).all()
        connection.commit()
        print("ready", flush=True)
        while not ended:
            at, started = time.time(), time.perf_counter()
            with connection.begin():
                rows = connection.execute(READ, {"c": random.choice(ids)}).all()
            taken = time.perf_counter() - started
            queries += 1
            if taken > NOTED_S:
                waits.append((at, taken))
            if not rows:
                empty += 1
                continue
            as_of, number, first, last = rows[0]
            mixed += (
                len(rows) != 1
                or number != RECOMMENDATIONS
                or first != last
                or not first.startswith(str(as_of))
            )
            nights.add(str(as_of))
    print(
        json.dumps(
            {"queries": queries, "mixed": mixed, "empty": empty, "nights": sorted(nights), "waits": waits}
        )
    )


if __name__ == "__main__":
    main()
