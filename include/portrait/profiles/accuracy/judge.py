"""All measures of a run's profiles, as the page docs/accuracy.md shows them."""

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq

from portrait.config import Settings
from portrait.errors import PortraitError
from portrait.models.profile.predictions import predictions_file
from portrait.profiles.accuracy.measures import (
    Measure,
    auc,
    is_gone,
    lifecycle,
    spending_tier,
    strongest_tastes,
    taste,
)
from portrait.profiles.accuracy.people import person_of_customer, read_truth
from portrait.profiles.rules import SHORTEST_INTERVAL_DAYS
from portrait.profiles.tables import AFFINITY, CUSTOMER_PROFILE, ProfileTable
from portrait.run import Run

BEGIN, END = "<!-- profiles: begin -->", "<!-- profiles: end -->"


def judge(settings: Settings, run: Run, truth: Path | None = None) -> list[Measure]:
    """Every measure of the run's computed profile tables.

    Parameters
    ----------
    truth : the simulator's folder `truth`; that of the workspace's simulated sources unless given.

    Raises
    ------
    PortraitError : when the profiles are not computed yet or there is no truth.
    """
    truth = truth or settings.simulated_dir / "truth"
    people = read_truth(truth, "customers").set_index("person_id")
    owner = person_of_customer(settings, run, truth)
    profile = _table(settings, run, CUSTOMER_PROFILE).set_index("customer_id")
    profile = profile.loc[profile.index.intersection(owner.index)]
    buyers = profile[profile["frequency"] > 0]
    theirs = people.loc[owner[buyers.index]].set_axis(buyers.index)
    gone = is_gone(theirs, run.as_of)
    affinity = _table(settings, run, AFFINITY).query("dimension == 'category'")
    tastes = pd.Series(
        [
            strongest_tastes(c, w)
            for c, w in zip(people["taste_categories"], people["taste_weights"], strict=True)
        ],
        index=people.index,
    )
    tastes = pd.Series(tastes[owner].to_numpy(), index=owner.index)
    return [
        *lifecycle(buyers["lifecycle"], gone),
        *spending_tier(buyers["spending_tier"], theirs["spending_tier"], buyers["average_basket"]),
        *taste(affinity, tastes, 1, 0.85),
        *taste(affinity, tastes, 10, None),
        *taste(affinity, tastes, 30, None),
        *_churn(settings, run, buyers, gone),
    ]


def _churn(settings: Settings, run: Run, buyers: pd.DataFrame, gone: pd.Series) -> list[Measure]:
    """AUC of each score of having left, over all buyers and over those who bought on two days."""
    interval = buyers["interpurchase_days"]
    interval = interval.fillna(interval.median()).clip(lower=SHORTEST_INTERVAL_DAYS)
    unseen = (pd.Timestamp(run.as_of) - pd.to_datetime(buyers["last_seen_on"])).dt.days
    scores = {
        "RFM only: recency": buyers["recency_days"],
        "RFM only: sum of the three scores": -(buyers["r_score"] + buyers["f_score"] + buyers["m_score"]),
        "BG/NBD: 1 - p_alive": -buyers["p_alive"],
        "BG/NBD: fewest expected orders": -buyers["expected_orders_90d"],
        "lifecycle: days unseen by own interval": np.minimum(unseen, buyers["recency_days"]) / interval,
    }
    path = predictions_file(settings, run)
    if path.is_file():
        predicted = pd.read_parquet(path).set_index("customer_id")["churn_probability"]
        scores["profile model: churn_probability"] = predicted.reindex(buyers.index)
    again = buyers["interpurchase_days"].notna()
    found = []
    for name, score in scores.items():
        found.append(Measure(f"left, AUC of {name}", auc(score, gone), int(score.notna().sum())))
        some = score[again]
        found.append(
            Measure(f"left, AUC of {name}, repeat buyers", auc(some, gone[again]), int(some.notna().sum()))
        )
    return found


def _table(settings: Settings, run: Run, table: ProfileTable) -> pd.DataFrame:
    path = table.file(settings, run)
    if not path.is_file():
        raise PortraitError(f"{path}: no such file; run `portrait profile` for {run.as_of} first")
    return pq.read_table(path).to_pandas()


def markdown(measures: list[Measure]) -> str:
    """The measures as a table of the page."""
    lines = ["| | value | promised | customers |", "|---|---:|---:|---:|"]
    for m in measures:
        target = "" if m.target is None else f">= {m.target:g}" + ("" if m.value >= m.target else ", missed")
        value = "not known" if np.isnan(m.value) else f"{m.value:.3f}"
        lines.append(f"| {m.name} | {value} | {target} | {m.customers:,} |")
    return "\n".join(lines)


def write_page(page: Path, table: str) -> None:
    """Put the table between the page's marks.

    Raises
    ------
    PortraitError : when the page has no marks.
    """
    text = page.read_text(encoding="utf-8") if page.is_file() else ""
    if BEGIN not in text or END not in text:
        raise PortraitError(f"{page}: lacks the lines {BEGIN} and {END}; add them where the table belongs")
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    page.write_text(f"{before}{BEGIN}\n{table}\n{END}{after}", encoding="utf-8")
