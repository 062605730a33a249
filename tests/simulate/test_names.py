"""Names and addresses: as frequent as in life, typed differently in two channels, at the rates that were asked for."""

from typing import Any

import pandas as pd
import pyarrow.compute as pc
import pytest
from portrait.simulate import Dirt, Retailer
from portrait.simulate.names import _SLIP as SLIP
from portrait.simulate.names import ACCOUNT, CARD, CHARACTER, CHARACTER_PINYIN, build_names, typed
from portrait.simulate.world import build_world

N = 20_000


@pytest.fixture(scope="module")
def written() -> dict[str, pd.DataFrame]:
    """What 20,000 people typed at the till, in the app, and without any dirt."""
    retailer = Retailer(customers=N, products=100)
    clean = Retailer(
        customers=N,
        products=100,
        dirt=Dirt(missing_name=0, missing_address=0, odd_name=0, odd_address=0),
    )
    city = build_world(retailer).people.city
    names, true = build_names(retailer, city), build_names(clean, city)
    person = pd.RangeIndex(N).to_numpy()
    return {
        "card": pd.DataFrame(typed(names, person, CARD)[0]),
        "account": pd.DataFrame(typed(names, person, ACCOUNT)[0]),
        "true": pd.DataFrame(typed(true, person, CARD)[0]),
    }


def test_common_names_are_common(written: dict[str, pd.DataFrame]) -> None:
    """Five families are over a quarter of the people, and different people have one name."""
    name = written["true"]["name"]
    assert 0.25 < name.str[0].isin(list("王李张刘陈")).mean() < 0.45
    assert 0.01 < name.str.isascii().mean() < 0.05  # an English given name
    counts = name.value_counts()
    assert (counts > 1).sum() > 500
    assert counts.iloc[0] < 0.002 * N


def test_an_address_is_a_household(written: dict[str, pd.DataFrame]) -> None:
    address = written["true"]["address"]
    assert address.str.fullmatch(r"\w+市\w+?\d+号\d+幢\d+室").all()
    shared = address.duplicated(keep=False)
    assert 0.2 < shared.mean() < 0.3
    families = written["true"][shared].groupby("address")["name"].agg(lambda n: n.str[0].nunique())
    assert 0.3 < (families > 1).mean() < 0.5


@pytest.mark.parametrize("channel", ["card", "account"])
def test_dirt_has_the_rates_asked_for(written: dict[str, pd.DataFrame], channel: str) -> None:
    typed, true, rates = written[channel], written["true"], Dirt()
    for column, missing, odd in (
        ("name", rates.missing_name, rates.odd_name),
        ("address", rates.missing_address, rates.odd_address),
    ):
        given = typed[column].notna()
        assert 1 - given.mean() == pytest.approx(missing, abs=0.01)
        assert (typed[column] != true[column])[given].mean() == pytest.approx(odd, abs=0.015)


def test_names_are_typed_in_every_way(written: dict[str, pd.DataFrame]) -> None:
    both = written["card"].assign(name_true=written["true"]["name"]).dropna()
    chinese = both[~both["name_true"].str.isascii() & (both["name"] != both["name_true"])]
    name, true = chinese["name"], chinese["name_true"]
    mixed = name.str.fullmatch(r"[\u4e00-\u9fff]+[A-Z][a-z]+")
    latin = name.str.fullmatch(r"[A-Z][a-z]+ [A-Z][a-z]+")
    turned = name.map(sorted) == true.map(sorted)
    wrong = (name.str.len() == true.str.len()) & ~turned & ~name.str.isascii() & ~mixed
    assert ((mixed.astype(int) + latin + turned + wrong) == 1).all()
    for way, share in ((mixed, 0.2), (latin, 0.4), (turned, 0.2), (wrong, 0.2)):
        assert way.mean() == pytest.approx(share, abs=0.04)
    short = written["card"]["address"].dropna()
    for left_out in (r"(?!.*市).*", r"(?!.*室).*", r"(?!.*号).*"):
        assert short.str.fullmatch(left_out).mean() == pytest.approx(Dirt().odd_address / 3, abs=0.02)


def test_two_channels_are_typed_independently(written: dict[str, pd.DataFrame]) -> None:
    card, account, true = (written[k]["name"] for k in ("card", "account", "true"))
    odd = (card != true) & card.notna() & account.notna()
    assert (account != true)[odd].mean() == pytest.approx(Dirt().odd_name, abs=0.03)


def test_a_slip_is_another_character_of_the_same_sound() -> None:
    sounds = CHARACTER_PINYIN.to_pylist()
    assert len(set(CHARACTER.to_pylist())) == len(CHARACTER)
    for i, other in enumerate(SLIP):
        assert other != i
        assert sounds[other] == sounds[i] or sounds.count(sounds[i]) == 1
    assert pc.all(pc.match_substring_regex(CHARACTER_PINYIN, "^[a-z]+$")).as_py()


@pytest.mark.parametrize(("kind", "dataset"), [("member", "csv"), ("account", "jsonl")])
def test_the_record_of_dirt_counts_them(simulated: Any, kind: str, dataset: str) -> None:
    rows, planted = getattr(simulated, dataset)(f"{kind}s"), simulated.dirt()
    assert rows["name"].isna().sum() == planted[f"{kind}_missing_names"]
    assert rows["address"].isna().sum() == planted[f"{kind}_missing_addresses"]
    assert planted[f"{kind}_odd_names"] == pytest.approx(0.14 * len(rows), abs=0.04 * len(rows))
    assert planted[f"{kind}_odd_addresses"] == pytest.approx(0.15 * len(rows), abs=0.04 * len(rows))
