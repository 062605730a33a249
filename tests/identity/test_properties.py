"""What holds for any rows in any order over any nights (hypothesis)."""

import random
import shutil
from collections.abc import Callable
from datetime import date, timedelta
from typing import Any

import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, Phase, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from portrait.config import Settings
from portrait.identity import map_path, resolve, revoke_rule
from portrait.identity.working import working_path
from portrait.run import Run
from portrait.warehouse import Warehouse

DAY = date(2026, 3, 1)
NIGHTS = 3
TABLES = ("identifier", "edge_row", "assignment", "earlier_owner", "id_change", "cardinality_audit", "night")
RAW = ("online_event", "pos_receipt", "member", "consent_event")
pytestmark = pytest.mark.slow

some = st.sampled_from
online = st.fixed_dictionaries(
    {"entity": some(["online_event"]), "device_id": some(["d1", "d2", "d3", "d4"])},
    optional={"account_id": some(["a1", "a2", "a3"]), "phone_hash": some(["p1", "p2"])},
)
receipt = st.fixed_dictionaries(
    {"entity": some(["pos_receipt"])},
    optional={"card_hash": some(["c1", "c2", "c3", "c4"]), "phone_hash": some(["p1", "p2", "p3"])},
)
member = st.fixed_dictionaries(
    {"entity": some(["member"]), "card_hash": some(["c1", "c2", "c3", "c4"])},
    optional={"phone_hash": some(["p1", "p2", "p3"]), "email_hash": some(["e1", "e2"]), "account_id": some(["a1", "a2", "a3"])},
)  # fmt: skip
row = st.one_of(online, receipt, member)
# Rows a night: (days before the night, row); the numbers expire after five days here.
nights = st.lists(
    st.lists(st.tuples(st.integers(0, 9), row), min_size=1, max_size=8), min_size=NIGHTS, max_size=NIGHTS
)
few = hypothesis_settings(
    max_examples=6,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
    deadline=None,
    suppress_health_check=[
        HealthCheck.function_scoped_fixture,
        HealthCheck.too_slow,
        HealthCheck.data_too_large,
    ],
)


class World:
    """A warehouse that is emptied for every example."""

    def __init__(self, settings: Settings, warehouse: Warehouse, add_raw: Callable[..., int]) -> None:
        identity = settings.identity
        expiry = identity.expires["phone"].model_copy(update={"after_days": 5})
        guards = {"expires": {"phone": expiry}, "per_customer": {"device": 2, "phone": 2}}
        self.settings = settings.model_copy(update={"identity": identity.model_copy(update=guards)})
        self.warehouse, self._add_raw, self._number = warehouse, add_raw, 0

    def empty(self) -> None:
        tables = ", ".join([f"identity.{t}" for t in (*TABLES, "manual_rule")] + [f"raw.{t}" for t in RAW])
        self.warehouse.execute(f"truncate {tables}, ops.batch, ops.batch_partition cascade")
        shutil.rmtree(self.settings.workspace_dir, ignore_errors=True)

    def load(self, night: int, rows: list[tuple[int, dict[str, str]]]) -> None:
        for entity in RAW:
            found = []
            for back, given_row in rows:
                if given_row["entity"] != entity:
                    continue
                self._number += 1
                day = DAY + timedelta(days=7 * night - back)
                base: dict[str, Any] = {"business_date": day, "occurred_at": day}
                if entity == "online_event":
                    base |= {"event_id": f"e{self._number}", "event_name": "product_viewed"}
                elif entity == "pos_receipt":
                    base |= {
                        "store_id": "s",
                        "workstation_id": "1",
                        "sequence_number": self._number,
                        "kind": "sale",
                        "total_amount": 1,
                    }
                else:
                    base |= {"member_id": f"m{self._number}"}
                found.append(base | {k: v for k, v in given_row.items() if k != "entity"})
            if found:
                self._add_raw(entity, found)

    def run(self, night: int, attempt: int = 1) -> Run:
        day = DAY + timedelta(days=7 * night)
        return Run(f"{day}.{attempt}", day)

    def resolve(self, night: int, attempt: int = 1, rebuild: bool = False) -> None:
        resolve(self.settings, self.run(night, attempt), rebuild=rebuild)

    def map(self, night: int, attempt: int = 1) -> list[tuple[Any, ...]]:
        rows = pq.read_table(map_path(self.settings, self.run(night, attempt))).to_pylist()
        return sorted((tuple(r.values()) for r in rows), key=str)

    def record(self, versions: bool = False) -> dict[str, list[str]]:
        """Every row; identifiers by value, since numbers may differ."""
        queries = {
            "identifier": "select kind, value, first_seen, last_seen from identity.identifier",
            "edge": "select least((kind_a, value_a), (kind_b, value_b))::text, greatest((kind_a, value_a), (kind_b, value_b))::text,"
            " rule, first_seen, last_seen, valid_to, sightings, source, source_row_id from identity.edge",
            "customer_identifier": "select * from identity.customer_identifier",
            "earlier_owner": "select kind, value, customer_id, owned_until from identity.earlier_owner join identity.identifier using (identifier_id)",
            "id_change": "select * from identity.id_change",
            "audit": "select * from identity.cardinality_audit",
        }
        if versions:
            queries = {
                t: f"select t.*, t.xmin::text as version from identity.{t} t" for t in TABLES if t != "night"
            }
        return {n: sorted(str(tuple(r.values())) for r in self.warehouse.rows(q)) for n, q in queries.items()}

    def groups(self, night: int, attempt: int = 1) -> set[frozenset[Any]]:
        found: dict[str, set[Any]] = {}
        for kind, value, customer, since, until in self.map(night, attempt):
            found.setdefault(customer, set()).add((kind, value, since, until))
        return {frozenset(g) for g in found.values()}


