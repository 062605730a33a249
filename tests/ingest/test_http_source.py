"""Pulling from an API that pages, answers late and fails in the middle."""

import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import date
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from portrait.config import Settings
from portrait.errors import PortraitError, SourceUnavailable
from portrait.ingest import check_sources, pull
from portrait.warehouse import Warehouse

from .conftest import source, sources_yaml

FIRST, SECOND = date(2025, 3, 1), date(2025, 3, 2)
COLUMNS: dict[str, Any] = {
    "event_id": "id", "event_name": {"constant": "order_completed"}, "occurred_at": "paid_at", "sku": "sku",
    "quantity": "qty", "amount": "total",
}  # fmt: skip


@dataclass
class Shop:
    """Orders by the time of their last change, two a page; `broken` pages answer 500."""

    orders: list[dict[str, Any]] = field(default_factory=list)
    broken: set[str] = field(default_factory=set)
    asked: list[dict[str, str]] = field(default_factory=list)
    address: str = ""

    def page(self, params: dict[str, str]) -> tuple[int, dict[str, Any]]:
        self.asked.append(params)
        start = int(params.get("cursor", 0))
        if str(start) in self.broken:
            return 500, {}
        since, until = params.get("since", ""), params["until"]
        chosen = [o for o in self.orders if since[:19] <= o["changed"] < until[:19]]
        following = str(start + 2) if start + 2 < len(chosen) else None
        return 200, {"orders": chosen[start : start + 2], "next": following}


@pytest.fixture
def api() -> Iterator[Shop]:
    shop = Shop()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            params = {k: v[0] for k, v in parse_qs(urlsplit(self.path).query).items()}
            status, content = shop.page(params)
            body = json.dumps(content).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    shop.address = f"http://127.0.0.1:{server.server_port}"
    yield shop
    server.shutdown()
    server.server_close()


@pytest.fixture
def settings(make_settings: Callable[..., Settings], api: Shop) -> Settings:
    spec = source("online_event", "shop", columns=COLUMNS)
    del spec["path"], spec["format"]
    spec["http"] = {
        "url": api.address, "path": "orders", "items": "orders", "watermark": {"column": "changed", "overlap": 0},
        "params": {"since": "{since}", "until": "{until}"}, "retries": 0, "requests_per_second": 1000,
        "paging": {"type": "cursor", "field": "next", "param": "cursor"},
    }  # fmt: skip
    return make_settings(sources_yaml(spec))


def order(number: int, changed: str, total: Any = 10) -> dict[str, Any]:
    return {
        "id": f"o{number}",
        "paid_at": "2025-03-01T09:00:00",
        "sku": "p",
        "qty": 1,
        "total": total,
        "changed": changed,
    }


def test_pages_and_corrections(settings: Settings, api: Shop, warehouse: Warehouse) -> None:
    api.orders = [order(n, f"2025-03-01T1{n}:00:00", 0.1) for n in range(5)]
    first = pull(settings, "shop", FIRST)
    assert (first.rows_read, first.rows_inserted) == (5, 5)
    assert [a.get("cursor") for a in api.asked] == [None, None, "2", "4"]  # the first one is for the keys
    assert "since" not in api.asked[0]
    api.orders[1] = order(1, "2025-03-02T08:00:00", 12)
    second = pull(settings, "shop", SECOND)
    assert api.asked[-1]["since"].startswith("2025-03-01T14:00:00")
    assert (second.rows_read, second.rows_updated, second.rows_unchanged) == (2, 1, 1)
    amounts = warehouse.rows("select event_id, amount::text as a from raw.online_event order by 1")
    assert [r["a"] for r in amounts] == ["0.1000", "12.0000", "0.1000", "0.1000", "0.1000"]


def test_a_page_that_fails_leaves_nothing_and_moves_nothing(
    settings: Settings, api: Shop, warehouse: Warehouse
) -> None:
    api.orders = [order(n, f"2025-03-01T1{n}:00:00") for n in range(5)]
    api.broken = {"4"}
    with pytest.raises(SourceUnavailable):
        pull(settings, "shop", FIRST)
    assert warehouse.scalar("select count(*) from raw.online_event") == 0
    assert warehouse.scalar("select count(*) from ops.source_state") == 0
    api.broken = set()
    assert pull(settings, "shop", FIRST).rows_inserted == 5


def test_nothing_new_is_no_error(settings: Settings, api: Shop) -> None:
    result = pull(settings, "shop", FIRST)
    assert (result.rows_read, result.rows_inserted) == (0, 0)


def test_a_check_asks_for_one_page(settings: Settings, api: Shop, warehouse: Warehouse) -> None:
    api.orders = [order(n, "2025-03-01T10:00:00") for n in range(5)]
    (report,) = check_sources(settings)
    assert (report.source, report.files, report.latest) == ("shop", 1, None)
    assert len(api.asked) == 1
    assert warehouse.scalar("select count(*) from ops.batch") == 0


def test_a_bad_row_is_refused_by_itself(settings: Settings, api: Shop, warehouse: Warehouse) -> None:
    api.orders = [
        order(0, "2025-03-01T10:00:00"),
        order(1, "2025-03-01T10:00:01", "much"),
        order(2, "2025-03-01T10:00:02"),
    ]
    with pytest.raises(PortraitError, match="1 of 3 rows were refused"):
        pull(settings.model_copy(update={"sources": _strict(settings)}), "shop", FIRST)
    result = pull(settings, "shop", FIRST)
    assert (result.rows_inserted, result.rows_rejected) == (2, 1)
    (row,) = warehouse.rows("select path, reason_code from quarantine.rejected_row")
    assert row["reason_code"] == "bad_decimal:amount"
    assert row["path"].startswith(api.address)


def _strict(settings: Settings) -> Any:
    strict = settings.sources.sources[0].model_copy(update={"max_rejected_share": 0.0})
    return settings.sources.model_copy(update={"sources": (strict,)})
