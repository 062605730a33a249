"""The same rows from an API however it misbehaves, and one line for every refusal."""

import json
import logging
import random
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import httpx
import pyarrow as pa
import pytest
from portrait.config import load_settings
from portrait.errors import PortraitError, SourceUnavailable
from portrait.sources import Delivery, Window, connector, http, http_client
from portrait.sources.http import HttpConnector
from portrait.sources.readers import JSON_LINE

from .shop_api import Asked, Reply, ShopApi, shop_api, zipped

DAY = date(2026, 3, 1)
ROWS = [{"sku": f"S{n}", "name": "茶"} for n in range(7)]
TOKEN = "s3cr3t-token-of-the-shop"
MARK = int(datetime(2026, 2, 28, 16, 0, 0, 250_000, UTC).timestamp() * 1_000_000)
Make = Callable[..., HttpConnector]


@pytest.fixture
def api(monkeypatch: pytest.MonkeyPatch) -> Iterator[ShopApi]:
    monkeypatch.setenv("NO_PROXY", "*")
    with shop_api() as running:
        yield running


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_client, "BACKOFF_SECONDS", 0.001)


@pytest.fixture
def make(tmp_path: Path, api: ShopApi) -> Make:
    """The source `things` on the running API with these keys of `http`."""

    def build(
        environ: dict[str, str] | None = None, source: dict[str, Any] | None = None, **keys: Any
    ) -> HttpConnector:
        address = {} if "connection" in keys or "url" in keys else {"url": api.address}
        origin = {"path": "things", "requests_per_second": 1000, "retries": 3, **address, **keys}
        spec = {
            "name": "things", "entity": "product", "columns": {"sku": "sku", "name": "name"}, "http": origin,
            **(source or {}),
        }  # fmt: skip
        file = tmp_path / "sources.yaml"
        content = {"workspace": "test", "timezone": "Asia/Shanghai", "sources": [spec]}
        file.write_text(json.dumps(content), encoding="utf-8")
        settings = load_settings(environ or {}, file)
        made = connector(settings, settings.sources.source("things"))
        assert isinstance(made, HttpConnector)
        return made

    return build


def texts(source: HttpConnector, delivery: Delivery | None = None) -> list[str]:
    (given,) = [delivery] if delivery else source.pending(DAY)
    batches = list(source.batches(given, lambda *_: pytest.fail("there are no bad lines")))
    assert all(b.schema == pa.schema([(JSON_LINE, pa.string())]) for b in batches)
    return [text for b in batches for text in b[JSON_LINE].to_pylist()]


def read(source: HttpConnector) -> list[dict]:
    return [json.loads(text) for text in texts(source)]


def refusal(source: HttpConnector) -> PortraitError:
    with pytest.raises(PortraitError) as caught:
        read(source)
    assert len(str(caught.value).splitlines()) == 1
    assert TOKEN not in str(caught.value)
    return caught.value


# What a pull reads


@pytest.mark.parametrize(
    ("keys", "mark", "expected"),
    [
        pytest.param({}, None, (None, None, None), id="everything"),
        pytest.param({"watermark": "at"}, None, (None, "2026-03-02T00:00:00+08:00", DAY), id="first pull"),
        pytest.param(
            {"watermark": "at"}, MARK, (MARK - 3_600_000_000, "2026-03-02T00:00:00+08:00", DAY), id="an hour over"
        ),
        pytest.param(
            {"watermark": {"column": "at", "overlap": 0}}, MARK, (MARK, "2026-03-02T00:00:00+08:00", DAY), id="not over"
        ),
        pytest.param(
            {"watermark": {"column": "id", "type": "integer", "overlap": 5}}, 100, (95, None, None), id="integer"
        ),
        pytest.param({"params": {"day": "{business_date}"}}, None, (None, None, DAY), id="a date in params"),
    ],
)  # fmt: skip
def test_the_window(make: Make, api: ShopApi, keys: dict, mark: int | None, expected: tuple) -> None:
    since, until, day = expected
    assert make(**keys).pending(DAY, mark) == [
        Delivery(
            f"{api.address}/things",
            delivered_for=day,
            window=Window(since, until and datetime.fromisoformat(until)),
        )
    ]
    assert api.asked == []


def test_the_day_ends_at_the_closing_hour_of_the_source_s_zone(make: Make) -> None:
    (delivery,) = make(watermark="at", source={"timezone": "Europe/Paris", "closing_hour": 4}).pending(
        date(2026, 3, 28)
    )
    assert delivery.window is not None
    assert delivery.window.until == datetime(2026, 3, 29, 2, tzinfo=UTC)  # summer time begins that night


