"""The measures: each compares what the profile says with what the simulator planned, never with what it delivered."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date

import numpy as np
import pandas as pd

GONE_STAGES = ("dormant", "lost")
TOP = 3


@dataclass(frozen=True)
class Measure:
    """One line of the table.

    Attributes
    ----------
    customers : how many it was measured on.
    target : what was promised; None for figures to compare with.
    """

    name: str
    value: float
    customers: int
    target: float | None = None


def is_gone(people: pd.DataFrame, as_of: date) -> pd.Series:
    """Whether the simulator had made a person leave by `as_of`: `churned_on`, which one-off buyers have, too."""
    left = pd.to_datetime(people["churned_on"])
    return left.notna() & (left <= pd.Timestamp(as_of))


def lifecycle(stage: pd.Series, gone: pd.Series) -> list[Measure]:
    """F1 of gone (dormant, lost) and staying (new, active, returned, at_risk) buyers, and their means."""
    said = stage.isin(GONE_STAGES)
    number = len(stage)
    scores = [f1(said, gone), f1(~said, ~gone)]
    shares = [gone.mean(), 1 - gone.mean()]
    return [
        Measure("lifecycle: F1 of customers who left", scores[0], number),
        Measure("lifecycle: F1 of customers who stay", scores[1], number),
        Measure("lifecycle: macro F1", float(np.mean(scores)), number, 0.8),
        Measure("lifecycle: F1 weighted by class", float(np.dot(scores, shares)), number),
    ]


def f1(said: pd.Series, true: pd.Series) -> float:
    """Harmonic mean of precision and recall; 0 when neither said nor true.

    >>> f1(pd.Series([True, True, False]), pd.Series([True, False, True]))
    0.5
    """
    both = int((said & true).sum())
    return 2 * both / max(int(said.sum() + true.sum()), 1)


def spending_tier(said: pd.Series, planned: pd.Series, basket: pd.Series) -> list[Measure]:
    """Share of buyers whose tier is the planned one; beside it thirds of the average basket and the largest tier."""
    thirds = pd.qcut(basket.rank(method="first"), 3, labels=["low", "mid", "high"]).astype(str)
    return [
        Measure("spending tier: accuracy", float((said == planned).mean()), len(said), 0.85),
        Measure("spending tier: thirds of the average basket", float((thirds == planned).mean()), len(said)),
        Measure(
            "spending tier: the commonest tier for all",
            float(planned.value_counts(normalize=True).iloc[0]),
            len(said),
        ),
    ]


def strongest_tastes(categories: Iterable[str], weights: Iterable[float]) -> list[str]:
    """The up to three second-level categories that a person was planned to like most; a category named twice adds up."""
    total: dict[str, float] = {}
    for category, weight in zip(categories, weights, strict=True):
        second = category.split("/")[1]
        total[second] = total.get(second, 0.0) + weight
    return sorted(total, key=lambda c: (-total[c], c))[:TOP]


def taste(affinity: pd.DataFrame, tastes: pd.Series, least: int, target: float | None) -> list[Measure]:
    """Mean share of a person's three strongest tastes among the customer's three strongest categories.

    Parameters
    ----------
    affinity : customer_id, value, rank, evidence of the dimension category.
    tastes : `strongest_tastes` by customer_id.
    least : events and purchases there must be behind a customer's categories.
    """
    evidence = affinity.groupby("customer_id")["evidence"].sum()
    known = evidence[evidence >= least].index.intersection(tastes.index)
    top = affinity[affinity["rank"] <= TOP].groupby("customer_id")["value"].agg(set)
    found = [len(set(tastes[c]) & top[c]) / len(tastes[c]) for c in known]
    name = f"top-3 categories: recall, {least} and more events" if least > 1 else "top-3 categories: recall"
    return [Measure(name, float(np.mean(found)) if found else float("nan"), len(found), target)]


def auc(score: pd.Series, true: pd.Series) -> float:
    """Area under the ROC curve of a score, where it is known: how often one who left has more of it than one who stays.

    >>> auc(pd.Series([0.9, 0.5, 0.5]), pd.Series([True, True, False]))
    0.75
    """
    known = score.notna()
    rank, left = score[known].rank(), true[known]
    n, rest = int(left.sum()), int((~left).sum())
    if not n or not rest:
        return float("nan")
    return float((rank[left].sum() - n * (n + 1) / 2) / (n * rest))
