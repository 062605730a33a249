"""Receipts add up and are keyed as a till would key them."""

from decimal import Decimal
from typing import Any

import pandas as pd
import pytest

KEY = ["store_id", "workstation_id", "sequence_number", "business_date"]


@pytest.fixture(scope="module")
def slips(simulated: Any) -> pd.DataFrame:
    rows = simulated.csv("receipts")
    return rows[rows["sequence_number"].astype(int) < 500_000]


@pytest.fixture(scope="module")
def lines(simulated: Any) -> pd.DataFrame:
    rows = simulated.csv("receipt_lines")
    rows = rows[rows["line_number"].astype(int) < 500]
    for name in ("unit_price", "discount_amount", "line_amount", "quantity"):
        rows[name] = rows[name].map(Decimal)
    return rows


def test_natural_keys(slips: pd.DataFrame, lines: pd.DataFrame) -> None:
    assert not slips.duplicated(KEY).any()
    assert not lines.duplicated([*KEY, "line_number"]).any()


def test_totals_are_the_sums_of_their_lines(slips: pd.DataFrame, lines: pd.DataFrame) -> None:
    total = slips.set_index(KEY)["total_amount"].map(Decimal)
    added = lines.groupby(KEY)["line_amount"].agg(lambda amounts: sum(amounts, Decimal(0)))
    assert set(total.index) == set(added.index)
    assert (added[total.index] == total).all()


def test_lines_are_quantity_times_price_less_discount(lines: pd.DataFrame) -> None:
    worked_out = lines["quantity"] * lines["unit_price"] - lines["discount_amount"]
    assert (worked_out == lines["line_amount"]).all()
    assert (lines["discount_amount"] != 0).any()


def test_returns_are_negative_and_mirror_a_sale(slips: pd.DataFrame, lines: pd.DataFrame) -> None:
    total = slips["total_amount"].astype(float)
    assert ((slips["kind"] == "return") == (total < 0)).all()
    returned = lines.merge(slips[slips["kind"] == "return"][KEY], on=KEY)
    assert len(returned) > 50
    assert (returned["quantity"] < 0).all()
    assert (returned["unit_price"] > 0).all()


def test_sequence_numbers_run_from_one_at_every_till(simulated: Any, slips: pd.DataFrame) -> None:
    day = slips[(slips["business_date"] == "2025-01-11") & (slips["workstation_id"] != "W9")]
    numbers = day.groupby(["store_id", "workstation_id"])["sequence_number"].agg(
        lambda n: sorted(map(int, n))
    )
    assert len(numbers) > 3
    assert all(n == list(range(1, len(n) + 1)) for n in numbers)
    assert simulated.retailer.start.year == 2024


def test_sold_at_lies_in_opening_hours_of_the_business_date(slips: pd.DataFrame) -> None:
    assert (slips["sold_at"].str[:10] == slips["business_date"]).all()
    assert slips["sold_at"].str[11:13].astype(int).between(8, 21).all()
