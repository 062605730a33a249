"""City tiers, price levels, repurchase and searches, what a model infers, look-alikes."""

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import ibis
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from portrait.config import Settings
from portrait.features.matrix import write_csr
from portrait.models.profile.predictions import PREDICTION, predictions_file
from portrait.profiles.city_tiers import TIERS, spelling, tier_of_city
from portrait.profiles.inferred import inferred
from portrait.profiles.permission import permissions
from portrait.profiles.repurchase import repurchase
from portrait.profiles.search_interest import search_interest
from portrait.profiles.spending_power import groups, spending_power
from portrait.run import Run
from portrait.warehouse import Warehouse
from scipy.sparse import csr_matrix
from sqlalchemy.exc import DBAPIError

AS_OF = date(2026, 3, 1)


@pytest.mark.parametrize(
    ("city", "tier"),
    [("Shanghai", "first"), ("上海市", "first"), ("XI AN", "new_first"), ("Xi'an City", "new_first"),
     ("Wuxi", "second"), ("三亚", "third"), ("Suzhou", "new_first"), ("宿州", "third"), ("Lyon", None)],
)  # fmt: skip
def test_city_tier(city: str, tier: str | None) -> None:
    assert tier_of_city().get(spelling(city)) == tier


def test_every_city_has_one_tier() -> None:
    assert [len(t.split(",")) for t in TIERS.values()] == [4, 15, 30, 70]
    names = [spelling(n) for t in TIERS.values() for c in t.split(",") for n in c.split("/") if n]
    assert len(names) == len(set(names))


def test_three_price_groups_are_found_where_their_shares_differ() -> None:
    rng = np.random.default_rng(5)
    true = rng.choice(3, 3000, p=[0.35, 0.45, 0.2])
    noise = np.full(3000, 0.02)
    level = np.array([-0.5, 0.0, 0.5])[true] + rng.normal(0, 0.05, 3000) + rng.normal(0, 0.02**0.5, 3000)
    assert (groups(level, noise) == true).mean() > 0.85


