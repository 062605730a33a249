"""Exports: each once, without control group and capped customers, to a file, a table, a real HTTP server."""

import json
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import pyarrow.csv as csv
import pyarrow.parquet as pq
import pytest
from portrait.audiences.export import export_audience
from portrait.audiences.refresh import refresh
from portrait.config import Settings
from portrait.config.audiences import Audience
from portrait.errors import PortraitError, SourceUnavailable
from portrait.warehouse import Warehouse

PEOPLE = [{"customer_id": f"c{i}", "monetary": float(i)} for i in range(10)]


class Receiver:
    """A CRM that answers what it is told to and remembers what it got."""

    def __init__(self) -> None:
        self.answers: list[int] = []
        self.got: list[tuple[str, str | None, dict[str, Any]]] = []
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                status = receiver.answers.pop(0) if receiver.answers else 200
                receiver.got.append((self.headers["Idempotency-Key"], self.headers["Authorization"], body))
                self.send_response(status)
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/in?key=secret"
        Thread(target=self.server.serve_forever, daemon=True).start()


@pytest.fixture
def receiver(monkeypatch: pytest.MonkeyPatch) -> Iterator[Receiver]:
    monkeypatch.setattr("portrait.audiences.webhook._WAIT_S", 0.01)
    one = Receiver()
    yield one
    one.server.shutdown()
    one.server.server_close()


@pytest.fixture
def refreshed(night: Callable, with_audiences: Callable) -> Callable[..., Settings]:
    """Settings with these audiences, refreshed for a night of ten customers who spent 0 to 9."""

    def make(*audiences: Audience, day: int = 1) -> Settings:
        settings = with_audiences(*audiences)
        night(day, customer_profile=PEOPLE)
        for one in audiences:
            refresh(settings, one.code)
        return settings

    return make


def hook(receiver: Receiver, **others: Any) -> dict[str, Any]:
    return {"format": "webhook", "webhook": {"url": receiver.url, "batch_rows": 2, **others}}


@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_a_file(refreshed: Callable, make_audience: Callable, warehouse: Warehouse, form: str) -> None:
    settings = refreshed(make_audience("rich", "monetary >= 7", destination={"format": form}))
    found = export_audience(settings, "rich")
    assert (found.customers, found.target, found.sent_now) == (3, f"exports/rich/2026-03-01.{form}", True)
    path = settings.workspace_dir / found.target
    table = csv.read_csv(path) if form == "csv" else pq.read_table(path)
    assert table["customer_id"].to_pylist() == ["c7", "c8", "c9"]
    assert set(table["audience"].to_pylist()) == {"rich"}
    assert [p.name for p in path.parent.iterdir()] == [path.name]
    who = warehouse.rows("select customer_id from audience.exported order by 1")
    assert [r["customer_id"] for r in who] == ["c7", "c8", "c9"]


def test_an_export_happens_once(refreshed: Callable, make_audience: Callable, warehouse: Warehouse) -> None:
    settings = refreshed(make_audience("rich", "monetary >= 7"))
    first = export_audience(settings, "rich")
    path = settings.workspace_dir / first.target
    path.unlink()
    again = export_audience(settings, "rich")
    assert (again.export_id, again.sent_now, path.exists()) == (first.export_id, False, False)
    assert warehouse.scalar("select count(*) from audience.export_log") == 1


def test_the_control_group_is_never_sent(
    refreshed: Callable, make_audience: Callable, warehouse: Warehouse
) -> None:
    settings = refreshed(make_audience("all", "monetary >= 0", control_share=0.5))
    found = export_audience(settings, "all")
    control = {
        r["customer_id"] for r in warehouse.rows("select customer_id from audience.member where is_control")
    }
    sent = {r["customer_id"] for r in warehouse.rows("select customer_id from audience.exported")}
    assert control
    assert (sent & control, len(sent) + len(control)) == (set(), 10)
    assert (found.customers, found.held_back) == (len(sent), len(control))


def test_consent_withdrawn_since_the_refresh_counts(
    night: Callable,
    with_audiences: Callable,
    make_audience: Callable,
    consent: Callable,
    warehouse: Warehouse,
) -> None:
    night(1, customer_profile=PEOPLE)
    settings = with_audiences(make_audience("rich", "monetary >= 0", purpose="marketing_email"))
    consent("c1")
    consent("c2")
    assert refresh(settings, "rich").members == 2
    consent("c1", granted=False, day=2)
    assert (export_audience(settings, "rich").customers, export_audience(settings, "rich").capped) == (1, 1)
    assert warehouse.rows("select customer_id from audience.exported") == [{"customer_id": "c2"}]


def test_the_frequency_cap_counts_a_channel_over_all_audiences(
    night: Callable, with_audiences: Callable, make_audience: Callable
) -> None:
    cap = {"times": 1, "days": 3}
    some = make_audience("some", "monetary >= 8")
    many = make_audience("many", "monetary >= 6", frequency_cap=cap)
    other = make_audience("other", "monetary >= 6", frequency_cap=cap, channel="sms")
    settings = with_audiences(some, many, other)

    def sent(day: int, *codes: str) -> list[tuple[int, int]]:
        night(day, customer_profile=PEOPLE)
        found = []
        for code in codes:
            refresh(settings, code)
            export = export_audience(settings, code)
            found.append((export.customers, export.capped))
        return found

    # Two of the four had an e-mail tonight; the channel sms knows nothing of it.
    assert sent(1, "some", "many", "other") == [(2, 0), (2, 2), (4, 0)]
    assert sent(3, "many") == [(0, 4)]  # the first is still one of the last three days
    assert sent(4, "many") == [(4, 0)]


