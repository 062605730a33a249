"""Each guard by hand: unique kinds, caps in a window, numbers handed on, blocked values, manual rules, explain()."""

from collections.abc import Callable
from datetime import date, timedelta
from typing import Any

import pyarrow.parquet as pq
import pytest
from portrait.config import Settings
from portrait.errors import PortraitError
from portrait.identity import add_rule, map_path, resolve, revoke_rule
from portrait.identity.blocked import stored_value
from portrait.run import Run
from portrait.warehouse import Warehouse

D = date(2026, 3, 1)
AddRaw = Callable[..., int]


def day(n: int) -> date:
    return D + timedelta(days=n)


class Shop:
    def __init__(self, settings: Settings, warehouse: Warehouse, add_raw: AddRaw) -> None:
        self.settings, self.warehouse, self._add_raw, self._n = settings, warehouse, add_raw, 0

    def guard(self, **changes: Any) -> None:
        identity = self.settings.identity.model_copy(update=changes)
        self.settings = self.settings.model_copy(update={"identity": identity})

    def receipt(self, on: date, **row: str) -> None:
        self._n += 1
        key = {"store_id": "s", "workstation_id": "1", "sequence_number": self._n, "business_date": on}
        self._add_raw("pos_receipt", [{**key, "occurred_at": on, "kind": "sale", "total_amount": 1, **row}])

    def event(self, on: date, **row: str) -> None:
        self._n += 1
        event = {"event_id": f"e{self._n}", "event_name": "product_viewed", "occurred_at": on}
        self._add_raw("online_event", [{**event, "business_date": on, **row}])

    def member(self, on: date, **row: Any) -> None:
        self._n += 1
        self._add_raw("member", [{"member_id": f"m{self._n}", "business_date": on, **row}])

    def resolve(self, on: date, rebuild: bool = False) -> dict[tuple[str, str], str]:
        """Today's customers by identifier."""
        run = Run(f"{on}.1", on)
        resolve(self.settings, run, rebuild=rebuild)
        return {(r["kind"], r["value"]): r["customer_id"] for r in self.rows(on) if r["valid_to"] is None}

    def rows(self, on: date) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = pq.read_table(map_path(self.settings, Run(f"{on}.1", on))).to_pylist()
        return rows

    def audit(self, on: date) -> list[tuple[Any, ...]]:
        rows = self.warehouse.rows(
            "select kind, value, touched_kind, touched, cap, reason from identity.cardinality_audit where as_of = :d "
            "order by kind, value, reason",
            d=on,
        )
        return [tuple(r.values()) for r in rows]


@pytest.fixture
def shop(settings: Settings, warehouse: Warehouse, add_raw: AddRaw) -> Shop:
    return Shop(settings, warehouse, add_raw)


def test_two_cards_never_merge_through_a_phone(shop: Shop) -> None:
    """The phone goes with the card that more rows show it with; the other link is cut and logged."""
    shop.receipt(D, card_hash="c1", phone_hash="p")
    for _ in range(2):
        shop.receipt(D, card_hash="c2", phone_hash="p")
    found = shop.resolve(D)
    assert found["card", "c1"] != found["card", "c2"] == found["phone", "p"]
    assert shop.audit(D) == [("phone", "p", "card", 2, 1, "unique")]
    (evidence,) = shop.warehouse.scalar("select evidence from identity.cardinality_audit")
    assert (evidence["value"], evidence["entity"], evidence["source"]) == ("c1", "pos_receipt", "test")
    assert evidence["source_row_id"] == "s|1|1|2026-03-01"


def test_a_chain_between_two_cards_is_cut_at_its_weakest_link(shop: Shop) -> None:
    shop.member(D, card_hash="c1", account_id="a", phone_hash="p1")
    shop.member(D, card_hash="c2", phone_hash="p2")
    shop.event(D, account_id="a", device_id="d")
    shop.event(D, phone_hash="p2", device_id="d")
    found = shop.resolve(D)
    assert found["card", "c1"] == found["account", "a"] == found["device", "d"]
    assert found["card", "c2"] == found["phone", "p2"] != found["card", "c1"]
    assert shop.audit(D) == [("device", "d", "card", 2, 1, "unique")]


def test_a_stronger_kind_may_join_two_of_a_unique_kind(shop: Shop) -> None:
    shop.guard(unique=("card", "account"))
    shop.member(D, card_hash="c", account_id="a1")
    shop.member(D, card_hash="c", account_id="a2")
    shop.event(D, account_id="a3", phone_hash="p")
    shop.event(D, account_id="a4", phone_hash="p")
    found = shop.resolve(D)
    assert found["account", "a1"] == found["account", "a2"]
    assert found["account", "a3"] != found["account", "a4"]