@pytest.fixture
def world(settings: Settings, warehouse: Warehouse, add_raw: Callable[..., int]) -> World:
    return World(settings, warehouse, add_raw)


@few
@given(nights)
def test_a_rebuild_gives_the_ids_of_the_nights(world: World, rows: list[Any]) -> None:
    world.empty()
    for number, tonight in enumerate(rows):
        world.load(number, tonight)
        world.resolve(number)
        check_nobody_is_lost(world, number)
    expected, mapped = world.record(), world.map(NIGHTS - 1)
    world.resolve(NIGHTS - 1, 2, rebuild=True)
    assert world.record() == expected
    assert world.map(NIGHTS - 1, 2) == mapped
    # and without the working state, from the record
    working_path(world.settings).unlink()
    world.resolve(NIGHTS - 1, 3)
    assert world.record() == expected
    assert world.map(NIGHTS - 1, 3) == mapped


def check_nobody_is_lost(world: World, night: int) -> None:
    """Every identifier that is not over a cap has exactly one customer, the record and the map agree."""
    held = world.warehouse.rows(
        "select kind, value, customer_id from identity.customer_identifier where valid_to is null"
    )
    capped = world.warehouse.rows("select kind, value from identity.cardinality_audit where reason = 'cap'")
    seen = world.warehouse.rows("select kind, value from identity.identifier")
    values = [(r["kind"], r["value"]) for r in held]
    assert len(values) == len(set(values))
    free = {(r["kind"], r["value"]) for r in seen} - {(r["kind"], r["value"]) for r in capped}
    assert free <= set(values)
    assert {tuple(r.values()) for r in held} == {m[:3] for m in world.map(night) if m[4] is None}
    twice = world.warehouse.rows(
        "select x.* from identity.customer_identifier x join identity.customer_identifier y using (kind, value) "
        "where x.valid_from < y.valid_from and daterange(x.valid_from, x.valid_to) && daterange(y.valid_from, y.valid_to)"
    )
    assert twice == []
    ids = {r["customer_id"] for r in held}
    resolved = world.warehouse.rows("select * from identity.alias")
    assert {r["customer_id"] for r in resolved if not r["retired"]} == ids
    assert {r["old_id"] for r in resolved if r["old_id"] == r["customer_id"]} == ids
    for one in resolved:
        assert world.warehouse.scalar("select identity.current_id(:i)", i=one["old_id"]) == one["customer_id"]


@few
@given(nights, st.randoms(use_true_random=False))
def test_the_order_of_rows_does_not_matter(world: World, rows: list[Any], shuffle: random.Random) -> None:
    everything = [(back + 7 * (NIGHTS - 1 - n), r) for n, tonight in enumerate(rows) for back, r in tonight]
    found = []
    for _ in range(2):
        world.empty()
        for part in (everything[::2], everything[1::2]):
            world.load(NIGHTS - 1, part)
        world.resolve(NIGHTS - 1)
        found.append(world.groups(NIGHTS - 1))
        shuffle.shuffle(everything)
    assert found[0] == found[1]


@few
@given(nights)
def test_a_rerun_changes_nothing(world: World, rows: list[Any]) -> None:
    world.empty()
    for number, tonight in enumerate(rows):
        world.load(number, tonight)
        world.resolve(number)
        before, mapped = world.record(versions=True), world.map(number)
        world.resolve(number, 2)
        assert world.record(versions=True) == before
        assert world.map(number, 2) == mapped


@few
@given(
    nights,
    some([("card", "c1"), ("phone", "p1"), ("device", "d1"), ("account", "a1")]),
    some([("card", "c2"), ("account", "a2"), ("device", "d2")]),
)
def test_merge_then_unmerge_gives_the_first_state_back(world: World, rows: list[Any], a: Any, b: Any) -> None:
    world.empty()
    for tonight in rows:
        world.load(0, tonight)
    world.resolve(0)
    first = world.map(0)
    rule = world.warehouse.scalar(
        "insert into identity.manual_rule (kind, kind_a, value_a, kind_b, value_b, reason, created_by) "
        "values ('must_link', :ka, :va, :kb, :vb, 'test', 'test') returning rule_id",
        ka=a[0], va=a[1], kb=b[0], vb=b[1],
    )  # fmt: skip
    world.resolve(1)
    owners = {(m[0], m[1]): m[2] for m in world.map(1) if m[4] is None}
    if a in owners and b in owners:
        assert owners[a] == owners[b]
    revoke_rule(world.settings, rule)
    world.resolve(2)
    assert world.map(2) == first
