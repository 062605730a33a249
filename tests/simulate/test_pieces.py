"""The small pieces, each against values worked out by hand."""

import json
from datetime import date

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from portrait.simulate import Retailer
from portrait.simulate.assortment import DEMAND, SHELVES, build_assortment, gtin13
from portrait.simulate.choice import explore
from portrait.simulate.columns import mix, scatter, within
from portrait.simulate.event_delivery import money
from portrait.simulate.files import json_lines
from portrait.simulate.identifiers import hex16, odd_phones
from portrait.simulate.orders import first_of_each
from portrait.simulate.receipts import _running_number

TINY = Retailer(customers=10, products=200, stores=2)


@pytest.mark.parametrize(
    ("digits", "code"),
    [(400638133393, "4006381333931"), (690123456789, "6901234567892"), (0, "0000000000000")],
)
def test_gtin_check_digit(digits: int, code: str) -> None:
    assert gtin13(digits) == code


def test_within_numbers_the_rows_of_each_group() -> None:
    assert within(np.array([2, 0, 3])).tolist() == [0, 1, 0, 1, 2]


def test_running_number_follows_the_time_at_each_till() -> None:
    till, second = np.array([7, 3, 7, 3, 7]), np.array([50, 20, 10, 30, 40])
    assert _running_number(till, second).tolist() == [3, 1, 1, 2, 2]


def test_first_of_each_keeps_one_line_a_product() -> None:
    assert first_of_each(np.array([0, 0, 0, 1]), np.array([5, 2, 5, 5]), 10).tolist() == [0, 1, 3]


def test_scatter_and_mix_are_one_to_one() -> None:
    number = np.arange(100_000)
    assert len(np.unique(scatter(number, 999_999_937, 15_485_863, 331))) == len(number)
    assert len(np.unique(mix(number))) == len(number)
    text = hex16(number)
    assert len(text.unique()) == len(number)
    assert int(text[77].as_py(), 16) == int.from_bytes(int(mix(number)[77]).to_bytes(8, "little"), "big")


def test_money_has_two_decimals() -> None:
    values = money(np.array([5, -1999, 10_000, 1]), np.array([False, False, False, True]))
    assert values.cast(pa.string()).to_pylist() == ["0.05", "-19.99", "100.00", None]


def test_json_lines_are_json() -> None:
    table = pa.table({"a": ["x", None, "软糖"], "b": [1, None, 3], "c": [True, False, None]})
    read = [json.loads(line) for line in json_lines(table).to_pylist()]
    assert read == table.to_pylist()
    assert json_lines(table.slice(1, 1)).to_pylist() == ['{"a":null,"b":null,"c":false}\n']


def test_odd_phones_keep_their_digits(rng: np.random.Generator) -> None:
    phones = pa.array(["13912345678", None] * 300)
    odd, which = odd_phones(phones, rng, 0.5)
    written = set(odd.to_pylist())
    assert written == {
        None, "13912345678", "139 1234 5678", "139-1234-5678", "+86 13912345678", "+8613912345678",
    }  # fmt: skip
    assert which.sum() == sum(1 for o, p in zip(odd.to_pylist(), phones.to_pylist(), strict=True) if o != p)


def test_explore_follows_the_weights_within_the_range(rng: np.random.Generator) -> None:
    assortment = build_assortment(TINY)
    n, segment, shelf = 40_000, 17, 30
    low, high = int(assortment.shelf_from[shelf]), int(assortment.shelf_to[shelf])
    drawn = explore(assortment, rng, np.full(n, segment), np.full(n, low), np.full(n, high))
    weights = np.diff(assortment.cumulative, prepend=0).reshape(-1, assortment.size)[segment, low:high]
    share = np.bincount(drawn - low, minlength=high - low) / n
    assert drawn.min() >= low
    assert drawn.max() < high
    np.testing.assert_allclose(share, weights / weights.sum(), atol=0.015)


def test_assortment_is_well_formed() -> None:
    assortment = build_assortment(TINY)
    table = assortment.table.to_pandas()
    assert table["sku"].is_unique
    assert table["gtin"].is_unique
    assert all(gtin13(int(code[:12])) == code for code in table["gtin"])
    assert table.groupby(["category_1", "category_2"]).ngroups == len(SHELVES) == 48
    assert table["name_zh"].str.contains(r"[\u4e00-\u9fff]").all()
    assert table["list_price"].astype(float).min() >= 0.9
    assert DEMAND.sum() == pytest.approx(1)
    assert (pd.to_datetime(table["launched_on"]) < pd.Timestamp(date(2026, 1, 1))).all()
    # blocks are one brand on one shelf
    for start, end in zip(assortment.block_from, assortment.block_to, strict=True):
        assert table.iloc[start:end].groupby(["category_2", "brand"]).ngroups == 1