def test_the_most_of_a_kind(shop: Shop) -> None:
    shop.guard(per_customer={"device": 2})
    for device in ("d1", "d2", "d3"):
        shop.event(D, account_id="a", device_id=device)
    shop.event(D, account_id="a", device_id="d3")
    shop.event(D, account_id="a", device_id="d2")
    found = shop.resolve(D)
    assert found["device", "d2"] == found["device", "d3"] == found["account", "a"] != found["device", "d1"]
    assert shop.audit(D) == [("device", "d1", "device", 3, 2, "per_customer")]


@pytest.mark.parametrize(("apart", "demoted"), [(180, True), (181, False)])
def test_a_cap_counts_within_its_window(shop: Shop, apart: int, demoted: bool) -> None:
    shop.guard(unique=(), expires={})
    last = day(apart)
    shop.receipt(D, card_hash="c1", phone_hash="p")
    shop.receipt(D, card_hash="c2", phone_hash="p")
    shop.receipt(last, card_hash="c3", phone_hash="p")
    assert (("phone", "p") not in shop.resolve(last)) == demoted


def test_a_number_that_was_handed_on(shop: Shop) -> None:
    shop.member(D, card_hash="old", phone_hash="p", email_hash="e1")
    before = shop.resolve(D)
    later = day(200)
    shop.member(later, card_hash="new", phone_hash="p", email_hash="e2")
    found = shop.resolve(later)
    assert found["card", "old"] == found["email", "e1"] == before["card", "old"]
    assert found["card", "new"] == found["phone", "p"] == found["email", "e2"] != found["card", "old"]
    times = sorted(
        (r["valid_from"] or date.min, r["valid_to"], r["customer_id"])
        for r in shop.rows(later)
        if r["value"] == "p"
    )
    assert times == [(date.min, later, found["card", "old"]), (later, None, found["card", "new"])]
    ended = shop.warehouse.rows(
        "select kind_b, valid_to from identity.edge where valid_to is not null or kind_a = 'x'"
    )
    assert [r["valid_to"] for r in ended] == [later, later]
    owner = shop.warehouse.rows("select customer_id, owned_until from identity.earlier_owner")
    assert owner == [{"customer_id": found["card", "old"], "owned_until": later}]


def test_a_link_that_ended_stays_ended(shop: Shop) -> None:
    """The device is seen again by itself, in a night that does not look at the number, which is another block's by now."""
    phone = shop.settings.identity.expires["phone"].model_copy(update={"after_days": 5})
    shop.guard(expires={"phone": phone}, per_customer={"device": 2, "phone": 2})
    shop.member(day(0), card_hash="c1", phone_hash="p")
    shop.event(day(4), account_id="a1", device_id="d")
    shop.resolve(day(5))
    shop.receipt(day(7), card_hash="c1")
    shop.event(day(9), account_id="a2", device_id="d", phone_hash="p")
    shop.receipt(day(13), card_hash="c2", phone_hash="p")
    shop.resolve(day(14))
    ends = "select kind_a, kind_b, valid_to from identity.edge where valid_to is not null order by 1, 2"
    ended = shop.warehouse.rows(ends)
    assert {"kind_a": "device", "kind_b": "phone", "valid_to": day(13)} in ended
    shop.event(day(16), device_id="d")
    shop.resolve(day(20))
    assert shop.warehouse.rows(ends) == ended


def test_a_new_account_of_the_same_person_is_no_new_owner(shop: Shop) -> None:
    shop.member(D, card_hash="c", phone_hash="p")
    shop.resolve(D)
    shop.receipt(day(190), card_hash="c")
    shop.event(day(200), account_id="a", phone_hash="p")
    found = shop.resolve(day(200))
    assert found["card", "c"] == found["account", "a"]


def test_browsing_before_the_first_login(shop: Shop) -> None:
    shop.event(day(0), device_id="d")
    shop.event(day(50), device_id="d")
    shop.event(day(60), device_id="d", account_id="a")
    shop.event(day(60), device_id="e")
    shop.resolve(day(60))
    since = {r["value"]: r["valid_from"] for r in shop.rows(day(60))}
    assert since == {"d": day(30), "a": None, "e": None}


def test_blocked_values_stand_for_nobody(shop: Shop) -> None:
    number = stored_value(shop.settings, "phone", "138 0013 8000")
    assert number is not None
    shop.receipt(D, card_hash="c1", phone_hash=number)
    shop.event(D, account_id="anonymous", device_id="d")
    assert set(shop.resolve(D)) == {("card", "c1"), ("device", "d")}
    assert shop.audit(D) == []


