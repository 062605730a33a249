"""A night that goes on from an earlier one gives the same tables as one that computes everything."""

import shutil
import sys
from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from portrait.features import FeatureResult, build
from portrait.features.build import Night
from portrait.features.sorted_tables import write_groups
from portrait.features.touched import changed_dates, dates_that_leave
from portrait.identity import resolve
from sqlalchemy import URL

from ..conftest import copied, raw_writer, settings_in
from .conftest import Shop
from .test_build import outputs

FIRST = date(2026, 3, 1)
ORDER = {"event_name": "order_completed", "quantity": 1, "unit_price": 3.3}


def day(number: int) -> date:
    return FIRST + timedelta(days=number)


def night(shop: Shop, number: int) -> FeatureResult:
    """Build a night twice, from what is there and anew; check that the tables are the same."""
    found = shop.night(day(number))
    check_anew(shop, number, found)
    return found


def check_anew(shop: Shop, number: int, found: FeatureResult) -> None:
    """Build a night that is there once more, from nothing but the lake; check that the tables are the same."""
    resolve(shop.settings, shop.run(day(number), 2))
    anew = build(shop.settings, shop.run(day(number), 2), rebuild=True)
    assert replace(anew, computed=found.computed) == found
    incremental, full = outputs(shop.folder(day(number))), outputs(shop.folder(day(number), 2))
    # A text model is used for a week; one that is trained anew tells other vectors.
    assert [n for n in full if incremental.get(n) != full[n] and not n.startswith("text/")] == []
    assert set(incremental) == set(full)


def test_some_customers_at_a_time_give_the_same_tables(crowd: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    resolve(crowd.settings, crowd.run(day(0), 2))
    module = sys.modules[Night.__module__]
    written: list[int] = []

    def write(tables: Iterable[pa.Table], target: Path) -> None:
        found = list(tables)
        written.append(len(found))
        write_groups(found, target)

    monkeypatch.setattr(module, "SLICE_ROWS", 40)
    monkeypatch.setattr(module, "write_groups", write)
    build(crowd.settings, crowd.run(day(0), 2), rebuild=True)
    assert max(written) > 3
    whole, sliced = outputs(crowd.folder(day(0))), outputs(crowd.folder(day(0), 2))
    assert [n for n in whole if sliced.get(n) != whole[n]] == []


@pytest.fixture(scope="module")
def first_night(
    server: URL, template: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Shop, FeatureResult]]:
    """A shop after the night of day 0, and what it gave: to be copied."""
    with copied(server, template) as warehouse:
        settings = settings_in(tmp_path_factory.mktemp("crowd"), warehouse)
        shop = fill(Shop(settings, warehouse, raw_writer(warehouse)), 72)
        yield shop, shop.night(day(0))


@pytest.fixture
def crowd(server: URL, first_night: tuple[Shop, FeatureResult], tmp_path: Path) -> Iterator[Shop]:
    """A copy of the shop after the night of day 0."""
    made, _ = first_night
    with copied(server, str(made.warehouse.url.database)) as warehouse:
        settings = settings_in(tmp_path, warehouse)
        shutil.copytree(made.settings.home, settings.home)
        yield Shop(settings, warehouse, raw_writer(warehouse), made.number)


def fill(shop: Shop, days: int) -> Shop:
    """Twenty customers who browse and buy at random for some days before FIRST."""
    rng = np.random.default_rng(5)
    names = ("product_viewed", "product_added", "products_searched")
    shop.products(
        day(-days), *({"sku": f"s{n}", "category_1": "xyz"[n % 3], "list_price": n} for n in range(12))
    )
    for number in range(-days, 1, 4):
        rows: list[dict[str, Any]] = []
        for person in rng.choice(20, 6, replace=False):
            at = datetime.combine(day(number), datetime.min.time(), UTC) + timedelta(
                minutes=int(rng.integers(900))
            )
            row = {"account_id": f"a{person}", "device_id": f"d{person}", "sku": f"s{rng.integers(12)}"}
            rows.append(
                {**row, "event_name": str(rng.choice(names)), "search_query": "tea", "occurred_at": at}
            )
            rows.append({**row, **ORDER, "occurred_at": at, "order_id": f"o{number}.{person}"})
        shop.events(day(number), *rows)
        shop.receipt(day(number), {"sku": "s1", "line_amount": 5}, card_hash=f"c{number % 3}")
    return shop