def test_price_groups_learned_of_some_hold_for_all(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(5)
    level = np.array([-0.5, 0.0, 0.5])[rng.choice(3, 6000)] + rng.normal(0, 0.05, 6000)
    noise = np.full(6000, 0.001)
    everybody = groups(level, noise)
    monkeypatch.setattr("portrait.profiles.spending_power.FIT_SAMPLE", 1000)
    assert (groups(level, noise) == everybody).mean() > 0.995


def test_dear_is_what_is_dear_in_its_category(tmp_path: Path) -> None:
    """Wine costs 5 to 95, salt 0.95 to 1.05: who takes the dearest salt chooses as dear as who takes the dearest wine."""
    prices = [5, 50, 95, 0.95, 1.0, 1.05]
    catalogue = {"item": range(6), "category": ["wine"] * 3 + ["salt"] * 3, "list_price": prices}
    pq.write_table(
        pa.table({c: pa.array(list(v)) for c, v in catalogue.items()}), tmp_path / "catalogue.parquet"
    )
    people = [
        (name, item)
        for item, name in ((3, "salt-"), (4, "salt"), (5, "salt+"), (0, "wine-"), (2, "wine+"))
        for _ in range(20)
    ]
    (tmp_path / "matrix").mkdir()
    ids = [f"{name}{n}" for n, (name, _) in enumerate(people)]
    pq.write_table(pa.table({"customer_id": ids}), tmp_path / "matrix" / "customers.parquet")
    touched = csr_matrix(
        (np.ones(len(ids)), (range(len(ids)), [item for _, item in people])), shape=(len(ids), 6)
    )
    write_csr(touched, tmp_path / "matrix" / "full_weights")
    power = spending_power(tmp_path).to_pylist()
    found = {
        name: {r["power"] for r in power if r["customer_id"].rstrip("0123456789") == name}
        for name, _ in people
    }
    assert found == {
        "salt-": {"low"},
        "salt": {"mid"},
        "salt+": {"high"},
        "wine-": {"low"},
        "wine+": {"high"},
    }
    # What is reported is in prices: 5 % above the middle, not as far as the dearest wine.
    levels = {r["customer_id"].rstrip("0123456789"): r["price_level"] for r in power}
    assert levels["salt+"] == pytest.approx(np.log(1.05))
    assert levels["wine+"] == pytest.approx(np.log(95 / 50))


def bought(customer: str, category: str, days: int, first: int, last: int) -> dict[str, Any]:
    """Bought on so many days, first and last so many days before AS_OF."""
    ago = {"first_on": AS_OF - timedelta(days=first), "last_on": AS_OF - timedelta(days=last)}
    return {"customer_id": customer, "category": category, "purchase_days": days, **ago}


def test_repurchase_is_learned_by_category() -> None:
    """Twenty buyers of Milk come back every 10 days; one of the twenty-one of Phones did, so nobody is due for one."""
    rows = [bought(f"m{i}", "Milk", 5, 45, 5) for i in range(20)]
    rows += [bought("once", "Milk", 1, 8, 8), bought("late", "Milk", 2, 110, 100)]
    rows += [bought(f"p{i}", "Phones", 1, 60, 60) for i in range(20)] + [bought("p", "Phones", 2, 60, 40)]
    types = {"purchase_days": pa.int32(), "first_on": pa.date32(), "last_on": pa.date32()}
    schema = pa.schema({"customer_id": pa.string(), "category": pa.string(), **types})
    table = repurchase(ibis.memtable(pa.Table.from_pylist(rows, schema)), AS_OF)
    found = {r["customer_id"]: r for r in ibis.duckdb.connect().to_pyarrow(table).to_pylist()}
    assert {r["category"] for r in found.values()} == {"Milk"}
    assert found["m0"]["interval_days"] == 10.0  # (40 + 2 * 10) / (4 + 2)
    assert (found["m0"]["due_on"], found["m0"]["is_due"]) == (AS_OF + timedelta(days=5), True)
    assert (found["once"]["due_on"], found["once"]["is_due"]) == (AS_OF + timedelta(days=2), True)
    assert found["late"]["is_due"] is False  # ninety days beyond: stopped


def test_search_interest_keeps_the_five_strongest() -> None:
    rows = [
        {"customer_id": "a", "query": f"q{i}", "searches": 1, "last_on": AS_OF, "weight": float(i)}
        for i in range(7)
    ]
    table = search_interest(ibis.memtable(pa.Table.from_pylist(rows)))
    found = sorted(ibis.duckdb.connect().to_pyarrow(table).to_pylist(), key=lambda r: r["rank"])
    assert [r["query"] for r in found] == ["q6", "q5", "q4", "q3", "q2"]
    assert found[0]["score"] == pytest.approx(6 / 21)


def consent(warehouse: Warehouse, add_raw: Callable[..., int], purpose: str, *customers: str) -> None:
    for n, customer in enumerate(customers, start=1):
        warehouse.execute(
            "insert into identity.identifier (kind, value, first_seen, last_seen, identifier_id)"
            " values ('account', :v, '2026-01-01', '2026-01-01', :n)",
            v=f"a-{customer}", n=n,
        )  # fmt: skip
        warehouse.execute(
            "insert into identity.assignment (identifier_id, turn, customer_id, valid_from) values (:n, 1, :c, '2026-01-01')",
            n=n,
            c=customer,
        )
        statement = {
            "consent_id": f"s{n}",
            "account_id": f"a-{customer}",
            "purpose": purpose,
            "granted": True,
        }
        on = {"occurred_at": datetime(2026, 1, 2, tzinfo=UTC), "business_date": date(2026, 1, 2)}
        add_raw("consent_event", [{**statement, **on}])


def test_inferred_of_who_consented(
    settings: Settings, run: Run, warehouse: Warehouse, add_raw: Callable[..., int]
) -> None:
    def shown() -> list[dict]:
        engine = ibis.duckdb.connect()
        customers = ibis.memtable({"customer_id": ["ann", "bob"]})
        return inferred(settings, run, permissions(engine, warehouse, customers)).to_pyarrow().to_pylist()

    assert shown() == []  # no predictions
    path = predictions_file(settings, run)
    path.parent.mkdir(parents=True)
    people = [
        {"customer_id": c, "inferred_gender": "f", "gender_confidence": 0.8, "expected_spend_90d": 12.5, "model_version": "m"}
        for c in ("ann", "bob")
    ]  # fmt: skip
    pq.write_table(pa.Table.from_pylist(people, PREDICTION), path)
    consent(warehouse, add_raw, "profiling_inference", "ann")
    (ann,) = shown()
    said = {
        "customer_id": "ann",
        "gender_inferred": "f",
        "gender_confidence": 0.8,
        "predicted_spend_90d": 12.5,
    }
    assert ann == {**dict.fromkeys(ann), **said}


def test_lookalikes_have_consent_and_are_no_seed(
    night: Callable[..., Run], warehouse: Warehouse, add_raw: Callable[..., int]
) -> None:
    """c0, c2, c4 have the vector (1, 0, 0), c1, c3, c5 (1, 1, 0)."""
    night(1)
    warehouse.execute("select privacy.require_consent('{ad_audience}')")
    consent(warehouse, add_raw, "ad_audience", "c0", "c1", "c2", "c3")
    sql = "select customer_id, round(similarity::numeric, 4) as s from profile.lookalike(array['c0', 'c4'], {}) order by 2 desc, 1"
    assert [(r["customer_id"], float(r["s"])) for r in warehouse.rows(sql.format(10))] == [
        ("c2", 1.0), ("c1", 0.7071), ("c3", 0.7071),
    ]  # fmt: skip
    assert [r["customer_id"] for r in warehouse.rows(sql.format(1))] == ["c2"]
    assert warehouse.rows("select * from profile.lookalike(array['nobody'], 3)") == []
    assert warehouse.rows("select * from profile.lookalike('no audience', 3)") == []
    with pytest.raises(
        DBAPIError, match="there is no purpose 'ads'; one of ad_audience, analytics, marketing_email"
    ):
        warehouse.rows("select * from profile.lookalike(array['c0'], 3, 'ads')")


def test_lookalikes_are_found_by_the_index(
    night: Callable[..., Run], warehouse: Warehouse, add_raw: Callable[..., int]
) -> None:
    """Counted by Postgres itself: the plan inside the function reads the HNSW index."""
    night(1, size=1500)
    warehouse.execute("select setseed(0.5)")
    warehouse.execute(
        "update profile_store.embedding_20260301_1 set embedding = array[random(), random(), random() + length(customer_id)]"
    )
    warehouse.execute("select privacy.require_consent('{ad_audience}')")
    consent(warehouse, add_raw, "ad_audience", "c0")
    for statement in (
        "insert into identity.identifier (kind, value, first_seen, last_seen, identifier_id)"
        " select 'account', 'b-' || customer_id, '2026-01-01', '2026-01-01', 1000 + row_number() over ()"
        " from profile.customer_profile where customer_id <> 'c0'",
        "insert into identity.assignment (identifier_id, turn, customer_id, valid_from)"
        " select identifier_id, 1, substr(value, 3), '2026-01-01' from identity.identifier where identifier_id > 1000",
        "insert into raw.consent_event (source, source_row_id, consent_id, account_id, purpose, granted, occurred_at, business_date, batch_id)"
        " select source, i.value, i.value, i.value, purpose, granted, occurred_at, business_date, batch_id"
        " from raw.consent_event cross join identity.identifier i where i.identifier_id > 1000",
        "analyze profile_store.embedding_20260301_1, raw.consent_event, identity.identifier, identity.assignment",
    ):
        warehouse.execute(statement)
    scans = (
        "select s.idx_scan from pg_stat_user_indexes s join pg_class c on c.oid = s.indexrelid"
        " join pg_am a on a.oid = c.relam where s.relname = 'embedding_20260301_1' and a.amname = 'hnsw'"
    )
    assert warehouse.scalar(scans) == 0
    # A session that goes on tells its counts after a second, unless it is asked to.
    found = warehouse.rows(
        "select customer_id, pg_stat_force_next_flush() from profile.lookalike(array['c0'], 10)"
    )
    assert warehouse.scalar(scans) == 1
    exact = (
        "select customer_id from profile.embedding where customer_id <> 'c0' order by embedding <=>"
        " (select embedding from profile.embedding where customer_id = 'c0') limit 10"
    )
    # HNSW finds nearly all of the nearest
    assert len({r["customer_id"] for r in found} & {r["customer_id"] for r in warehouse.rows(exact)}) >= 8
