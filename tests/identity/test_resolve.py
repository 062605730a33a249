"""The identity room on real rows: who is one customer, and what a night writes."""

from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

import pyarrow.parquet as pq
import pytest
from portrait.config import Settings
from portrait.identity import IdentityResult, map_path, resolve
from portrait.run import Run
from portrait.warehouse import Warehouse

D1 = date(2026, 3, 1)
D2 = D1 + timedelta(days=1)
D3 = D1 + timedelta(days=2)
AddRaw = Callable[..., int]
TABLES = ("identifier", "edge_row", "assignment", "earlier_owner", "id_change", "cardinality_audit")


def at(day: date, hour: int = 12) -> datetime:
    return datetime.combine(day, time(hour), UTC)


class Night:
    """Adds rows of one day with a short notation and resolves."""

    def __init__(self, settings: Settings, warehouse: Warehouse, add_raw: AddRaw) -> None:
        self.settings, self.warehouse, self._add_raw = settings, warehouse, add_raw
        self._number = 0

    def online(self, day: date, *rows: dict[str, str]) -> None:
        self._add_raw("online_event", [self._event(day, r) for r in rows])

    def _event(self, day: date, row: dict[str, str]) -> dict[str, Any]:
        self._number += 1
        base = {"event_id": f"e{self._number}", "event_name": "product_viewed", "occurred_at": at(day)}
        return {**base, **row, "business_date": day}

    def receipt(self, day: date, **row: str) -> None:
        self._number += 1
        key = {"store_id": "s", "workstation_id": "1", "sequence_number": self._number, "business_date": day}
        self._add_raw(
            "pos_receipt", [{**key, "occurred_at": at(day), "kind": "sale", "total_amount": 1, **row}]
        )

    def member(self, day: date, member_id: str, **row: Any) -> None:
        self._add_raw("member", [{"member_id": member_id, "business_date": day, **row}])

    def resolve(self, day: date, attempt: int = 1) -> IdentityResult:
        return resolve(self.settings, self.run(day, attempt))

    def run(self, day: date, attempt: int = 1) -> Run:
        return Run(f"{day}.{attempt}", day)

    def map(self, day: date, attempt: int = 1) -> dict[tuple[str, str], str]:
        rows = pq.read_table(map_path(self.settings, self.run(day, attempt))).to_pylist()
        rows = [r for r in rows if r["valid_to"] is None]
        found = {(r["kind"], r["value"]): r["customer_id"] for r in rows}
        assert len(found) == len(rows)
        return found

    def groups(self, day: date, attempt: int = 1) -> set[frozenset[str]]:
        members: dict[str, set[str]] = {}
        for (_, value), customer in self.map(day, attempt).items():
            members.setdefault(customer, set()).add(value)
        return {frozenset(m) for m in members.values()}

    def changes(self, day: date) -> set[tuple[str, str, str]]:
        rows = self.warehouse.rows("select * from identity.id_change where as_of = :d", d=day)
        return {(r["change"], r["customer_id"], r["other_customer_id"]) for r in rows}

    def everything(self) -> dict[str, list[str]]:
        """Every row of the room's tables, with the row version: a rewritten row differs."""
        found = {}
        for table in TABLES:
            rows = self.warehouse.rows(
                f"select t::text || t.xmin::text as x from identity.{table} t order by 1"
            )
            found[table] = [r["x"] for r in rows]
        return found

    def rows(self, where: str, columns: str = "kind, value, customer_id") -> list[tuple[Any, ...]]:
        order = "kind, value, valid_from"
        sql = f"select {columns} from identity.customer_identifier where {where} order by {order}"
        return [tuple(r.values()) for r in self.warehouse.rows(sql)]


@pytest.fixture
def night(settings: Settings, warehouse: Warehouse, add_raw: AddRaw) -> Night:
    return Night(settings, warehouse, add_raw)


def test_links_across_channels(night: Night) -> None:
    night.online(D1, {"account_id": "a1", "device_id": "d1"}, {"device_id": "d1"}, {"device_id": "d2"}, {})
    night.receipt(D1, card_hash="c1", phone_hash="p1")
    night.receipt(D1)
    night.member(D1, "m1", card_hash="c1", account_id="a1", email_hash="e1")
    assert night.resolve(D1) == IdentityResult(
        identifiers=6, customers=2, new=2, merged=0, split=0, demoted=0
    )
    assert night.groups(D1) == {frozenset({"a1", "d1", "c1", "p1", "e1"}), frozenset({"d2"})}
    assert {(k, v): c for k, v, c in night.rows("true")} == night.map(D1)
    assert set(night.rows("true", "valid_from, valid_to")) == {(D1, None)}


