"""Requests to one API: with its login, at its pace, with patience; answers keep every digit that was sent."""

import codecs
import json
import logging
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Self
from urllib.parse import quote

import httpx
from tenacity import RetryCallState, Retrying, retry_if_exception_type, stop_after_attempt
from tenacity.wait import wait_exponential_jitter

from portrait.config import Settings, SourceSpec
from portrait.config.origins import HttpOrigin
from portrait.errors import PortraitError, SourceUnavailable
from portrait.sources.connection import Connection, find_connection

log = logging.getLogger(__name__)
logging.getLogger("httpx").setLevel(logging.WARNING)  # at INFO it writes URLs with the keys in their query

BACKOFF_SECONDS = 1.0
LONGEST_BACKOFF = 60.0
LONGEST_WAIT = 600.0
MAX_PAGE_BYTES = 256 << 20
ABSENT = object()
_REDIRECTS = 5
_LATER = (408, 425, 429)
_BLANK = re.compile(r"[ \t\n\r]*")
_HEADER = re.compile(r"[\w!#$%&'*+.^`|~-]+", re.ASCII)
_VALUE = re.compile(r"([!-~]([ -~]*[!-~])?)?")
# Numbers stay text. A raw tab in a text is the row's own fault, not the page's.
_JSON = json.JSONDecoder(parse_int=str, parse_float=str, strict=False)