@pytest.mark.parametrize(
    ("path", "as_of", "name"),
    [
        ("orders/{business_date}", DAY, "/v1/orders/2026-03-01"),
        ("orders/{business_date}", None, "/v1/orders/{business_date}"),
        ("/orders?status=paid", DAY, "/v1/orders"),
        ("", DAY, "/v1"),
    ],
)
def test_the_name_has_neither_login_nor_query(
    make: Make, api: ShopApi, path: str, as_of: date | None, name: str
) -> None:
    source = make(url=f"http://me:{TOKEN}@{api.host}/v1?key={TOKEN}", path=path, params={"k": TOKEN})
    assert source.pending(as_of)[0].name == api.address + name


TIMES = {
    "from": "{since}",
    "to": "{until}",
    "both": "{since}/{until}",
    "day": "{business_date}",
    "open": "{x}",
}


@pytest.mark.parametrize(
    ("watermark", "mark", "expected"),
    [
        pytest.param(
            {"column": "at", "overlap": 0},
            MARK,
            {
                "from": "2026-03-01T00:00:00.250000+08:00",
                "to": "2026-03-02T00:00:00+08:00",
                "both": "2026-03-01T00:00:00.250000+08:00/2026-03-02T00:00:00+08:00",
                "day": "2026-03-01",
                "open": "{x}",
            },
            id="timestamp",
        ),
        pytest.param(
            {"column": "at"},
            None,
            {"to": "2026-03-02T00:00:00+08:00", "day": "2026-03-01", "open": "{x}"},
            id="first pull",
        ),
        pytest.param(
            {"column": "id", "type": "integer", "overlap": 1},
            8,
            {"from": "7", "day": "2026-03-01", "open": "{x}"},
            id="integer",
        ),
    ],
)
def test_params(make: Make, api: ShopApi, watermark: dict, mark: int | None, expected: dict) -> None:
    source = make(watermark=watermark, params=TIMES)
    texts(source, source.pending(DAY, mark)[0])
    assert [a.params for a in api.asked] == [expected]


def test_a_path_may_hold_values_and_a_query(make: Make, api: ShopApi) -> None:
    source = make(path="since/{since}/x?all=1&from={since}", params={"b": "2"}, watermark="at")
    texts(source, source.pending(DAY, MARK)[0])
    (asked,) = api.asked
    assert asked.path == "/since/2026-02-28T23:00:00.250000+08:00/x"
    assert asked.params == {"all": "1", "from": "2026-02-28T23:00:00.250000+08:00", "b": "2"}


def test_a_path_without_its_value(make: Make) -> None:
    assert "sources[things].http.path: x/{since} has a placeholder" in str(
        refusal(make(path="x/{since}", watermark="at"))
    )


# Paging


def sliced(param: str, size: int, first: int = 1) -> Callable[[Asked], Reply]:
    def answer(asked: Asked) -> Reply:
        start = (int(asked.params[param]) - first) * size
        return Reply({"data": {"list": ROWS[start : start + size]}})

    return answer


def test_without_paging_one_request(make: Make, api: ShopApi) -> None:
    api.answer = lambda _: Reply(ROWS)
    assert read(make()) == ROWS
    assert len(api.asked) == 1


def test_cursor(make: Make, api: ShopApi) -> None:
    pages = {None: (ROWS[:3], "a+b/="), "a+b/=": (ROWS[3:6], 17), "17": (ROWS[6:], None)}

    def answer(asked: Asked) -> Reply:
        rows, following = pages[asked.params.get("after")]
        return Reply({"rows": rows, "paging": {"next": following}})

    api.answer = answer
    paging = {"type": "cursor", "field": "paging.next", "param": "after"}
    assert read(make(items="rows", paging=paging, params={"limit": "3"})) == ROWS
    assert [a.params.get("after") for a in api.asked] == [None, "a+b/=", "17"]
    assert {a.params["limit"] for a in api.asked} == {"3"}


@pytest.mark.parametrize("end", [{}, {"next": None}, {"next": ""}, {"next": False}])
def test_the_end_of_cursors(make: Make, api: ShopApi, end: dict) -> None:
    api.answer = lambda _: Reply({"rows": ROWS, **end})
    assert read(make(items="rows", paging={"type": "cursor", "field": "next", "param": "after"})) == ROWS
    assert len(api.asked) == 1


@pytest.mark.parametrize("first", [0, 1])
def test_numbers_end_at_an_empty_page(make: Make, api: ShopApi, first: int) -> None:
    api.answer = sliced("p", 3, first)
    paging = {"type": "page", "param": "p", "first": first, "size_param": "n", "size": 3}
    assert read(make(items="data.list", paging=paging)) == ROWS
    assert [int(a.params["p"]) - first for a in api.asked] == [0, 1, 2, 3]
    assert {a.params["n"] for a in api.asked} == {"3"}


def test_an_api_that_gives_fewer_than_size(make: Make, api: ShopApi) -> None:
    """It caps what is asked for: a page of 2 where 100 were asked for is not the last one."""
    api.answer = sliced("page", 2)
    assert (
        read(make(items="data.list", paging={"type": "page", "size_param": "per_page", "size": 100})) == ROWS
    )
    assert len(api.asked) == 5


