"""The business date of every kind of run, what fails at once, connections, and a source that is late."""

import asyncio
import logging
from collections.abc import Callable
from datetime import UTC, date, datetime
from types import SimpleNamespace
from typing import Any

import pytest
from portrait.config import Settings
from portrait.sources.connection import find_connection
from portrait.warehouse import Warehouse

SOURCES = """
workspace: test
timezone: Asia/Shanghai
sources:
  - name: stores
    entity: store
    http: {connection: Shop_API, path: /stores}
    columns: {store_id: store_id, name: name}
    schedule: "0 2 * * *"
    deadline: "06:00"
    owner: shop-team
"""


def context(
    partition_key: str | None = None,
    logical_date: datetime | None = None,
    run_after: datetime | None = None,
    **params: Any,
) -> dict[str, Any]:
    run = SimpleNamespace(
        partition_key=partition_key, logical_date=logical_date, run_after=run_after, dag_id="d", run_id="r"
    )
    return {"dag_run": run, "params": params}


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        # Woken by assets: the partition is the date, whatever the clock says.
        (context("2026-03-01", run_after=datetime(2027, 1, 1, tzinfo=UTC)), date(2026, 3, 1)),
        # Given by hand in the UI or with --conf.
        (context(business_date="2026-03-05", run_after=datetime(2027, 1, 1, tzinfo=UTC)), date(2026, 3, 5)),
        # Scheduled or backfilled: the timetable named it.
        (context("2026-03-01", run_after=datetime(2026, 3, 1, 18, tzinfo=UTC)), date(2026, 3, 1)),
        # Triggered in the UI with 02:00 in Shanghai on 2 March, which is 18:00 UTC on 1 March.
        (context(logical_date=datetime(2026, 3, 1, 18, tzinfo=UTC)), date(2026, 3, 1)),
        # `airflow dags test` and a manual run without a date have no logical date: yesterday, local.
        (context(business_date=None, run_after=datetime(2026, 3, 1, 17, tzinfo=UTC)), date(2026, 3, 1)),
        (context(run_after=datetime(2026, 3, 1, 15, tzinfo=UTC)), date(2026, 2, 28)),
    ],
)
def test_business_date(given: dict[str, Any], expected: date) -> None:
    from portrait_airflow import business_date

    assert business_date(given, "Asia/Shanghai") == expected


def test_without_a_schedule_the_clock_is_not_asked() -> None:
    from portrait_airflow import business_date

    by_hand = context(logical_date=datetime(2026, 11, 25, 1, tzinfo=UTC))
    assert business_date(by_hand, "Asia/Shanghai", lambda: date(2025, 6, 30)) == date(2025, 6, 30)
    assert business_date(context("2025-06-01"), "Asia/Shanghai", lambda: date(2025, 6, 30)) == date(
        2025, 6, 1
    )


def test_a_mistake_of_the_owner_fails_without_retry_and_another_error_is_retried() -> None:
    from airflow.sdk.exceptions import AirflowFailException
    from portrait.errors import PortraitError
    from portrait_airflow import stage

    def wrong_setting() -> None:
        raise PortraitError("sources.yaml: path: no such file")

    def lost_connection() -> None:
        raise OSError("connection reset")

    with pytest.raises(AirflowFailException, match=r"sources.yaml: path: no such file"):
        stage(wrong_setting)
    with pytest.raises(OSError, match="connection reset"):
        stage(lost_connection)
    assert stage(lambda a, b: a + b, 1, 2) == 3


def test_a_source_that_is_not_ready_is_retried() -> None:
    from portrait.errors import SourceUnavailable
    from portrait_airflow import stage

    def not_there() -> None:
        raise SourceUnavailable("no file for 2026-03-01 yet")

    with pytest.raises(SourceUnavailable, match="no file for 2026-03-01 yet"):
        stage(not_there)


def test_a_business_date_that_is_none_is_the_owners_mistake() -> None:
    from airflow.sdk.exceptions import AirflowFailException
    from portrait_airflow import business_date, stage

    with pytest.raises(AirflowFailException, match="business_date 'tomorrow' is no date; .* YYYY-MM-DD"):
        stage(business_date, context(business_date="tomorrow"), "Asia/Shanghai")


def test_connections_come_from_airflow(
    make_settings: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch
) -> None:
    from portrait_airflow import with_connections

    settings = make_settings(SOURCES)
    source = settings.sources.source("stores")
    assert settings.connections == {}
    assert with_connections(settings, source).connections == {}  # nobody defined it: Portrait says so
    monkeypatch.setenv("AIRFLOW_CONN_SHOP_API", "http://me:p%2Fw%3F@shop.example:8443/v1?a=b")
    found = with_connections(settings, source)
    assert source.endpoint is not None
    connection = find_connection(found, source.endpoint, "stores", "http")
    assert (connection.host, connection.port, connection.login) == ("shop.example", 8443, "me")
    assert (connection.password, connection.schema, connection.extra) == ("p/w?", "v1", {"a": "b"})
    assert "p/w?" not in repr(found)
    assert settings.connections == {}  # no other source's task learns it


def late_context(**run: Any) -> dict[str, Any]:
    """What Airflow 3.3.2 hands to a deadline's callback."""
    times = {"logical_date": None, "run_after": "2026-03-01T18:00:00Z"}
    dag_run = {
        "dag_id": "ingest_stores",
        "state": "running",
        "conf": {},
        "partition_key": None,
        **times,
        **run,
    }
    return {
        "dag_run": dag_run,
        "deadline": {"id": "1", "deadline_time": datetime(2026, 3, 1, 22, tzinfo=UTC)},
    }


@pytest.mark.parametrize(
    ("dag_run", "day"),
    [
        ({"partition_key": "2026-03-01"}, date(2026, 3, 1)),
        ({"conf": {"business_date": "2026-02-27"}}, date(2026, 2, 27)),
        ({}, date(2026, 3, 1)),
    ],
)
def test_the_deadline_callback_writes_an_alert(
    make_settings: Callable[..., Settings],
    warehouse: Warehouse,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    dag_run: dict[str, Any],
    day: date,
) -> None:
    import portrait_airflow

    settings = make_settings(SOURCES)
    monkeypatch.setenv("PORTRAIT_DATABASE_URL", str(settings.database_url))
    monkeypatch.setenv("PORTRAIT_SOURCES", str(settings.sources_path))
    with caplog.at_level(logging.WARNING, "portrait.local.late"):
        asyncio.run(portrait_airflow.note_late("stores", late_context(**dag_run)))
    (alert,) = warehouse.rows("select kind, source, business_date, message from ops.alert")
    assert (alert["kind"], alert["source"], alert["business_date"]) == ("late", "stores", day)
    assert alert["message"].startswith(f"stores has not delivered {day} by 06:00 (Asia/Shanghai)")
    assert caplog.messages == [alert["message"]]


def test_the_deadline_names_the_callback_and_only_the_source(make_settings: Callable[..., Settings]) -> None:
    from portrait_airflow import deadline
    from portrait_timetables import BusinessDateDeadline

    source = make_settings(SOURCES).sources.source("stores")
    alert = deadline(source, "0 2 * * *", "Asia/Shanghai")
    assert alert is not None
    assert alert.reference == BusinessDateDeadline("06:00:00", "Asia/Shanghai", by_cron=True)
    assert alert.callback.path == "portrait_airflow.note_late"
    assert alert.callback.kwargs == {"source": "stores"}
    assert deadline(source.model_copy(update={"deadline": None}), None, "Asia/Shanghai") is None