def test_a_table(refreshed: Callable, make_audience: Callable, warehouse: Warehouse, night: Callable) -> None:
    settings = refreshed(make_audience("rich", "monetary >= 8", destination={"format": "table"}))
    assert export_audience(settings, "rich").target == "audience.delivery"
    night(2, customer_profile=PEOPLE[:9])
    refresh(settings, "rich")
    export_audience(settings, "rich")
    rows = warehouse.rows("select customer_id, as_of::text from audience.delivery")
    assert [tuple(r.values()) for r in rows] == [("c8", "2026-03-02")]


def test_a_webhook_gets_batches_with_keys(
    refreshed: Callable, make_audience: Callable, receiver: Receiver, warehouse: Warehouse
) -> None:
    settings = refreshed(
        make_audience("rich", "monetary >= 5", purpose="service", destination=hook(receiver, token="t0"))
    )
    receiver.answers = [503, 429]  # two tries in vain, the same batch again
    found = export_audience(settings, "rich")
    assert "secret" not in found.target
    assert [b["customers"] for _, _, b in receiver.got] == [
        *[["c5", "c6"]] * 3,
        ["c7", "c8"],
        ["c9"],
    ]
    keys = [key for key, _, _ in receiver.got]
    assert len(set(keys[:3])) == 1
    assert len(set(keys)) == 3
    assert {token for _, token, _ in receiver.got} == {"Bearer t0"}
    assert receiver.got[-1][2] | {"customers": []} == {
        "audience": "rich",
        "as_of": "2026-03-01",
        "purpose": "service",
        "channel": "email",
        "batch": 3,
        "batches": 3,
        "customers": [],
    }
    log = warehouse.rows("select status, batches, batches_sent, customers from audience.export_log")
    assert log == [{"status": "sent", "batches": 3, "batches_sent": 3, "customers": 5}]


def test_a_receiver_that_is_away_gets_the_rest_later(
    refreshed: Callable, make_audience: Callable, receiver: Receiver, warehouse: Warehouse
) -> None:
    settings = refreshed(make_audience("rich", "monetary >= 5", destination=hook(receiver, attempts=2)))
    receiver.answers = [200, 500, 500]
    with pytest.raises(SourceUnavailable, match=r"took batch 2 of 3 not in 2 attempts \(answered 500\)"):
        export_audience(settings, "rich")
    log = warehouse.rows("select status, batches_sent, error from audience.export_log")[0]
    assert (log["status"], log["batches_sent"]) == ("failed", 1)
    assert "batch 2 of 3" in log["error"]
    second = receiver.got[1][0]
    receiver.got.clear()
    assert export_audience(settings, "rich").sent_now
    assert (receiver.got[0][0], receiver.got[0][2]["batch"]) == (second, 2)
    assert [b["customers"] for _, _, b in receiver.got] == [["c7", "c8"], ["c9"]]
    assert warehouse.rows("select status, error from audience.export_log") == [
        {"status": "sent", "error": None}
    ]


def test_a_refusal_is_not_tried_again(
    refreshed: Callable, make_audience: Callable, receiver: Receiver
) -> None:
    settings = refreshed(make_audience("rich", "monetary >= 9", destination=hook(receiver)))
    receiver.answers = [401]
    with pytest.raises(PortraitError, match="refused batch 1 with status 401; check url and token"):
        export_audience(settings, "rich")
    assert len(receiver.got) == 1


def test_an_audience_is_refreshed_first(with_audiences: Callable, make_audience: Callable) -> None:
    with pytest.raises(PortraitError, match="has no members yet: refresh it first"):
        export_audience(with_audiences(make_audience("rich", "monetary > 1")), "rich")


def test_an_export_is_in_the_access_log(
    refreshed: Callable[..., Settings], make_audience: Callable[..., Audience], warehouse: Warehouse
) -> None:
    settings = refreshed(make_audience("rich", "monetary >= 8"))
    for _ in range(2):  # the second one sends nothing
        export_audience(settings, "rich")
    (noted,) = warehouse.rows("select what, reason, records from privacy.access_log")
    assert noted["what"] == "export"
    assert noted["records"] == 2
    assert noted["reason"] == "audience rich as of 2026-03-01 for service to exports/rich/2026-03-01.csv"


def test_what_goes_on_later_leaves_out_who_withdrew_meanwhile(
    night: Callable,
    with_audiences: Callable,
    make_audience: Callable,
    consent: Callable,
    receiver: Receiver,
    warehouse: Warehouse,
) -> None:
    """Of three batches of two the first arrives; then one of those sent and one of those waiting withdraw."""
    night(1, customer_profile=PEOPLE)
    settings = with_audiences(
        make_audience("rich", "monetary >= 4", purpose="marketing_email", destination=hook(receiver))
    )
    for number in range(4, 10):
        consent(f"c{number}")
    refresh(settings, "rich")
    receiver.answers = [200, *[503] * 20]
    with pytest.raises(SourceUnavailable):
        export_audience(settings, "rich")
    receiver.answers.clear()
    receiver.got.clear()
    consent("c4", granted=False, day=2)
    consent("c7", granted=False, day=2)
    found = export_audience(settings, "rich")
    assert [b["customers"] for _, _, b in receiver.got] == [["c6", "c8"], ["c9"]]
    assert (found.customers, found.capped) == (5, 1)
    sent = [r["customer_id"] for r in warehouse.rows("select customer_id from audience.exported order by 1")]
    assert sent == ["c4", "c5", "c6", "c8", "c9"]
