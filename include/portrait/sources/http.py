"""Rows of an HTTP API, page by page, each as the JSON text that was sent."""

import itertools
import logging
import re
import time
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from functools import cached_property
from urllib.parse import quote
from zoneinfo import ZoneInfo

import httpx
import pyarrow as pa

from portrait.config import Settings, SourceSpec
from portrait.config.origins import CursorPaging, LinkPaging, NumberPaging
from portrait.errors import PortraitError
from portrait.sources.delivery import BadLine, Delivery, Window, business_day_end
from portrait.sources.http_client import ABSENT, Answer, HttpClient, Refused, object_keys, shown
from portrait.sources.readers import JSON_LINE

log = logging.getLogger(__name__)

BATCH_ROWS = 5_000
_SAMPLED_ROWS = 1_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MINUTE = 60_000_000  # microseconds
_PLACEHOLDER = re.compile(r"\{(business_date|since|until)\}")
_COLUMN = pa.schema([(JSON_LINE, pa.string())])


class HttpConnector:
    """A source of `http`: one delivery a pull, all that the API has for its window."""

    def __init__(self, settings: Settings, source: SourceSpec) -> None:
        assert source.http is not None
        self.settings, self.source, self.origin = settings, source, source.http
        self.zone = ZoneInfo(settings.sources.timezone_of(source))
        self.where = f"sources[{source.name}].http"

    @cached_property
    def client(self) -> HttpClient:
        return HttpClient(self.settings, self.source, self.origin)

    def pending(self, as_of: date | None, mark: int | None = None) -> list[Delivery]:
        watermark = self.origin.watermark
        since = until = None
        if watermark is not None and mark is not None:
            since = mark - watermark.overlap * (_MINUTE if self._timed else 1)
        if self._timed and as_of is not None:
            until = business_day_end(self.settings, self.source, as_of)
        day = as_of if self._timed or self._names_date else None
        # The name stays the same from pull to pull, but for the date.
        path = self.origin.path.replace("{business_date}", day.isoformat()) if day else self.origin.path
        return [Delivery(self.client.name(path), delivered_for=day, window=Window(since, until))]

    def schema(self, delivery: Delivery) -> pa.Schema:
        if delivery.delivered_for is None and (self._timed or self._names_date):
            # A look without a date in mind: the last day that is over shows the keys as well as any.
            closing = timedelta(hours=self.settings.sources.closing_hour_of(self.source))
            (delivery,) = self.pending((datetime.now(self.zone) - closing).date() - timedelta(days=1))
        with self.client:
            first = next(self._pages(delivery))
        keys = dict.fromkeys(k for row in first[:_SAMPLED_ROWS] for k in object_keys(row) if k.isprintable())
        return pa.schema([(key, pa.string()) for key in keys])

    def batches(self, delivery: Delivery, bad_line: BadLine) -> Iterator[pa.RecordBatch]:
        started, retries, pages, rows = time.monotonic(), self.client.retries, 0, 0
        with self.client:
            for page in self._pages(delivery):
                pages, rows = pages + 1, rows + len(page)
                for start in range(0, len(page), BATCH_ROWS):
                    yield pa.record_batch([pa.array(page[start : start + BATCH_ROWS])], schema=_COLUMN)
        log.info(
            "%s: %d pages, %d rows, %d retries in %.1f s",
            delivery.name, pages, rows, self.client.retries - retries, time.monotonic() - started,
        )  # fmt: skip

    @property
    def _timed(self) -> bool:
        return self.origin.watermark is not None and self.origin.watermark.type == "timestamp"

    @property
    def _names_date(self) -> bool:
        return any("{business_date}" in t for t in (self.origin.path, *self.origin.params.values()))

    def _pages(self, delivery: Delivery) -> Iterator[list[str]]:
        """The rows of each page; one page at a time is held."""
        url, paging = self._url(delivery), self.origin.paging
        if paging is None:
            return iter([self._rows(self.client.get(url))])
        if isinstance(paging, NumberPaging):
            return self._numbered(url, paging)
        return self._chained(url, paging)

    def _chained(self, first: httpx.URL, paging: CursorPaging | LinkPaging) -> Iterator[list[str]]:
        """Each page names the next one."""
        url, seen = first, set()
        while True:
            seen.add(url)
            answer = self.client.get(url)
            yield self._rows(answer)
            following = self._text_at(answer, paging.field) if paging.field else answer.next_link
            if not following:
                return
            if isinstance(paging, CursorPaging):
                url = first.copy_set_param(paging.param, following)
            else:
                url = self.client.within(answer.url, following)
                following = self._without_own_values(url)
            if url in seen:
                raise PortraitError(
                    f"{self.where}.paging: {following!r} came twice as the next page, so that the pages would "
                    "never end; check paging, or ask the API's owner"
                )

    def _numbered(self, url: httpx.URL, paging: NumberPaging) -> Iterator[list[str]]:
        """Pages until one is empty: a short one need not be the last, an API may give fewer than `size`.

        An answer of 404 also ends, and any refusal after a page that was short. So does the last page said again.
        """
        if paging.size_param:
            url = url.copy_set_param(paging.size_param, str(paging.size))
        before: list[str] | None = None
        full = paging.size
        for number in itertools.count(paging.first):
            try:
                rows = self._rows(self.client.get(url.copy_set_param(paging.param, str(number))))
            except Refused as error:
                if before is None or (error.status != httpx.codes.NOT_FOUND and len(before) >= full):
                    raise
                return
            if before and rows == before:
                if number == paging.first + 1 and (len(rows) >= full or paging.size_param is None):
                    raise PortraitError(
                        f"{self.where}.paging: page {number} has the rows of page {number - 1}; correct "
                        f"paging.param ({paging.param!r}), or set size_param and size if the API repeats its last page"
                    )
                return
            yield rows
            if not rows:
                return
            if before is not None:
                full = min(full, len(before))  # a page that another one follows is a full one
            before = rows

    def _rows(self, answer: Answer) -> list[str]:
        if not answer.text:
            return []  # 204 No Content
        path = self.origin.items
        rows = answer.items(path)
        if rows is not None:
            return rows
        content = answer.find("")
        has = "it is a list" if isinstance(content, list) else "it is a single value"
        if isinstance(content, dict):
            has = "its keys are " + (", ".join(content)[:500] or "none")
        wanted = f"no list at {path!r}" if path else "no list"
        raise PortraitError(
            f"{self.where}.items: {shown(answer.url)}{answer.url.path} answered with {wanted}; {has}; correct items"
        )

    def _text_at(self, answer: Answer, field: str) -> str:
        """A cursor or link of an answer; blank when absent."""
        value = answer.find(field)
        if value is ABSENT or value is None or value is False:
            return ""
        if not isinstance(value, str):
            raise PortraitError(
                f"{self.where}.paging.field: {field!r} is neither text nor a number; name what leads to the next page"
            )
        return value

    def _without_own_values(self, url: httpx.URL) -> str:
        """A URL for messages: what `params` and `url` gave may be a secret."""
        own = {*self.client.query, *self.origin.params}
        pairs = [f"{k}={'***' if k in own else v}" for k, v in url.params.multi_items()]
        return f"{shown(url)}{url.path}" + ("?" + "&".join(pairs) if pairs else "")

    def _url(self, delivery: Delivery) -> httpx.URL:
        """The first page's."""
        window, day = delivery.window or Window(), delivery.delivered_for
        if day is None and self._names_date:
            raise PortraitError(f"{self.where}: {{business_date}} has no value without a date; pull for one")
        values = {"business_date": day.isoformat()} if day else {}
        if window.since is not None:
            values["since"] = self._written(window.since)
        if window.until is not None:
            values["until"] = window.until.isoformat()
        path = _fill(self.origin.path, {k: quote(v, safe="") for k, v in values.items()})
        if path is None:
            raise PortraitError(
                f"{self.where}.path: {self.origin.path} has a placeholder without a value (the first pull knows no "
                "{since}); put it in params, from which it is then left out"
            )
        filled = {name: _fill(text, values) for name, text in self.origin.params.items()}
        return self.client.url(path, {name: text for name, text in filled.items() if text is not None})

    def _written(self, since: int) -> str:
        if not self._timed:
            return str(since)
        return (_EPOCH + timedelta(microseconds=since)).astimezone(self.zone).isoformat()


def _fill(text: str, values: dict[str, str]) -> str | None:
    """A text with its placeholders replaced, None when one has no value."""
    if not set(_PLACEHOLDER.findall(text)) <= set(values):
        return None
    return _PLACEHOLDER.sub(lambda match: values[match[1]], text)