@pytest.mark.parametrize(
    ("size", "last", "status", "expected"),
    [
        pytest.param(3, 3, 404, 7, id="404 ends"),
        pytest.param(7, 1, 404, 7, id="404 after a full page"),
        pytest.param(3, 3, 400, 7, id="400 after a short page"),
        pytest.param(100, 1, 422, 7, id="422 after a short page"),
        pytest.param(3, 2, 400, None, id="400 after a full page"),
        pytest.param(3, 0, 404, None, id="404 on the first"),
    ],
)
def test_a_page_beyond_the_last_may_be_refused(
    make: Make, api: ShopApi, size: int, last: int, status: int, expected: int | None
) -> None:
    within = sliced("page", size)
    api.answer = lambda a: (
        within(a) if int(a.params["page"]) <= last else Reply({"error": "no such page"}, status)
    )
    source = make(items="data.list", paging={"type": "page", "size": size})
    if expected is None:
        assert f"answered {status}" in str(refusal(source))
    else:
        assert read(source) == ROWS[:expected]
    assert len(api.asked) == last + 1


def test_a_limit_on_deep_pages_is_no_end(make: Make, api: ShopApi) -> None:
    """Page 3 is refused while page 2 was as full as page 1, of an API that gives fewer than `size`."""
    within = sliced("page", 2)
    api.answer = lambda a: within(a) if int(a.params["page"]) <= 2 else Reply({"error": "too deep"}, 400)
    error = refusal(make(items="data.list", paging={"type": "page", "size": 100}))
    assert 'answered 400 Bad Request: {"error": "too deep"}; correct path or params' in str(error)


def test_an_api_that_repeats_its_last_page(make: Make, api: ShopApi) -> None:
    api.answer = lambda a: sliced("page", 3)(Asked("", {"page": str(min(3, int(a.params["page"])))}, {}, 0))
    assert read(make(items="data.list", paging={"type": "page", "size": 3})) == ROWS
    assert len(api.asked) == 4


def test_a_page_number_that_is_ignored(make: Make, api: ShopApi) -> None:
    api.answer = lambda _: Reply(ROWS)
    error = refusal(make(paging={"type": "page", "param": "p"}))
    assert "sources[things].http.paging: page 2 has the rows of page 1; correct paging.param ('p')" in str(
        error
    )
    assert len(api.asked) == 2


@pytest.mark.parametrize("field", [None, "@odata.nextLink", "links.next"])
def test_links(make: Make, api: ShopApi, field: str | None) -> None:
    """Relative or whole, in the header or in the answer."""
    following = {None: "/things?at=2&key=k", "2": f"{api.address}/more?at=3", "3": "?at=4", "4": None}

    def answer(asked: Asked) -> Reply:
        at = asked.params.get("at")
        link, rows = following[at], ROWS[int(at or 1) * 2 - 2 :][:2]
        if field is None:
            header = f'<{api.address}/x>; rel="last"' + (f', <{link}>; rel="next"' if link else "")
            return Reply({"rows": rows}, headers={"Link": header})
        links = {"links": {"next": link}} if field == "links.next" else {field: link}
        return Reply({"rows": rows, **links})

    api.answer = answer
    assert read(make(items="rows", params={"key": "k"}, paging={"type": "link", "field": field})) == ROWS
    assert [(a.path, a.params.get("at")) for a in api.asked] == [
        ("/things", None), ("/things", "2"), ("/more", "3"), ("/more", "4"),
    ]  # fmt: skip


def test_cursors_that_never_end(make: Make, api: ShopApi) -> None:
    turn = {None: "a", "a": "b", "b": "a"}
    api.answer = lambda a: Reply({"rows": ROWS, "next": turn[a.params.get("after")]})
    error = refusal(make(items="rows", paging={"type": "cursor", "field": "next", "param": "after"}))
    assert str(error).startswith("sources[things].http.paging: 'a' came twice as the next page")
    assert len(api.asked) == 3


def test_links_that_never_end(make: Make, api: ShopApi) -> None:
    api.answer = lambda a: Reply(ROWS, headers={"Link": f'</things?key={TOKEN}&p=2>; rel="next"'})
    error = refusal(make(params={"key": TOKEN}, paging={"type": "link"}))
    assert f"'{api.address}/things?key=***&p=2' came twice" in str(error)
    assert len(api.asked) == 2


@pytest.mark.parametrize("field", [{"deep": 1}, ["a"], True])
def test_a_field_that_is_no_cursor(make: Make, api: ShopApi, field: Any) -> None:
    api.answer = lambda _: Reply({"rows": ROWS, "next": field})
    error = refusal(make(items="rows", paging={"type": "cursor", "field": "next", "param": "after"}))
    assert "sources[things].http.paging.field: 'next' is neither text nor a number" in str(error)