def test_nights_one_after_the_other(crowd: Shop, first_night: tuple[Shop, FeatureResult]) -> None:
    _, first = first_night
    check_anew(crowd, 0, first)
    assert first.computed == first.customers
    crowd.events(day(1), {"account_id": "a1", "sku": "s3"}, {"account_id": "a1", "sku": "s4", **ORDER})
    found = night(crowd, 1)
    assert 1 <= found.computed < found.customers
    # a stranger's device, then the stranger logs in on it: what the device did becomes theirs
    crowd.events(day(2), {"device_id": "stranger", "sku": "s5"})
    night(crowd, 2)
    crowd.events(day(3), {"device_id": "stranger", "account_id": "a2", "sku": "s6"})
    night(crowd, 3)
    # a late row of an old month, a member who joins account and card, a receipt that is taken back
    crowd.events(day(-60), {"account_id": "a3", "sku": "s7", **ORDER, "order_id": "late"})
    crowd.member(day(4), member_id="m", account_id="a4", card_hash="c1")
    assert night(crowd, 4).customers == found.customers - 1
    # a category that changes its name, and a product that was unknown
    crowd.products(day(5), {"sku": "s1", "category_1": "new", "list_price": 99}, source="other")
    night(crowd, 5)
    # nights that did not run
    crowd.events(day(20), {"account_id": "a5", "sku": "s8", **ORDER})
    night(crowd, 20)


def test_rows_that_are_gone_count_no_more(crowd: Shop) -> None:
    gone = day(-40)
    row = {"event_id": "x", "event_name": "product_viewed", "occurred_at": day(1), "business_date": day(1)}
    batch = crowd.add_raw("online_event", [row])
    crowd.warehouse.execute("delete from raw.online_event where business_date = :d", d=gone)
    crowd.warehouse.execute(
        "insert into ops.batch_partition values (:b, 'online_event', :d, 1)", b=batch, d=gone
    )
    night(crowd, 1)


def test_another_configuration_computes_everything(crowd: Shop) -> None:
    crowd.settings = crowd.settings.model_copy(
        update={"features": crowd.settings.features.model_copy(update={"affinity_top": 1})}
    )
    found = crowd.night(day(1))
    assert found.computed == found.customers


def test_an_earlier_night_does_not_go_on_from_a_later_one(crowd: Shop) -> None:
    found = crowd.night(day(-8))
    assert found.computed >= found.customers


def test_files_of_facts_that_are_no_longer_used_go(crowd: Shop) -> None:
    folder = crowd.settings.lake_dir / "facts"
    before = {p.name for p in folder.iterdir()}
    crowd.events(day(0), {"account_id": "a1", "sku": "s3"})
    crowd.night(day(0), attempt=2)
    after = {p.name for p in folder.iterdir()}
    assert len(before) == len(after)
    # the one month, and what was taken out of it
    assert len(after - before) == 2
    assert pq.read_table(next(p for p in folder.iterdir() if p.name in after - before)).num_rows >= 0


def test_dates_that_leave_a_window() -> None:
    # the last 30 days at the 1st begin on 31 January; at the 3rd, on 2 February
    assert dates_that_leave(day(0), day(2), [30]) == {date(2026, 1, 31), date(2026, 2, 1)}
    assert dates_that_leave(day(0), day(0), [30, 90]) == set()


def test_dates_that_changed() -> None:
    before = {"t": {"2026-03-01": "x", "2026-03-02": "y"}, "u": {"2026-03-05": "z"}}
    now = {"t": {"2026-03-01": "x", "2026-03-02": "other", "2026-03-03": "new"}}
    assert changed_dates(before, now) == {date(2026, 3, 2), date(2026, 3, 3), date(2026, 3, 5)}


def test_a_text_model_is_used_for_a_week(crowd: Shop) -> None:
    def model(number: int, attempt: int = 1) -> bytes:
        return next((crowd.folder(day(number), attempt) / "text" / "model").glob("*.parquet")).read_bytes()

    crowd.products(day(1), {"sku": "new", "name": "oolong kettle tea", "category_1": "x"})
    crowd.night(day(6))
    assert model(6) == model(0)
    crowd.night(day(7))
    assert model(7) != model(0)