def test_manual_rules_have_the_last_word(shop: Shop) -> None:
    shop.receipt(D, card_hash="c1", phone_hash="p")
    shop.receipt(D, card_hash="c2")
    first = shop.resolve(D)
    must = add_rule(shop.settings, "must_link", ("card", "v1:c1"), ("card", "v1:c2"), "same person", "anna")
    shop.warehouse.execute(
        "update identity.manual_rule set value_a = substr(value_a, 4), value_b = substr(value_b, 4)"
    )
    joined = shop.resolve(day(1))
    assert len(set(joined.values())) == 1
    assert shop.warehouse.rows("select rule, source from identity.explain('card', 'c1', 'card', 'c2')") == [
        {"rule": "manual_rule", "source": "anna"}
    ]
    revoke_rule(shop.settings, must)
    assert shop.resolve(day(2)) == first
    add_rule(shop.settings, "cannot_link", ("account", "a"), ("device", "d"), "a loan", "anna")
    shop.event(day(3), account_id="a", device_id="d")
    found = shop.resolve(day(3))
    assert found["account", "a"] != found["device", "d"]
    assert shop.audit(day(3)) == [("device", "d", "account", 2, 1, "cannot_link")]
    assert shop.resolve(day(3), rebuild=True) == found


def test_rules_are_hashed_and_checked(shop: Shop) -> None:
    rule = add_rule(
        shop.settings, "cannot_link", ("phone", "138 0000 0001"), ("email", "A@b.cn"), "why", "who"
    )
    stored = shop.warehouse.rows(
        "select value_a, value_b from identity.manual_rule where rule_id = :r", r=rule
    )
    assert stored == [
        {
            "value_a": stored_value(shop.settings, "email", "a@b.cn"),
            "value_b": stored_value(shop.settings, "phone", "+8613800000001"),
        }
    ]
    with pytest.raises(PortraitError, match="says cannot_link"):
        add_rule(shop.settings, "must_link", ("email", "a@B.cn"), ("phone", "13800000001"), "why", "who")
    with pytest.raises(PortraitError, match="is no phone"):
        add_rule(shop.settings, "must_link", ("phone", "x"), ("card", "1"), "why", "who")
    with pytest.raises(PortraitError, match="a reason"):
        add_rule(shop.settings, "must_link", ("card", "12"), ("card", "13"), " ", "who")
    revoke_rule(shop.settings, rule)
    with pytest.raises(PortraitError, match="no rule"):
        revoke_rule(shop.settings, rule)


def test_explain(shop: Shop) -> None:
    shop.member(D, card_hash="c", phone_hash="p")
    shop.event(D, account_id="a", phone_hash="p")
    shop.event(day(1), account_id="a", device_id="d")
    found = shop.resolve(day(1))
    chain = shop.warehouse.rows("select * from identity.explain('card', 'c', 'device', 'd')")
    steps = [
        (r["step"], r["from_value"], r["to_value"], r["rule"], r["source_row_id"], r["first_seen"])
        for r in chain
    ]
    assert steps == [
        (1, "c", "p", "member", "m1", D),
        (2, "p", "a", "online_event", "e2", D),
        (3, "a", "d", "online_event", "e3", day(1)),
    ]
    whole = shop.warehouse.rows("select * from identity.explain(:c)", c=found["card", "c"])
    assert [(r["value_a"], r["value_b"]) for r in whole] == [("c", "p"), ("p", "a"), ("a", "d")]
    assert shop.warehouse.rows("select * from identity.explain('card', 'c', 'card', 'nobody')") == []


def test_an_identifier_cannot_have_two_customers(shop: Shop, warehouse: Warehouse) -> None:
    shop.receipt(D, card_hash="c", phone_hash="p")
    shop.resolve(D)
    for bad in (
        "insert into identity.assignment (identifier_id, turn, customer_id, valid_from) values (0, 2, 'C2', '2026-04-01')",
        "insert into identity.assignment (identifier_id, turn, customer_id, valid_from) values (0, 1, 'C2', '2026-04-01')",
        "update identity.assignment set valid_to = '2026-05-01' where identifier_id = 0; "
        "insert into identity.assignment (identifier_id, turn, customer_id, valid_from) values (0, 2, 'C2', '2026-04-01')",
    ):
        with pytest.raises(
            Exception, match="earlier_turn_has_ended|assignment_pkey|one_customer_at_any_instant"
        ):
            warehouse.execute(bad)
