"""Undoing a merge: customers who were joined and now come apart along the same line get their own ids back."""

from collections import defaultdict
from datetime import date

import numpy as np

from portrait.warehouse import Transaction

NOBODY = -1


def returning(
    record: Transaction,
    as_of: date,
    codes: np.ndarray,
    component: np.ndarray,
    previous: np.ndarray,
    customers: list[str],
) -> tuple[np.ndarray, dict[str, str]]:
    """Whose each node was before its customer took others in, where tonight's parts follow that line.

    Parameters
    ----------
    codes, component, previous : int [n], identifier, tonight's component and last night's customer of each node.
    customers : last night's customers, what `previous` points into.

    Returns
    -------
    `previous` with the ids that come back (positions from ``len(customers)`` on), and for each such id the customer
    that it comes out of.
    """
    known = np.flatnonzero((previous >= 0) & (component >= 0))
    pairs = np.unique(np.stack([previous[known], component[known]], axis=1), axis=0)
    owners, parts = np.unique(pairs[:, 0], return_counts=True)
    split = owners[parts > 1]
    if not len(split):
        return previous, {}
    nodes = known[np.isin(previous[known], split)]
    history = _history(record, as_of, codes[nodes])
    changed = previous.copy()
    back: dict[str, str] = {}
    position = {customer: n for n, customer in enumerate(customers)}
    for owner in split.tolist():
        mine = nodes[previous[nodes] == owner]
        origin = _origins([history.get(int(codes[n]), []) for n in mine], customers[owner])
        if origin is None or not _along_the_line(origin, component[mine]):
            continue
        if any(o in position and o != customers[owner] for o in origin if o is not None):
            continue  # that id is somebody's
        for node, source in zip(mine.tolist(), origin, strict=True):
            if source is None:
                changed[node] = NOBODY
            elif source != customers[owner]:
                changed[node] = (
                    len(customers) + list(back).index(source)
                    if source in back
                    else len(customers) + len(back)
                )
                back.setdefault(source, customers[owner])
    return changed, back


def _history(
    record: Transaction, as_of: date, codes: np.ndarray
) -> dict[int, list[tuple[str, date, date | None]]]:
    """The assignments of identifiers that began before a night, oldest first."""
    listed = ",".join(map(str, np.unique(codes).tolist()))
    rows = record.rows(
        f"select identifier_id, customer_id, valid_from, valid_to from identity.assignment "
        f"where identifier_id = any('{{{listed}}}'::int[]) and valid_from < '{as_of}' order by identifier_id, turn"
    )
    found = defaultdict(list)
    for row in rows:
        found[row["identifier_id"]].append((row["customer_id"], row["valid_from"], row["valid_to"]))
    return found


def _origins(histories: list[list[tuple[str, date, date | None]]], customer: str) -> list[str | None] | None:
    """Whose each identifier was before the first merge into `customer`; None where it joined since, or no merge was."""
    moved = [rows[-2][0] if len(rows) > 1 and rows[-2][2] == rows[-1][1] else None for rows in histories]
    arrivals = [rows[-1][1] for rows, before in zip(histories, moved, strict=True) if rows and before]
    if not arrivals:
        return None
    first = min(arrivals)
    return [
        before or (customer if rows and rows[-1][1] < first else None)
        for rows, before in zip(histories, moved, strict=True)
    ]


def _along_the_line(origin: list[str | None], component: np.ndarray) -> bool:
    """Whether no part mixes origins and no origin is in two parts."""
    pairs = {(o, c) for o, c in zip(origin, component.tolist(), strict=True) if o is not None and c >= 0}
    return len(pairs) > 1 and len(pairs) == len({o for o, _ in pairs}) == len({c for _, c in pairs})