def test_nothing_to_resolve(night: Night) -> None:
    assert night.resolve(D1).as_dict() == dict.fromkeys(
        ("identifiers", "customers", "new", "merged", "split", "demoted"), 0
    )
    assert night.map(D1) == {}


def test_new_id_is_the_hash_of_the_oldest_identifier(night: Night) -> None:
    night.online(D1, {"device_id": "d1"})
    night.online(D2, {"device_id": "d1", "account_id": "a1"})
    night.resolve(D2)
    # printf 'device:d1' | sha256sum
    assert set(night.map(D2).values()) == {"Cc3d28b0fd77aa82c"}


def test_first_and_last_seen(night: Night) -> None:
    night.online(D2, {"device_id": "d1", "account_id": "a1"})
    night.resolve(D2)
    night.online(D1, {"device_id": "d1"})
    night.online(D3, {"device_id": "d1", "account_id": "a1"})
    night.resolve(D3)
    seen = night.warehouse.rows("select value, first_seen, last_seen from identity.identifier order by value")
    assert [tuple(r.values()) for r in seen] == [("a1", D2, D3), ("d1", D1, D3)]
    (edge,) = night.warehouse.rows("select * from identity.edge")
    ends = {(edge["kind_a"], edge["value_a"]), (edge["kind_b"], edge["value_b"])}
    assert ends == {("account", "a1"), ("device", "d1")}
    assert (edge["rule"], edge["first_seen"], edge["last_seen"], edge["sightings"]) == (
        "online_event",
        D2,
        D3,
        2,
    )
    assert (edge["source"], edge["source_row_id"], edge["business_date"]) == ("test", "e1", D2)


def test_member_is_dated_by_its_registration_in_the_retailers_time_zone(night: Night) -> None:
    # 23:00 UTC on the day before is already D1 in Shanghai
    night.member(D3, "m1", card_hash="c1", occurred_at=at(D1 - timedelta(days=1), 23))
    night.member(D3, "m2", card_hash="c2")
    night.resolve(D3)
    seen = night.warehouse.rows("select value, first_seen from identity.identifier order by value")
    assert [tuple(r.values()) for r in seen] == [("c1", D1), ("c2", D3)]


def test_rerun_changes_nothing(night: Night) -> None:
    night.online(
        D1,
        {"device_id": "d1", "account_id": "a1"},
        {"device_id": "d1", "account_id": "a2"},
        {"device_id": "d2"},
    )
    night.member(D1, "m", card_hash="c1", account_id="a1")
    first = night.resolve(D1)
    before, mapped = night.everything(), night.map(D1)
    assert night.resolve(D1, 2) == first
    assert night.everything() == before
    assert night.map(D1, 2) == mapped
    night.online(D2, {"device_id": "d2", "account_id": "a1"})
    second = night.resolve(D2)
    before = night.everything()
    assert night.resolve(D2, 2) == second
    assert night.everything() == before


def test_second_attempt_with_more_data_ends_like_a_first_one(night: Night) -> None:
    night.online(D1, {"device_id": "d1"}, {"device_id": "d2"}, {"device_id": "d3"})
    night.resolve(D1)
    night.online(D2, {"device_id": "d1", "account_id": "a1"}, {"device_id": "d2", "account_id": "a1"})
    night.resolve(D2)
    night.online(D2, {"device_id": "d3", "account_id": "a1"}, {"device_id": "d3", "account_id": "a2"})
    result = night.resolve(D2, 2)
    # d3 now has two accounts and is demoted; d1, d2 and a1 stay one customer
    assert (result.merged, result.demoted) == (1, 1)
    assert night.groups(D2, 2) == {frozenset({"d1", "d2", "a1"}), frozenset({"a2"})}
    assert {(k, v): c for k, v, c in night.rows("valid_to is null")} == night.map(D2, 2)


def test_merge_keeps_the_oldest_id(night: Night) -> None:
    night.online(D1, {"device_id": "d1"})
    night.resolve(D1)
    night.receipt(D2, card_hash="c1", phone_hash="p1")
    night.resolve(D2)
    old, young = night.map(D2)["device", "d1"], night.map(D2)["card", "c1"]
    night.member(D3, "m", account_id="a1", card_hash="c1")
    night.online(D3, {"device_id": "d1", "account_id": "a1"})
    result = night.resolve(D3)
    assert (result.customers, result.new, result.merged) == (1, 0, 1)
    assert set(night.map(D3).values()) == {old}
    assert night.changes(D3) == {("merge", old, young)}
    history = night.rows("value = 'c1'", "customer_id, valid_from, valid_to")
    assert history == [(young, D2, D3), (old, D3, None)]


