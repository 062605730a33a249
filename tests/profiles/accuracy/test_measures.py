"""Measures against values worked out by hand."""

from datetime import date
from pathlib import Path

import pandas as pd
import pytest
from portrait.errors import PortraitError
from portrait.profiles.accuracy.judge import BEGIN, END, markdown, write_page
from portrait.profiles.accuracy.measures import (
    Measure,
    auc,
    f1,
    is_gone,
    lifecycle,
    spending_tier,
    strongest_tastes,
    taste,
)


def test_f1_and_auc() -> None:
    assert f1(pd.Series([True, True, False]), pd.Series([True, False, True])) == 0.5
    # Of the pairs (left, stays) 0.9 > 0.5 is right and 0.5 = 0.5 counts half.
    assert auc(pd.Series([0.9, 0.5, 0.5]), pd.Series([True, True, False])) == 0.75
    assert auc(pd.Series([0.9, None, 0.5]), pd.Series([True, True, False])) == 1.0


def test_gone_is_planned_until_the_date() -> None:
    people = pd.DataFrame({"churned_on": [date(2026, 3, 1), date(2026, 3, 2), None]})
    assert is_gone(people, date(2026, 3, 1)).tolist() == [True, False, False]


def test_lifecycle_of_four() -> None:
    """Left: 1 of 2 found, nothing said wrongly: 2/3; staying: 2 of 3 said: 4/5."""
    stage = pd.Series(["lost", "at_risk", "active", "new"])
    gone = pd.Series([True, True, False, False])
    left, stay, macro, weighted = (m.value for m in lifecycle(stage, gone))
    assert (left, stay) == (pytest.approx(2 / 3), pytest.approx(4 / 5))
    assert macro == weighted == pytest.approx((2 / 3 + 4 / 5) / 2)


def test_spending_tier() -> None:
    said, planned = pd.Series(["low", "mid", "high"]), pd.Series(["low", "mid", "mid"])
    ours, thirds, commonest = (m.value for m in spending_tier(said, planned, pd.Series([9.0, 5.0, 1.0])))
    assert (ours, thirds, commonest) == (pytest.approx(2 / 3), pytest.approx(1 / 3), pytest.approx(2 / 3))


def test_tastes() -> None:
    liked = strongest_tastes(["a/Milk", "b/Tea", "a/Milk", "c/Toys", "d/Audio"], [0.2, 0.3, 0.2, 0.1, 0.05])
    assert liked == ["Milk", "Tea", "Toys"]
    affinity = pd.DataFrame(
        {"customer_id": "x", "value": ["Milk", "Rice", "Tea", "Toys"], "rank": [1, 2, 3, 4], "evidence": 2}
    )
    (found,) = taste(affinity, pd.Series({"x": liked}), 1, 0.85)
    assert (found.value, found.customers) == (pytest.approx(2 / 3), 1)
    assert taste(affinity, pd.Series({"x": liked}), 9, None)[0].customers == 0


def test_the_page_says_what_was_missed(tmp_path: Path) -> None:
    table = markdown([Measure("a", 0.5, 10, 0.8), Measure("b", 0.9, 10, 0.8), Measure("c", 0.1, 3)])
    assert "| a | 0.500 | >= 0.8, missed | 10 |" in table
    assert "| b | 0.900 | >= 0.8 | 10 |" in table
    page = tmp_path / "page.md"
    with pytest.raises(PortraitError, match="lacks the lines"):
        write_page(page, table)
    page.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n")
    write_page(page, "new")
    assert page.read_text() == f"before\n{BEGIN}\nnew\n{END}\nafter\n"