def test_a_page_is_handed_on_before_the_next_is_asked_for(
    make: Make, api: ShopApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http, "BATCH_ROWS", 2)
    api.answer = sliced("page", 3)
    source = make(items="data.list", paging={"type": "page", "size": 3})
    batches = source.batches(source.pending(DAY)[0], lambda *_: None)
    assert (next(batches).num_rows, next(batches).num_rows, len(api.asked)) == (2, 1, 1)
    assert [b.num_rows for b in batches] == [2, 1, 1]


def test_rows_that_shift_between_pages_come_twice(make: Make, api: ShopApi) -> None:
    pages = {"1": ROWS[:3], "2": ROWS[2:5], "3": ROWS[5:], "4": []}
    api.answer = lambda a: Reply(pages[a.params["page"]])
    assert read(make(paging={"type": "page", "size": 3})) == [*ROWS[:3], *ROWS[2:]]


# Rows


def test_every_digit_survives(make: Make, api: ShopApi) -> None:
    items = [
        '{"a": 0.10, "b": 12345678901234567890123, "c": -0, "d": 1E400}',
        '{"name": "茶 \\u8336 \\ud800", "pretty":\n  [1.50, {"x": [ ]}]}',
        '{"n": ' + "9" * 5000 + "}",
        '"text ] , }"',
        "null",
        "[1, [2]]",
        "3.00",
    ]
    body = '{"data": [0], "data": {"x.y": \r\n [ ' + " ,\n ".join(items) + ' ] }, "next" : null}'
    api.answer = lambda _: Reply(body.encode())
    assert texts(make(items="data.x.y")) == items


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_encodings_of_json(make: Make, api: ShopApi, encoding: str) -> None:
    api.answer = lambda _: Reply(json.dumps(ROWS, ensure_ascii=False).encode(encoding))
    assert read(make()) == ROWS


def test_another_encoding(make: Make, api: ShopApi) -> None:
    api.answer = lambda _: Reply(json.dumps(ROWS, ensure_ascii=False).encode("gb18030"))
    assert read(make(source={"encoding": "gb18030"})) == ROWS
    assert "not in utf-8 (application/json, 203 bytes) (4 requests); check sources[things].encoding" in str(
        refusal(make())
    )


def test_gzip(make: Make, api: ShopApi) -> None:
    api.answer = lambda _: zipped(ROWS)
    assert read(make()) == ROWS
    assert "gzip" in api.asked[0].headers["Accept-Encoding"]


def test_no_content_is_no_rows(make: Make, api: ShopApi) -> None:
    api.answer = lambda _: Reply(status=204)
    assert read(make(items="rows", paging={"type": "cursor", "field": "next", "param": "p"})) == []


@pytest.mark.parametrize(
    ("items", "body", "problem"),
    [
        ("rows", {"orders": [], "next": 1}, "no list at 'rows'; its keys are orders, next; correct items"),
        ("data.list", {"code": 7, "data": None}, "no list at 'data.list'; its keys are code, data;"),
        ("rows", {"rows": None}, "no list at 'rows'; its keys are rows;"),
        ("rows", {"rows": {"1": {}}}, "no list at 'rows'; its keys are rows;"),
        ("rows", [1], "no list at 'rows'; it is a list;"),
        ("", {"rows": []}, "no list; its keys are rows;"),
        ("", {}, "no list; its keys are none;"),
        ("", "text", "no list; it is a single value;"),
    ],
)
def test_no_list_of_rows(make: Make, api: ShopApi, items: str, body: Any, problem: str) -> None:
    api.answer = lambda _: Reply(body)
    error = refusal(make(items=items))
    assert str(error).startswith(f"sources[things].http.items: {api.address}/things answered with {problem}")
    assert not isinstance(error, SourceUnavailable)
    assert len(api.asked) == 1


def test_a_page_too_large(make: Make, api: ShopApi, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_client, "MAX_PAGE_BYTES", 1 << 20)
    api.answer = lambda _: zipped("x" * (2 << 20))
    assert "answers with more than 1 MiB; ask for smaller pages (paging)" in str(refusal(make()))
    assert len(api.asked) == 1


# The login