class Refused(PortraitError):
    """The API refuses a request: trying again does not help."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


class _NoAnswer(Exception):
    """Worth another request, `retry_after` seconds later at the earliest."""

    def __init__(self, what: str, remedy: str, retry_after: float = 0.0) -> None:
        super().__init__(what)
        self.remedy, self.retry_after = remedy, retry_after


@dataclass(frozen=True)
class Answer:
    """One page: JSON as it was sent ("" for 204 No Content), and what its `Link` header names as the next."""

    url: httpx.URL
    text: str
    next_link: str | None = None

    def find(self, path: str) -> Any:
        """The value at a dotted path (numbers as text), ABSENT when there is none."""
        place = _place(self.text, path)
        return ABSENT if place is None else _JSON.raw_decode(self.text, place)[0]

    def items(self, path: str) -> list[str] | None:
        """The texts of the items of the list at a dotted path, None when there is no list."""
        place = _place(self.text, path)
        if place is None or self.text[place] != "[":
            return None
        texts = []
        at = _skip(self.text, place + 1)
        while self.text[at] != "]":
            end = _JSON.raw_decode(self.text, at)[1]
            texts.append(self.text[at:end])
            at = _after_comma(self.text, end)
        return texts


def object_keys(text: str) -> list[str]:
    """The keys of a JSON object, none when it is something else."""
    content = _JSON.decode(text)
    return list(content) if isinstance(content, dict) else []


class HttpClient:
    """Asks one API. Used as a context manager; `retries` counts the requests that had to be made again."""

    def __init__(self, settings: Settings, source: SourceSpec, origin: HttpOrigin) -> None:
        self.where = f"sources[{source.name}].http"
        self.encoding, self.origin = source.encoding, origin
        self.connection = find_connection(settings, origin, source.name, "http")
        self.base = _base(origin, self.connection, self.where)
        # What follows a ? in `url` goes along with each request; a connection's extra is something else.
        self.query = {k: str(v) for k, v in self.connection.extra.items()} if origin.url else {}
        self.retries = 0
        self._turn = 0.0

    def __enter__(self) -> Self:
        self._client = httpx.Client(headers=self._headers(), timeout=self.origin.timeout_seconds)
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def name(self, path: str) -> str:
        """Address and path, without login or query."""
        return shown(self.base) + _joined(self.base.path, path.partition("?")[0])

    def url(self, path: str, params: Mapping[str, str]) -> httpx.URL:
        address = shown(self.base) + _joined(self.base.raw_path.decode(), path)
        try:
            return httpx.URL(address).copy_merge_params({**self.query, **params})
        except httpx.InvalidURL as error:
            raise PortraitError(f"{self.where}.path: {path!r} makes no URL ({error}); correct it") from None

    def within(self, place: httpx.URL, target: str) -> httpx.URL:
        """The URL that an answer points to.

        Raises
        ------
        PortraitError : when it is on another host: the login must not go there.
        """
        try:
            url = place.join(target)
        except httpx.InvalidURL as error:
            raise PortraitError(f"{self.where}: {self.base.host} points to no URL ({error})") from None
        if (url.host, url.port) == (self.base.host, self.base.port) and url.scheme in ("http", "https"):
            # A proxy in front of an API may not tell it that it speaks https.
            if self.base.scheme == "https":
                url = url.copy_with(scheme="https")
            if url.port is None or url.scheme == self.base.scheme:
                return url
        raise PortraitError(
            f"{self.where}: {shown(place)}{place.path} points to {shown(url)}, which is not {shown(self.base)}; "
            "the login is not sent there. If both are yours, give the connection the other address"
        )

    def get(self, url: httpx.URL) -> Answer:
        """One page.

        Raises
        ------
        Refused : when the API does not accept the request; PortraitError when not the login.
        SourceUnavailable : when it does not answer, or with no JSON, `retries` times over.
        """
        requests = self.origin.retries + 1
        try:
            return Retrying(
                stop=stop_after_attempt(requests),
                wait=_pause,
                retry=retry_if_exception_type(_NoAnswer),
                before_sleep=self._note_retry,
                reraise=True,
            )(self._ask, url)
        except _NoAnswer as error:
            times = f" ({requests} requests)" if requests > 1 else ""
            raise SourceUnavailable(f"{self.where}: {error}{times}; {error.remedy}") from None

    def _note_retry(self, state: RetryCallState) -> None:
        self.retries += 1
        error = state.outcome.exception() if state.outcome else None
        log.warning("%s: %s; next request in %.1f s", self.where, error, state.upcoming_sleep)

    def _ask(self, url: httpx.URL) -> Answer:
        for _ in range(_REDIRECTS):
            response, body = self._request(url)
            if not response.has_redirect_location:
                return self._answer(response, body)
            url = self.within(url, response.headers["Location"])
        raise PortraitError(
            f"{self.where}: {shown(url)}{url.path} redirects more than {_REDIRECTS} times; correct path"
        )

    def _request(self, url: httpx.URL) -> tuple[httpx.Response, bytes]:
        now = time.monotonic()
        turn = max(now, self._turn)
        self._turn = turn + 1 / self.origin.requests_per_second
        time.sleep(turn - now)
        body = bytearray()
        at = shown(url) + url.path
        try:
            with self._client.stream("GET", url) as response:
                for chunk in response.iter_bytes():
                    body += chunk
                    if len(body) > MAX_PAGE_BYTES:
                        raise PortraitError(
                            f"{self.where}: {at} answers with more than {MAX_PAGE_BYTES >> 20} MiB; "
                            "ask for smaller pages (paging)"
                        )
        except httpx.TimeoutException:
            waited = f"{self.origin.timeout_seconds:g} s"
            raise _NoAnswer(
                f"{at} did not answer within {waited}",
                f"try again later or raise {self.where}.timeout_seconds",
            ) from None
        except (httpx.TransportError, httpx.DecodingError) as error:
            raise _NoAnswer(
                f"{at} cannot be read ({self._clean(_brief(error))})",
                "check the connection's host or try again later",
            ) from None
        return response, bytes(body)

    def _answer(self, response: httpx.Response, body: bytes) -> Answer:
        self._refuse(response, body)
        text = ""
        if response.status_code != httpx.codes.NO_CONTENT:
            text = self._json(response, body)
        following = [v["url"] for v in response.links.values() if "next" in v.get("rel", "").lower().split()]
        return Answer(response.url, text, following[0] if following else None)

    def _refuse(self, response: httpx.Response, body: bytes) -> None:
        code = response.status_code
        what = f"{shown(response.url)}{response.url.path} answered {code} {response.reason_phrase}".rstrip()
        if code in _LATER or code >= 500:
            remedy = "try again later"
            if code == httpx.codes.TOO_MANY_REQUESTS:
                remedy += f" or lower {self.where}.requests_per_second"
            raise _NoAnswer(what, remedy, _retry_after(response))
        if code in (httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN):
            raise PortraitError(f"{self.where}: {what}; {self._login_hint()}")
        if not response.is_success:
            start = self._clean(body.decode("utf-8", "replace"))
            raise Refused(f"{self.where}: {what}: {start}; correct path or params", code)

    def _json(self, response: httpx.Response, body: bytes) -> str:
        plain = codecs.lookup(self.encoding).name == "utf-8"
        try:
            text = body.decode(json.detect_encoding(body) if plain else self.encoding)
            _JSON.decode(text)
        except (ValueError, RecursionError) as error:
            kind = response.headers.get("Content-Type", "no type").partition(";")[0]
            foreign = isinstance(error, UnicodeDecodeError)
            lacking = f"in {self.encoding}" if foreign else "with JSON, or not with all of it"
            # The text may hold personal data: it is not repeated.
            raise _NoAnswer(
                f"{shown(response.url)}{response.url.path} answered {response.status_code}, but not {lacking} "
                f"({kind}, {len(body)} bytes)",
                f"check {self.where.removesuffix('.http')}.encoding"
                if foreign
                else f"check {self.where}.path or try again later",
            ) from None
        return text

    def _headers(self) -> httpx.Headers:
        """Those of sources.yaml, of the connection, and the login."""
        headers = httpx.Headers({"Accept": "application/json"})
        given = {**self.origin.headers, **self._extra_headers()}
        if self.connection.password:
            given[self.origin.auth_header] = self.origin.auth_prefix + self.connection.password
        for name, value in given.items():
            if not _HEADER.fullmatch(name) or not _VALUE.fullmatch(value):
                raise PortraitError(
                    f"{self.where}: header {name!r} holds a character that no header may hold; look for a blank or "
                    "line break at the end of the password"
                )
            headers[name] = value
        return headers

    def _extra_headers(self) -> dict[str, str]:
        extra = {} if self.origin.url else self.connection.extra.get("headers") or {}
        try:
            extra = json.loads(extra) if isinstance(extra, str) else extra
            return {str(k): str(v) for k, v in extra.items()}
        except (ValueError, AttributeError):
            raise PortraitError(
                f"{self.where}.connection '{self.origin.connection}': its extra has headers that are no JSON object"
            ) from None

    def _login_hint(self) -> str:
        place = f"connection '{self.origin.connection}'" if self.origin.connection else f"{self.where}.url"
        if self.connection.password:
            return (
                f"check the password of {place}, which is sent as header {self.origin.auth_header}, "
                f"and {self.where}.headers"
            )
        return f"no login was sent: give {place} a password or set {self.where}.headers"

    def _clean(self, text: str) -> str:
        """The start of an answer in one line; some repeat what they were sent."""
        sent = [self.connection.password]
        for values in (self.origin.headers, self._extra_headers(), self.query, self.origin.params):
            sent += [v for v in values.values() if len(v) >= 8]
        for secret in filter(None, sent):
            text = text.replace(secret, "***")
        return " ".join(text.split())[:200] or "no text"


def shown(url: httpx.URL) -> str:
    """Scheme, host and port: for messages."""
    return f"{url.scheme}://{url.netloc.decode()}"


def _base(origin: HttpOrigin, connection: Connection, where: str) -> httpx.URL:
    """Where the API begins. Airflow has the scheme in `schema`, in the host, or as the connection's type."""
    scheme, host, path = connection.conn_type.lower(), connection.host, connection.schema
    if origin.url is None and path.lower() in ("http", "https"):
        scheme, path = path.lower(), ""
    if "://" in host:
        scheme, host = host.split("://", 1)
    elif host.count(":") > 1 and not host.startswith("["):
        host = f"[{host}]"
    host, _, folder = host.partition("/")
    port = f":{connection.port}" if connection.port else ""
    try:
        base = httpx.URL(f"{scheme}://{host}{port}/{_joined(folder, quote(path)).lstrip('/')}")
    except httpx.InvalidURL:
        base = httpx.URL("")
    # http://https://host is what Airflow itself makes of a host with a scheme.
    if base.scheme not in ("http", "https") or base.host in ("", "http", "https") or base.userinfo:
        field = "url" if origin.url else f"connection '{origin.connection}'"
        raise PortraitError(
            f"{where}.{field} is no address of an API; for example https://:token@api.example.com/v1, "
            'or as JSON {"conn_type": "http", "host": "https://api.example.com", "password": "token"}'
        )
    return base


