"""Naming a segment by what distinguishes its customers from everybody else."""

from collections.abc import Iterator

import numpy as np
import pandas as pd

TRAITS: dict[tuple[str, str], str] = {
    ("spending_tier", "high"): "high spenders",
    ("spending_tier", "mid"): "medium spenders",
    ("spending_tier", "low"): "low spenders",
    ("lifecycle", "prospect"): "not yet buying",
    ("lifecycle", "new"): "new customers",
    ("lifecycle", "active"): "active",
    ("lifecycle", "at_risk"): "at risk",
    ("lifecycle", "dormant"): "dormant",
    ("lifecycle", "lost"): "lost",
}
"""How a value of a profile column reads in a name."""


def name_segments(customers: pd.DataFrame) -> dict[int, str]:
    """A name a segment: favourite category, then spending tier or lifecycle.

    Of each, the value that tells the segment apart best is taken: the largest share * log(share / share of
    all), the value's part in the Kullback-Leibler divergence. "Dairy lovers, high spenders"; a name already
    given to a smaller number is made longer until it is unique.

    Parameters
    ----------
    customers : segment_id, favourite_category, spending_tier, lifecycle; one row a customer, nulls allowed.
    """
    names: dict[int, str] = {}
    for number, members in customers.groupby("segment_id", sort=True):
        taken = set(names.values())
        names[int(number)] = next(n for n in _candidates(int(number), members, customers) if n not in taken)
    return names


def _candidates(number: int, members: pd.DataFrame, everybody: pd.DataFrame) -> Iterator[str]:
    categories = [
        c for c, _ in distinguishing(members["favourite_category"], everybody["favourite_category"])
    ]
    scored = [
        (score, TRAITS[column, value])
        for column in ("spending_tier", "lifecycle")
        for value, score in distinguishing(members[column], everybody[column])
        if (column, value) in TRAITS
    ]
    traits = [text for _, text in sorted(scored, key=lambda pair: (-pair[0], pair[1]))]
    taste = f"{categories[0]} lovers" if categories else "Mixed tastes"
    for length in range(min(1, len(traits)), len(traits) + 1):
        yield ", ".join([taste, *traits[:length]])
    for category in categories[1:]:
        yield ", ".join([f"{categories[0]} and {category} lovers", *traits[:1]])
    yield ", ".join([taste, *traits[:1], f"group {number}"])


def distinguishing(members: pd.Series, everybody: pd.Series) -> list[tuple[str, float]]:
    """Values more frequent among the members than among all, with their score, the highest first."""
    share = members.value_counts() / len(members)
    overall = (everybody.value_counts() / len(everybody)).reindex(share.index)
    scores = share * np.log(share / overall)
    return sorted(
        ((str(v), float(s)) for v, s in scores.items() if s > 0), key=lambda pair: (-pair[1], pair[0])
    )
