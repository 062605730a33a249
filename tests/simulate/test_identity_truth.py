"""Every identifier in the files belongs to exactly the person the truth says, but for the shared ones."""

from typing import Any

import pandas as pd
import pytest
from portrait.purposes import CODES


@pytest.fixture(scope="module")
def owner(simulated: Any) -> pd.Series:
    """person_id by (kind, value), shared identifiers left out."""
    truth, shared = simulated.truth("identifiers"), simulated.truth("shared")
    truth = truth[~truth["value"].isin(shared["value"])]
    assert not truth.duplicated(["kind", "value"]).any()
    return truth.set_index(["kind", "value"])["person_id"]


def phones(column: pd.Series) -> pd.Series:
    return column.str.replace(r"\D", "", regex=True).str.replace(r"^86(?=1\d{10}$)", "", regex=True)


def emails(column: pd.Series) -> pd.Series:
    return column.str.strip().str.lower()


def owners(owner: pd.Series, kind: str, values: pd.Series) -> pd.Series:
    """The owner of each value; fails on a value that the truth does not know."""
    given = values.dropna()
    found = given.map(owner[kind])
    assert found.notna().all(), (kind, given[found.isna()].head())
    return found


def agree(*columns: pd.Series) -> None:
    table = pd.concat(columns, axis=1)
    assert (table.nunique(axis=1) == 1).all()


def test_members(simulated: Any, owner: pd.Series) -> None:
    rows = simulated.csv("members")
    assert rows["card_no"].is_unique
    assert rows["card_no"].str.fullmatch(r"\d{12}").all()
    agree(
        owners(owner, "card_no", rows["card_no"]),
        owners(owner, "phone", phones(rows["phone"])),
        owners(owner, "email", emails(rows["email"])),
    )


def test_accounts(simulated: Any, owner: pd.Series) -> None:
    rows = simulated.jsonl("accounts")
    assert rows["account_id"].is_unique
    agree(
        owners(owner, "account_id", rows["account_id"]),
        owners(owner, "card_no", rows["card_no"]),
        owners(owner, "phone", phones(rows["phone"])),
        owners(owner, "email", emails(rows["email"])),
    )


def test_receipts(simulated: Any, owner: pd.Series) -> None:
    rows = simulated.csv("receipts")
    shared = set(simulated.truth("shared")["value"])
    phone = phones(rows["phone"])
    phone = phone[~phone.isin(shared)]
    card, by_phone = owners(owner, "card_no", rows["card_no"]), owners(owner, "phone", phone)
    both = pd.concat([card, by_phone], axis=1, join="inner")
    assert len(both) > 100
    assert (both.iloc[:, 0] == both.iloc[:, 1]).all()
    assert (by_phone.index.difference(card.index)).size > 50  # the card forgotten, the phone typed in


def test_events(simulated: Any, good_events: pd.DataFrame, owner: pd.Series) -> None:
    shared = set(simulated.truth("shared")["value"])
    account = owners(owner, "account_id", good_events["account_id"])
    device = good_events["device_id"]
    assert device.notna().all()
    by_device = owners(owner, "device_id", device[~device.isin(shared)])
    both = pd.concat([account, by_device], axis=1, join="inner")
    assert (both.iloc[:, 0] == both.iloc[:, 1]).all()
    on_shared = good_events[device.isin(shared)].groupby("device_id")["account_id"].nunique()
    assert on_shared.max() == 2
    assert good_events.groupby("session_id")["device_id"].nunique().max() == 1


def test_consents(simulated: Any, owner: pd.Series) -> None:
    rows = simulated.jsonl("consents")
    assert rows["consent_id"].is_unique
    assert (rows["account_id"].notna() ^ rows["card_no"].notna()).all()
    owners(owner, "account_id", rows["account_id"])
    owners(owner, "card_no", rows["card_no"])
    assert set(rows["purpose"]) == set(CODES)
    for purpose in ("profiling_inference", "personalised_recommendation"):
        assert 0.8 < rows[rows["purpose"] == purpose]["granted"].mean() < 0.92
    joined = rows[rows["evidence"].str.match(r"(membership form|app registration) 20\d\d\.[1-4]$")]
    assert (joined["account_id"].notna() == joined["evidence"].str.startswith("app")).all()
    later = rows.drop(joined.index)["evidence"]
    assert later.str.match(r"(store desk|app privacy settings) 20\d\d\.[1-4]$").all()
    assert rows["granted"].dtype == bool


def test_some_people_cannot_be_linked_by_phone(simulated: Any) -> None:
    numbers = simulated.truth("identifiers").query("kind == 'phone'").groupby("person_id").size()
    assert numbers.max() == 2
    assert (numbers == 2).any()


def test_first_delivery_has_all_earlier_members_and_later_ones_the_new(simulated: Any) -> None:
    rows = simulated.csv("members")
    first = rows["delivered"] == str(simulated.retailer.start)
    assert (rows[first]["joined_at"].str[:10] <= rows[first]["delivered"]).all()
    assert (rows[~first]["joined_at"].str[:10] == rows[~first]["delivered"]).all()
    assert (~first).sum() > 50
