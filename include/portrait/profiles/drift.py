"""How far the customers as a whole moved since the last published night."""

import logging
import math
from collections import defaultdict
from collections.abc import Mapping

from sqlalchemy import Connection, text

from portrait.profiles.partitions import partition
from portrait.profiles.tables import CUSTOMER_PROFILE
from portrait.run import Run
from portrait.warehouse.alerts import raise_alert

log = logging.getLogger(__name__)

TEXTS = ("lifecycle", "value_type", "spending_tier", "channels", "aipl_stage", "favourite_category")
NUMBERS = ("recency_days", "frequency", "monetary", "average_basket")
ALERT_FROM = 0.25
"""Siddiqi, Credit Risk Scorecards (2006): below .1 nothing, from .25 on a major shift."""
_DECILES = [n / 10 for n in range(1, 10)]
_Counts = dict[str, dict[str | None, int]]


def measure_drift(connection: Connection, run: Run, state: str, before: str | None) -> dict[str, float]:
    """Write the stability index of each column into ops.profile_drift, and an alert where it is large.

    Numbers are compared by the deciles of the earlier night. Nothing is written when there is no earlier night.

    Parameters
    ----------
    state : suffix of the run's loaded tables.
    before : the published run to compare with.

    Returns
    -------
    column -> index, 0 for two nights alike.
    """
    connection.execute(text("delete from ops.profile_drift where run_id = :r"), {"r": run.run_id})
    if before is None:
        return {}
    earlier = f"profile_store.{partition(CUSTOMER_PROFILE.name, before)}"
    current = f"profile_store.{partition(CUSTOMER_PROFILE.name, run.run_id, state)}"
    edges = _deciles(connection, earlier)
    old, new = _counts(connection, earlier, edges), _counts(connection, current, edges)
    found = {name: stability_index(old[name], new[name]) for name in (*TEXTS, *NUMBERS)}
    connection.execute(
        text(
            "insert into ops.profile_drift (run_id, against_run_id, column_name, psi) values (:r, :b, :c, :v)"
        ),
        [{"r": run.run_id, "b": before, "c": name, "v": value} for name, value in found.items()],
    )
    large = {name: value for name, value in found.items() if value >= ALERT_FROM}
    if large:
        named = ", ".join(f"{name} {value:.2f}" for name, value in sorted(large.items()))
        message = (
            f"customers of run {run.run_id} differ much from run {before} (population stability index "
            f"from {ALERT_FROM}): {named}; compare the two with `portrait diff` and look at the sources"
        )
        raise_alert(connection, "profile_drift", message, run.as_of)
    log.info("drift to run %s: at most %.3f", before, max(found.values()))
    return found


def stability_index(before: Mapping[str | None, int], after: Mapping[str | None, int]) -> float:
    """Population stability index: the sum over groups of (q - p) ln(q / p), p and q their shares.

    A group that one side lacks counts as half a customer there. 0 when a side has nobody.

    >>> round(stability_index({"a": 50, "b": 50}, {"a": 60, "b": 40}), 4)
    0.0405
    """
    all_before, all_after = sum(before.values()), sum(after.values())
    if not all_before or not all_after:
        return 0.0
    index = 0.0
    for group in {*before, *after}:
        p = max(before.get(group, 0), 0.5) / all_before
        q = max(after.get(group, 0), 0.5) / all_after
        index += (q - p) * math.log(q / p)
    return index


def _deciles(connection: Connection, table: str) -> dict[str, list[float]]:
    wanted = ", ".join(
        f"percentile_disc(cast(:shares as float8[])) within group (order by {name}::float8) as {name}"
        for name in NUMBERS
    )
    row = connection.execute(text(f"select {wanted} from {table}"), {"shares": _DECILES}).mappings().one()
    # Many alike make one edge of several.
    return {name: sorted(set(row[name] or ())) for name in NUMBERS}


def _counts(connection: Connection, table: str, edges: Mapping[str, list[float]]) -> _Counts:
    """Customers by group of each column, in one scan."""
    columns = [
        *TEXTS,
        *(f"width_bucket({n}::float8, cast(:{n} as float8[]))::text as {n}" for n in NUMBERS if edges[n]),
    ]
    names = [*TEXTS, *(n for n in NUMBERS if edges[n])]
    sets = ", ".join(f"({n})" for n in names)
    which = ", ".join(f"grouping({n}) as has_{n}" for n in names)
    rows = connection.execute(
        text(
            f"select {', '.join(names)}, {which}, count(*) as customers"
            f" from (select {', '.join(columns)} from {table}) t group by grouping sets ({sets})"
        ),
        {n: edges[n] for n in NUMBERS if edges[n]},
    ).mappings()
    found: _Counts = defaultdict(dict)
    for row in rows:
        (name,) = (n for n in names if row[f"has_{n}"] == 0)
        found[name][row[name]] = row["customers"]
    return found
