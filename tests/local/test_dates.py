"""Which business date a run on this machine is for."""

from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path

import pytest
from portrait.config import Settings
from portrait.errors import PortraitError
from portrait.local.dates import is_simulated, next_business_date
from portrait.stages import begin_run, fail_run
from portrait.warehouse import Warehouse

STORES = """
workspace: test
sources:
  - name: stores
    entity: store
    path: stores.csv
    format: csv
    columns: {store_id: store_id, name: name}
"""
EVENTS = (
    STORES
    + """
  - name: dated
    entity: online_event
    path: "events/{business_date}.csv"
    format: csv
    columns: {event_id: id, event_name: name, occurred_at: at}
  - name: undated
    entity: online_event
    path: all.csv
    format: csv
    columns: {event_id: id, event_name: name, occurred_at: at}
"""
)
DAY = date(2026, 3, 1)


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """Stores without dates; events in files of a date up to 2 March, and in one file up to 4 March."""
    (tmp_path / "stores.csv").write_text("store_id,name\nS1,One\n")
    (tmp_path / "events").mkdir()
    for day in (1, 2):
        row = f"e{day},product_viewed,2026-03-0{day} 10:00:00"
        (tmp_path / "events" / f"2026-03-0{day}.csv").write_text(f"id,name,at\n{row}\n")
    (tmp_path / "all.csv").write_text(
        "id,name,at\na1,product_viewed,2026-03-04 10:00:00\na2,product_viewed,2026-02-01 10:00:00\n"
    )
    return tmp_path


@pytest.mark.usefixtures("files")
def test_the_date_of_sources_yaml_comes_first(make_settings: Callable[..., Settings]) -> None:
    assert next_business_date(make_settings(f"business_date: 2026-02-10\n{EVENTS}")) == date(2026, 2, 10)


@pytest.mark.usefixtures("files")
def test_then_the_latest_date_of_the_sources(make_settings: Callable[..., Settings]) -> None:
    assert next_business_date(make_settings(EVENTS)) == date(2026, 3, 4)


def test_dated_files_tell_by_their_names(make_settings: Callable[..., Settings], files: Path) -> None:
    settings = make_settings(EVENTS.partition("  - name: undated")[0])
    assert next_business_date(settings) == date(2026, 3, 2)
    (files / "events" / "2026-03-07.csv").write_text("id,name,at\n")  # a day without events is a day
    assert next_business_date(settings) == date(2026, 3, 7)


@pytest.mark.usefixtures("files")
def test_sources_without_a_date(make_settings: Callable[..., Settings]) -> None:
    settings = make_settings(STORES)
    with pytest.raises(
        PortraitError, match="no source tells its dates; add business_date: YYYY-MM-DD"
    ) as found:
        next_business_date(settings)
    assert str(settings.sources_path) in str(found.value)


def test_an_unfinished_day_goes_on(settings: Settings) -> None:
    """Whatever sources.yaml says by now."""
    begin_run(settings, DAY, "a")
    assert next_business_date(settings) == DAY
    fail_run(settings, "a", "killed")
    assert next_business_date(settings) == DAY


def test_the_day_after_the_last_published_one(settings: Settings, warehouse: Warehouse) -> None:
    for day in (DAY, DAY - timedelta(days=1)):
        begin_run(settings, day, str(day))
    warehouse.execute("update ops.run set status = 'published'")
    assert next_business_date(settings) == DAY + timedelta(days=1)
    begin_run(settings, DAY, "once more")  # under way, for a day that is published already
    assert next_business_date(settings) == DAY + timedelta(days=1)


def test_an_unfinished_day_after_a_published_one(settings: Settings, warehouse: Warehouse) -> None:
    begin_run(settings, DAY, "a")
    warehouse.execute("update ops.run set status = 'published'")
    begin_run(settings, DAY + timedelta(days=1), "b")
    assert next_business_date(settings) == DAY + timedelta(days=1)


def test_is_simulated(make_settings: Callable[..., Settings]) -> None:
    assert not is_simulated(make_settings(STORES))
    assert is_simulated(make_settings(STORES.replace("stores.csv", '"{simulated}/stores.csv"')))