@pytest.mark.parametrize(
    ("connection", "path"),
    [
        pytest.param("http://:{token}@{host}", "/things", id="uri"),
        pytest.param("http://:{token}@{host}/v1", "/v1/things", id="uri with a path"),
        pytest.param("http://:{token}@{host}/http", "/things", id="uri, scheme as schema"),
        pytest.param("postgres://:{token}@{host}/http", "/things", id="schema wins"),
        pytest.param({"conn_type": "http", "host": "{host}"}, "/things", id="json, port in the host"),
        pytest.param({"conn_type": "HTTP", "host": "127.0.0.1", "port": 0, "schema": "http"}, "/things", id="json"),
        pytest.param({"conn_type": "", "host": "http://{host}/v1/"}, "/v1/things", id="scheme in the host"),
    ],
)  # fmt: skip
def test_connections_of_airflow(make: Make, api: ShopApi, connection: Any, path: str) -> None:
    if isinstance(connection, dict):
        filled = {k: v.format(host=api.host) if isinstance(v, str) else v for k, v in connection.items()}
        if "port" in filled:
            filled["port"] = int(api.host.split(":")[1])
        text = json.dumps({**filled, "login": "me", "password": TOKEN, "extra": {"headers": {"X-Shop": "7"}}})
    else:
        text = connection.format(host=api.host, token=TOKEN) + "?headers=%7B%22X-Shop%22%3A%207%7D"
    api.answer = lambda _: Reply(ROWS)
    assert read(make({"AIRFLOW_CONN_SHOP": text}, connection="shop")) == ROWS
    (asked,) = api.asked
    assert (asked.path, asked.params) == (path, {})
    assert asked.headers["Authorization"] == f"Bearer {TOKEN}"
    assert asked.headers["X-Shop"] == "7"


@pytest.mark.parametrize(
    ("text", "base"),
    [
        ("https://:t@api.example.com", "https://api.example.com"),
        ("http://:t@api.example.com/https", "https://api.example.com"),
        (
            '{"conn_type": "http", "host": "https://api.example.com:8443/v1"}',
            "https://api.example.com:8443/v1",
        ),
        ('{"conn_type": "https", "host": "::1", "port": 8443}', "https://[::1]:8443"),
        ("http://[::1]:8080/https", "https://[::1]:8080"),
        ("http://https://:t0ken@api.example.com", "https://api.example.com"),
    ],
)
def test_addresses(make: Make, text: str, base: str) -> None:
    source = make({"AIRFLOW_CONN_SHOP": text}, connection="shop")
    assert source.pending(DAY)[0].name == f"{base}/things"


@pytest.mark.parametrize(
    "text",
    [
        "postgres://:s3cr3t-token-of-the-shop@api.example.com",
        '{"conn_type": "http"}',
        '{"conn_type": "http", "host": "https://me:s3cr3t-token-of-the-shop@api.example.com"}',
    ],
)
def test_a_connection_that_is_no_address_of_an_api(make: Make, text: str) -> None:
    with pytest.raises(PortraitError) as caught:
        make({"AIRFLOW_CONN_SHOP": text}, connection="shop").pending(DAY)
    assert str(caught.value).startswith("sources[things].http.connection 'shop' is no address of an API")
    assert TOKEN not in str(caught.value)


def test_an_unknown_connection(make: Make) -> None:
    with pytest.raises(PortraitError, match="no connection 'shop'.*AIRFLOW_CONN_SHOP"):
        make(connection="shop").pending(DAY)


def test_headers_and_the_query_of_the_url(make: Make, api: ShopApi) -> None:
    api.answer = lambda _: Reply(ROWS)
    source = make(
        url=f"http://:{TOKEN}@{api.host}/v1?key=k%2B1",
        headers={"X-Shop": "7", "accept": "application/hal+json"},
        auth_header="X-Api-Key",
        auth_prefix="",
        params={"a": "b"},
    )
    assert read(source) == ROWS
    (asked,) = api.asked
    assert asked.params == {"key": "k+1", "a": "b"}
    assert (asked.headers["X-Api-Key"], asked.headers["X-Shop"]) == (TOKEN, "7")
    assert asked.headers["accept"] == "application/hal+json"
    assert "Authorization" not in asked.headers


@pytest.mark.parametrize("status", [401, 403])
def test_a_login_that_is_refused(make: Make, api: ShopApi, status: int) -> None:
    api.answer = lambda a: Reply({"you sent": a.headers["Authorization"]}, status)
    text = json.dumps({"conn_type": "http", "host": api.address, "password": TOKEN})
    error = refusal(make({"AIRFLOW_CONN_SHOP": text}, connection="shop"))
    assert not isinstance(error, SourceUnavailable)
    assert f"{api.address}/things answered {status}" in str(error)
    assert "check the password of connection 'shop', which is sent as header Authorization" in str(error)
    assert len(api.asked) == 1


def test_no_login_where_one_is_wanted(make: Make, api: ShopApi) -> None:
    api.answer = lambda _: Reply(status=401)
    assert "no login was sent: give sources[things].http.url a password" in str(refusal(make()))


@pytest.mark.parametrize("password", [f"{TOKEN}\n", f"{TOKEN} ", f"{TOKEN}é"])
def test_a_password_that_no_header_may_hold(make: Make, api: ShopApi, password: str) -> None:
    text = json.dumps({"conn_type": "http", "host": api.address, "password": password})
    error = refusal(make({"AIRFLOW_CONN_SHOP": text}, connection="shop"))
    assert "header 'Authorization' holds a character that no header may hold" in str(error)
    assert api.asked == []