def _joined(base: str, path: str) -> str:
    path = path.lstrip("/")
    return f"{base.rstrip('/')}/{path}" if path else base


def _pause(state: RetryCallState) -> float:
    """What the API asks for, at least an exponential backoff with jitter."""
    error = state.outcome.exception() if state.outcome else None
    asked = error.retry_after if isinstance(error, _NoAnswer) else 0.0
    backoff = wait_exponential_jitter(
        multiplier=BACKOFF_SECONDS, max=LONGEST_BACKOFF, jitter=BACKOFF_SECONDS
    )(state)
    return max(backoff, min(asked, LONGEST_WAIT))


def _retry_after(response: httpx.Response) -> float:
    """Seconds until the time that a `Retry-After` header names (RFC 9110, 10.2.3), 0 without one."""
    text = response.headers.get("Retry-After", "").strip()
    if text.isdecimal():
        return float(text)
    try:
        moment = parsedate_to_datetime(text)
    except ValueError:
        return 0.0
    return ((moment if moment.tzinfo else moment.replace(tzinfo=UTC)) - datetime.now(UTC)).total_seconds()


def _place(text: str, path: str, start: int = 0) -> int | None:
    """Where in a JSON text the value at a dotted path begins; a key may itself hold dots."""
    start = _skip(text, start)
    if start == len(text):
        return None
    if not path:
        return start
    if text[start] != "{":
        return None
    places = {}
    at = _skip(text, start + 1)
    while text[at] != "}":
        key, end = _JSON.raw_decode(text, at)
        places[key] = _skip(text, _skip(text, end) + 1)
        at = _after_comma(text, _JSON.raw_decode(text, places[key])[1])
    if path in places:
        return places[path]
    head, _, rest = path.partition(".")
    return _place(text, rest, places[head]) if rest and head in places else None


def _skip(text: str, at: int) -> int:
    """The next place that is not blank."""
    return _BLANK.match(text, at).end()  # type: ignore[union-attr]


def _after_comma(text: str, at: int) -> int:
    at = _skip(text, at)
    return _skip(text, at + 1) if text[at] == "," else at


def _brief(error: Exception) -> str:
    return str(error).strip().splitlines()[0][:200] if str(error).strip() else type(error).__name__