def test_a_shared_tablet_belongs_to_nobody(night: Night) -> None:
    night.member(D1, "m", card_hash="c1", account_id="a1")
    night.online(D1, {"account_id": "a1", "device_id": "tablet"})
    night.receipt(D1, phone_hash="p9")
    night.resolve(D1)
    holder = night.map(D1)["card", "c1"]
    night.online(D2, {"account_id": "a2", "device_id": "tablet"}, {"account_id": "a2", "device_id": "d2"})
    result = night.resolve(D2)
    assert (result.split, result.demoted, result.new) == (0, 1, 1)
    assert night.map(D2)["card", "c1"] == night.map(D2)["account", "a1"] == holder
    assert ("device", "tablet") not in night.map(D2)
    audit = night.warehouse.rows("select * from identity.cardinality_audit where as_of = :d", d=D2)
    (cut,) = audit
    assert (cut["as_of"], cut["kind"], cut["value"]) == (D2, "device", "tablet")
    assert (cut["touched_kind"], cut["touched"], cut["cap"], cut["reason"]) == ("account", 2, 1, "cap")
    assert [(e["value"], e["source_row_id"]) for e in cut["evidence"]] == [("a1", "e1"), ("a2", "e3")]


def test_split_of_one_customer(night: Night) -> None:
    # one phone holds two cards' worth of identifiers together until a third card shows up with it
    night.online(D1, {"device_id": "d1", "phone_hash": "p"}, {"device_id": "d2", "phone_hash": "p"})
    night.online(D1, {"device_id": "d1", "email_hash": "e1"})
    night.receipt(D1, card_hash="c1", phone_hash="p")
    night.resolve(D1)
    (whole,) = set(night.map(D1).values())
    night.receipt(D2, card_hash="c2", phone_hash="p")
    night.receipt(D2, card_hash="c3", phone_hash="p")
    result = night.resolve(D2)
    after = night.map(D2)
    assert after["card", "c1"] == whole
    assert (result.split, result.new, result.demoted) == (2, 2, 1)
    assert after["device", "d1"] == after["email", "e1"] != after["device", "d2"]
    parts = {("split", after["device", d], whole) for d in ("d1", "d2")}
    fresh = {("new", after["card", c], "") for c in ("c2", "c3")}
    assert night.changes(D2) == parts | fresh
    assert len({after["device", "d1"], after["device", "d2"], whole}) == 3


def test_split_without_a_card_follows_the_greater_part(night: Night) -> None:
    night.online(D1, {"device_id": "small", "phone_hash": "p"}, {"account_id": "a", "phone_hash": "p"})
    night.online(D1, {"account_id": "a", "device_id": "d"})
    night.resolve(D1)
    (whole,) = set(night.map(D1).values())
    for card in ("c1", "c2", "c3"):
        night.receipt(D2, card_hash=card, phone_hash="p")
    night.resolve(D2)
    after = night.map(D2)
    assert after["account", "a"] == after["device", "d"] == whole
    assert after["device", "small"] != whole


def test_demoted_alone_retires_its_customer(night: Night) -> None:
    night.receipt(D1, phone_hash="p")
    night.resolve(D1)
    lone = night.map(D1)["phone", "p"]
    for card in ("c1", "c2", "c3"):
        night.receipt(D2, card_hash=card, phone_hash="p")
    night.resolve(D2)
    assert ("retired", lone, "") in night.changes(D2)
    assert night.rows("value = 'p'", "valid_to") == [(D2,)]


def test_the_part_that_loses_its_id_gets_one_nobody_holds(night: Night) -> None:
    night.online(D1, {"device_id": "founder"})
    night.resolve(D1)
    whole = night.map(D1)["device", "founder"]
    night.online(D2, {"device_id": "founder", "phone_hash": "p"})
    night.receipt(D2, card_hash="c1", phone_hash="p")
    night.resolve(D2)
    assert set(night.map(D2).values()) == {whole}
    night.receipt(D3, card_hash="c2", phone_hash="p")
    night.receipt(D3, card_hash="c3", phone_hash="p")
    night.resolve(D3)
    after = night.map(D3)
    assert after["card", "c1"] == whole
    # printf 'device:founder#1' | sha256sum
    assert after["device", "founder"] == "Cd2e3b0c2d5ca1e3d"
    assert ("split", after["device", "founder"], whole) in night.changes(D3)