def test_headers_of_a_connection_that_are_none(make: Make, api: ShopApi) -> None:
    text = json.dumps({"conn_type": "http", "host": api.address, "extra": {"headers": "X-Shop: 7"}})
    error = refusal(make({"AIRFLOW_CONN_SHOP": text}, connection="shop"))
    assert "connection 'shop': its extra has headers that are no JSON object" in str(error)


def test_the_log_tells_counts_and_no_secret(
    make: Make, api: ShopApi, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    api.answer = sliced("page", 3)
    api.troubles.append(Reply(status=500))
    source = make(
        url=f"http://:{TOKEN}@{api.host}?key={TOKEN}",
        params={"k": TOKEN},
        headers={"X-Key": TOKEN},
        items="data.list",
        paging={"type": "page", "size": 3},
    )
    assert read(source) == ROWS
    assert f"{api.address}/things: 4 pages, 7 rows, 1 retries in " in caplog.messages[-1]
    assert f"{api.address}/things answered 500 Internal Server Error; next request in " in caplog.messages[0]
    assert TOKEN not in caplog.text + repr(source) + repr(source.pending(DAY))


# Other hosts


@pytest.fixture
def stranger() -> Iterator[ShopApi]:
    with shop_api() as running:
        running.answer = lambda _: Reply(ROWS)
        yield running


@pytest.mark.parametrize("way", ["redirect", "link", "field"])
@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_the_login_does_not_leave_the_host(
    make: Make, api: ShopApi, stranger: ShopApi, way: str, host: str
) -> None:
    target = stranger.address.replace("127.0.0.1", host) + "/steal"
    api.answer = lambda _: {
        "redirect": Reply(status=302, headers={"Location": target}),
        "link": Reply({"rows": ROWS}, headers={"Link": f'<{target}>; rel="next"'}),
        "field": Reply({"rows": ROWS, "next": target}),
    }[way]
    paging = {"type": "link", "field": "next" if way == "field" else None}
    error = refusal(make(url=f"http://:{TOKEN}@{api.host}", items="rows", paging=paging))
    assert str(error) == (
        f"sources[things].http: {api.address}/things points to {target.removesuffix('/steal')}, which is not "
        f"{api.address}; the login is not sent there. If both are yours, give the connection the other address"
    )
    assert (len(api.asked), stranger.asked) == (1, [])


@pytest.mark.parametrize(
    ("url", "target", "expected"),
    [
        ("https://h/v1", "http://h/b?c=1", "https://h/b?c=1"),
        ("https://h:8443/", "http://h:8443/b", "https://h:8443/b"),
        ("http://h/", "https://h/b", "https://h/b"),
        ("http://h/", "https://h:443/b", "https://h/b"),
        ("https://h/", "https://h:8443/b", None),
        ("http://h:8080/", "https://h/b", None),
        ("https://h/", "//other/b", None),
        ("https://h/", "https://h@other/b", None),
        ("https://h/", "https://h.other/b", None),
        ("https://h/", "ftp://h/b", None),
        ("https://h/", "https://h:x/", None),
    ],
)
def test_what_counts_as_the_same_host(make: Make, url: str, target: str, expected: str | None) -> None:
    client = make(url=url).client
    if expected is not None:
        assert client.within(httpx.URL(f"{url}a"), target) == expected
    else:
        with pytest.raises(PortraitError, match="points to"):
            client.within(httpx.URL(f"{url}a"), target)


def test_redirects_within_the_host(make: Make, api: ShopApi) -> None:
    def answer(asked: Asked) -> Reply:
        if asked.path == "/moved":
            return Reply(ROWS)
        return Reply(status=307, headers={"Location": "/moved?" + "&".join(asked.params)})

    api.answer = answer
    assert read(make(url=f"http://:{TOKEN}@{api.host}")) == ROWS
    assert [a.headers["Authorization"] for a in api.asked] == [f"Bearer {TOKEN}"] * 2


def test_redirects_without_end(make: Make, api: ShopApi) -> None:
    api.answer = lambda _: Reply(status=302, headers={"Location": "/things"})
    assert "/things redirects more than 5 times; correct path" in str(refusal(make()))
    assert len(api.asked) == 5


# Troubles that pass


WHOLE = json.dumps(ROWS).encode()
TROUBLES = [
    pytest.param(Reply(status=500), id="500"),
    pytest.param(Reply(b"<h1>Bad Gateway</h1>", 502, {"Content-Type": "text/html"}), id="502"),
    pytest.param(Reply(status=503, headers={"Retry-After": "0"}), id="503, at once"),
    pytest.param(Reply(status=503, headers={"Retry-After": "soon"}), id="503, Retry-After that is none"),
    pytest.param(Reply(status=429, headers={"Retry-After": "Sun, 06 Nov 1994 08:49:37 GMT"}), id="429, long ago"),
    pytest.param(Reply(status=408), id="408"),
    pytest.param(Reply(WHOLE, cut=20), id="reset in the middle"),
    pytest.param(Reply(WHOLE, cut=0), id="reset before the first byte"),
    pytest.param(Reply(WHOLE, short=True), id="shorter than promised"),
    pytest.param(Reply(WHOLE[:-1]), id="truncated JSON"),
    pytest.param(Reply(WHOLE[:-20]), id="truncated within a text"),
    pytest.param(Reply(WHOLE + b"]"), id="more than JSON"),
    pytest.param(Reply(b""), id="empty"),
    pytest.param(Reply(b"<html>log in</html>", headers={"Content-Type": "text/html"}), id="HTML"),
    pytest.param(Reply(b"[" * 100_000), id="too deep"),
    pytest.param(Reply(b"\xff\xfe["), id="half a character"),
    pytest.param(Reply(WHOLE, headers={"Content-Encoding": "gzip"}), id="not the gzip it says"),
    pytest.param(Reply(zipped(ROWS).body[:-12], headers={"Content-Encoding": "gzip"}), id="truncated gzip"),
    pytest.param(Reply(WHOLE, delay=5), id="slow"),
]  # fmt: skip


@pytest.mark.parametrize("trouble", TROUBLES)
def test_a_trouble_that_passes(make: Make, api: ShopApi, trouble: Reply) -> None:
    api.troubles.extend([trouble, trouble])
    api.answer = lambda _: Reply(ROWS)
    assert read(make(timeout_seconds=0.3)) == ROWS
    assert len(api.asked) == 3


@pytest.mark.parametrize("trouble", TROUBLES)
def test_a_trouble_that_stays(make: Make, api: ShopApi, trouble: Reply) -> None:
    api.answer = lambda _: trouble
    error = refusal(make(timeout_seconds=0.2, retries=1))
    assert isinstance(error, SourceUnavailable)
    assert str(error).startswith(f"sources[things].http: {api.address}/things ")
    assert "(2 requests); " in str(error)
    assert len(api.asked) == 2


@pytest.mark.parametrize(
    ("trouble", "message"),
    [
        (Reply(status=503), "/things answered 503 Service Unavailable; try again later"),
        (
            Reply(status=429),
            "/things answered 429 Too Many Requests; try again later or lower sources[things].http.requests_per_second",
        ),
        (
            Reply(WHOLE, delay=5),
            "/things did not answer within 0.2 s; try again later or raise sources[things].http.timeout_seconds",
        ),
        (
            Reply(b"<p>", headers={"Content-Type": "text/html; charset=utf-8"}),
            "/things answered 200, but not with JSON, or not with all of it (text/html, 3 bytes); "
            "check sources[things].http.path or try again later",
        ),
    ],
)
def test_what_to_do(make: Make, api: ShopApi, trouble: Reply, message: str) -> None:
    api.answer = lambda _: trouble
    error = refusal(make(timeout_seconds=0.2, retries=0))
    assert str(error) == f"sources[things].http: {api.address}{message}"
    assert len(api.asked) == 1


def test_a_host_that_is_not_there(make: Make) -> None:
    error = refusal(make(url="http://127.0.0.1:1"))
    assert isinstance(error, SourceUnavailable)
    assert "http://127.0.0.1:1/things cannot be read (" in str(error)
    assert "(4 requests); check the connection's host" in str(error)


@pytest.mark.parametrize("seed", range(5))
def test_random_troubles_over_many_pages(make: Make, api: ShopApi, seed: int) -> None:
    """All rows once each, and as many requests as pages and troubles."""
    chance = random.Random(seed)
    rows = [{"sku": str(n)} for n in range(100)]
    troubles = [p.values[0] for p in TROUBLES if p.id != "slow"]
    troubled = 0

    def answer(asked: Asked) -> Reply:
        nonlocal troubled
        if chance.random() < 0.3:
            troubled += 1
            trouble: Any = chance.choice(troubles)
            return trouble
        start = int(asked.params.get("after", 0))
        following = start + 10 if start < 90 else None
        return Reply({"rows": rows[start : start + 10], "next": following})

    api.answer = answer
    source = make(items="rows", paging={"type": "cursor", "field": "next", "param": "after"}, retries=20)
    assert read(source) == rows
    assert len(api.asked) == 10 + troubled
    assert troubled > 0


def test_a_page_in_the_middle_that_fails(make: Make, api: ShopApi) -> None:
    within = sliced("page", 3)
    api.answer = lambda a: within(a) if a.params["page"] != "2" else Reply(status=500)
    error = refusal(make(items="data.list", paging={"type": "page", "size": 3}))
    assert isinstance(error, SourceUnavailable)
    assert [a.params["page"] for a in api.asked] == ["1", "2", "2", "2", "2"]


@pytest.mark.parametrize("status", [400, 404, 410, 422, 304])
def test_a_request_that_is_refused(make: Make, api: ShopApi, status: int) -> None:
    api.answer = lambda a: Reply(f"no\nsuch  {a.headers['Authorization']} {'x' * 300}".encode(), status)
    error = refusal(make(url=f"http://:{TOKEN}@{api.host}", params={"day": "{business_date}"}))
    assert not isinstance(error, SourceUnavailable)
    assert str(error).startswith(f"sources[things].http: {api.address}/things answered {status} ")
    if status != 304:  # which has no body
        assert ": no such Bearer *** xxx" in str(error)
    assert str(error).endswith("; correct path or params")
    assert str(error).count("x") < 200
    assert len(api.asked) == 1


# Pace


@pytest.mark.parametrize("status", [429, 503])
def test_retry_after_is_honoured(make: Make, api: ShopApi, status: int) -> None:
    api.troubles.append(Reply(status=status, headers={"Retry-After": "1"}))
    api.answer = lambda _: Reply(ROWS)
    assert read(make()) == ROWS
    first, second = api.asked
    assert second.at - first.at >= 0.95


@pytest.mark.parametrize(
    ("after", "low", "high"),
    [
        pytest.param("120", 120, 120, id="seconds"),
        pytest.param(timedelta(minutes=5), 290, 300, id="date"),
        pytest.param("86400", 600, 600, id="a day is cut to ten minutes"),
        pytest.param(timedelta(days=1), 600, 600, id="tomorrow is cut to ten minutes"),
    ],
)
def test_how_long_retry_after_is(
    make: Make, api: ShopApi, in_place_of_sleeping: Callable, after: Any, low: float, high: float
) -> None:
    slept: list[float] = []
    in_place_of_sleeping(slept.append)
    if isinstance(after, timedelta):
        after = format_datetime(datetime.now(UTC) + after, usegmt=True)
    api.troubles.append(Reply(status=429, headers={"Retry-After": after}))
    api.answer = lambda _: Reply(ROWS)
    assert read(make()) == ROWS
    assert low <= max(slept) <= high


def test_waits_grow(
    make: Make, api: ShopApi, monkeypatch: pytest.MonkeyPatch, in_place_of_sleeping: Callable
) -> None:
    slept: list[float] = []
    in_place_of_sleeping(slept.append)
    monkeypatch.setattr(http_client, "BACKOFF_SECONDS", 1.0)
    api.answer = lambda _: Reply(status=500)
    refusal(make(retries=9))
    waits = [s for s in slept if s >= 1]  # the others are the pace
    assert len(waits) == 9
    assert all(low <= w <= low + 1 for w, low in zip(waits, [1, 2, 4, 8, 16, 32], strict=False))
    assert waits[6:] == [60, 60, 60]


def test_requests_are_spaced(make: Make, api: ShopApi) -> None:
    api.answer = sliced("page", 1)
    api.troubles.extend([Reply(status=500)] * 2)
    assert read(make(items="data.list", paging={"type": "page", "size": 1}, requests_per_second=20)) == ROWS
    assert len(api.asked) == 10
    assert api.asked[-1].at - api.asked[0].at >= 0.9 * 9 / 20


# The look before a pull


def test_the_keys_of_the_first_page(make: Make, api: ShopApi) -> None:
    # json.dumps cannot encode a lone surrogate; APIs escape it.
    api.answer = lambda a: Reply(
        b'[{"a": 1}, 3, {"b": {"c": 1}, "a": 2, "\\ud800": 1}]', headers={"Link": '</x>; rel="next"'}
    )
    source = make(paging={"type": "link"})
    assert source.schema(source.pending(DAY)[0]) == pa.schema([("a", pa.string()), ("b", pa.string())])
    assert len(api.asked) == 1


def test_an_empty_page_has_no_columns(make: Make, api: ShopApi) -> None:
    source = make()
    assert source.schema(source.pending(None)[0]) == pa.schema([])


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ({"params": {"day": "{business_date}"}}, {"day": "{day}"}),
        ({"path": "things?day={business_date}"}, {"day": "{day}"}),
        ({"watermark": "at", "params": {"a": "{since}", "b": "{until}"}}, {"b": "{end}"}),
        ({"watermark": {"column": "id", "type": "integer"}, "params": {"a": "{since}"}}, {}),
    ],
)
def test_a_look_without_a_date_takes_the_last_day(
    make: Make, api: ShopApi, keys: dict, expected: dict
) -> None:
    source = make(**keys, source={"timezone": "UTC"})
    before = datetime.now(UTC).date()
    source.schema(source.pending(None)[0])
    days = {before, datetime.now(UTC).date()}  # midnight may pass meanwhile
    possible = [
        {k: v.format(day=d - timedelta(days=1), end=f"{d}T00:00:00+00:00") for k, v in expected.items()}
        for d in days
    ]
    assert api.asked[0].params in possible


def test_rows_are_never_read_for_today(make: Make, api: ShopApi) -> None:
    source = make(params={"day": "{business_date}"})
    with pytest.raises(PortraitError, match=r"\{business_date\} has no value without a date; pull for one"):
        texts(source, source.pending(None)[0])
    assert api.asked == []