def test_cap_counts_what_met_beside_a_card(night: Night) -> None:
    # each row also has a card, the tablet's two accounts are seen nowhere else
    night.online(
        D1,
        {"device_id": "tablet", "account_id": "a1", "card_hash": "c1"},
        {"device_id": "tablet", "account_id": "a2", "card_hash": "c2"},
    )
    night.resolve(D1)
    assert night.groups(D1) == {frozenset({"a1", "c1"}), frozenset({"a2", "c2"})}


def test_identifiers_stay_together_beside_a_demoted_one(night: Night) -> None:
    night.online(D1, {"phone_hash": "till", "email_hash": "e", "device_id": "d"})
    for card in ("c1", "c2", "c3"):
        night.receipt(D1, card_hash=card, phone_hash="till")
    night.resolve(D1)
    assert frozenset({"e", "d"}) in night.groups(D1)


def test_nothing_after_as_of_is_used(night: Night) -> None:
    night.online(D1, {"device_id": "d1"}, {"device_id": "d2"})
    night.online(D2, {"device_id": "d1", "account_id": "a"}, {"device_id": "d2", "account_id": "a"})
    night.resolve(D1)
    assert night.groups(D1) == {frozenset({"d1"}), frozenset({"d2"})}


def test_an_earlier_date_leaves_the_record_alone(night: Night) -> None:
    night.online(D1, {"device_id": "d1"}, {"device_id": "d2"})
    night.resolve(D1)
    then = night.map(D1)
    night.online(D2, {"device_id": "d1", "account_id": "a"}, {"device_id": "d2", "account_id": "a"})
    night.resolve(D2)
    before = night.everything()
    night.resolve(D1, 2)
    assert night.map(D1, 2) == then
    assert night.everything() == before


def test_a_batch_that_finishes_out_of_turn_is_not_lost(night: Night, warehouse: Warehouse) -> None:
    night.online(D1, {"device_id": "slow"})
    warehouse.execute("update ops.batch set status = 'loading'")
    warehouse.execute("create table slow as select * from raw.online_event")
    warehouse.execute("delete from raw.online_event")  # not there yet
    night.online(D1, {"device_id": "quick"})
    assert night.resolve(D1).identifiers == 1
    warehouse.execute("insert into raw.online_event select * from slow")
    warehouse.execute("update ops.batch set status = 'loaded'")
    assert night.resolve(D1).identifiers == 2


def test_kinds_left_out_of_priority_link_nobody(night: Night) -> None:
    night.online(D1, {"device_id": "d", "account_id": "a1"})
    identity = night.settings.identity.model_copy(update={"priority": ("card", "account")})
    night.settings = night.settings.model_copy(update={"identity": identity})
    night.resolve(D1)
    assert night.groups(D1) == {frozenset({"a1"})}


def test_a_killed_write_leaves_the_night_before(night: Night, monkeypatch: pytest.MonkeyPatch) -> None:
    from portrait.identity import record

    night.online(D1, {"device_id": "d1"})
    night.resolve(D1)
    night.online(D2, {"device_id": "d1", "account_id": "a"})
    before = night.everything()
    with monkeypatch.context() as patch:
        patch.setattr(record, "_AUDIT", ("select 1 / 0",))
        with pytest.raises(Exception, match="division by zero"):
            night.resolve(D2)
    assert night.everything() == before
    assert night.resolve(D2).customers == 1


def test_a_crash_between_the_two_commits_costs_a_full_reading(
    night: Night, monkeypatch: pytest.MonkeyPatch
) -> None:
    night.online(D1, {"device_id": "d1", "account_id": "a"}, {"device_id": "d2"})
    night.resolve(D1)
    night.online(D2, {"device_id": "d2", "account_id": "a"})
    night.resolve(D2)
    expected, mapped = night.everything(), night.map(D2)
    night.warehouse.execute("update identity.night set state = 'another' where as_of = :d", d=D2)
    night.resolve(D2, 2)
    assert night.map(D2, 2) == mapped
    found = night.everything()
    assert {t: found[t] for t in TABLES if t != "edge_row"} == {
        t: expected[t] for t in TABLES if t != "edge_row"
    }
