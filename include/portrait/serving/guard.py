"""Around every request: its key, its size, its time, one line of log that names no person."""

import logging
import secrets
import time
from dataclasses import dataclass, field

import orjson
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from portrait.errors import PortraitError
from portrait.serving import telemetry
from portrait.serving.keys import ApiKey
from portrait.serving.problems import problem
from portrait.serving.service import Service

access = logging.getLogger("portrait.access")
log = logging.getLogger(__name__)

KEYLESS = {"/healthz", "/readyz"}
"""Answered without a key: they tell nothing of anybody."""
PAGE = "/ui/"
"""Below it lie the page's own files, which hold no data."""

_METHODS = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}
_ALWAYS = [(b"x-content-type-options", b"nosniff"), (b"referrer-policy", b"no-referrer")]
_NO_STORE = (b"cache-control", b"no-store")


@dataclass
class _Exchange:
    """One request and what became of it."""

    request_id: str = field(default_factory=lambda: secrets.token_hex(8))
    started: float = field(default_factory=time.perf_counter)
    key: ApiKey | None = None
    status: int = 500
    sent: int = 0
    begun: bool = False
    too_large: bool = False


class Guard:
    """ASGI middleware; `service` is started by the first request where nothing did so before (inside Airflow)."""

    def __init__(self, app: ASGIApp, service: Service) -> None:
        self._app, self._service = app, service
        self._limit = service.settings.serving.body_limit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        exchange = _Exchange()
        sending = _sending(exchange, send)
        try:
            await self._answer(exchange, scope, receive, sending)
        except PortraitError as error:
            log.error("request %s: %s", exchange.request_id, error)
            await problem(503, "the API cannot start here; its log says why")(scope, receive, sending)
        except Exception:
            log.exception("request %s failed", exchange.request_id)
            if not exchange.begun:
                detail = f"something is wrong here; the log tells more of request {exchange.request_id}"
                await problem(500, detail)(scope, receive, sending)
        finally:
            _note(scope, exchange)

    async def _answer(self, exchange: _Exchange, scope: Scope, receive: Receive, send: Send) -> None:
        headers = dict(scope["headers"])
        path = scope["path"].removeprefix(scope.get("root_path", ""))
        if f"{path}/".startswith(PAGE):
            await self._app(scope, receive, send)
            return
        await self._service.start()
        if path not in KEYLESS:
            exchange.key = self._service.keyring.find(_key(headers))
            if exchange.key is None:
                await problem(
                    401,
                    "send a valid key in X-API-Key; `portrait api-key create` makes one",
                    {"WWW-Authenticate": "Bearer"},
                )(scope, receive, send)
                return
            scope["portrait.key"] = exchange.key
        refusal = problem(413, f"a body may have {self._limit:,} bytes")
        declared = headers.get(b"content-length", b"0")
        if declared.isdigit() and int(declared) > self._limit:
            await refusal(scope, receive, send)
            return
        await self._app(scope, self._measured(exchange, receive), send)
        if exchange.too_large:
            exchange.too_large = False
            await refusal(scope, receive, send)

    def _measured(self, exchange: _Exchange, receive: Receive) -> Receive:
        """A body that ends when it gets too long, whatever it declared; the application's own answer is dropped then."""
        got = 0

        async def receiving() -> Message:
            nonlocal got
            message = await receive()
            got += len(message.get("body", b""))
            if got > self._limit:
                exchange.too_large = not exchange.begun
                return {"type": "http.request", "body": b"", "more_body": False}
            return message

        return receiving


def _sending(exchange: _Exchange, send: Send) -> Send:
    async def sending(message: Message) -> None:
        if exchange.too_large:
            return
        if message["type"] == "http.response.start":
            exchange.status, exchange.begun = message["status"], True
            headers = message.setdefault("headers", [])
            headers.extend([*_ALWAYS, (b"x-request-id", exchange.request_id.encode())])
            if not any(name == b"cache-control" for name, _ in headers):
                headers.append(_NO_STORE)
        elif message["type"] == "http.response.body":
            exchange.sent += len(message.get("body", b""))
        await send(message)

    return sending


def _key(headers: dict[bytes, bytes]) -> str:
    """What X-API-Key, or else Authorization: Bearer, holds."""
    given = headers.get(b"x-api-key")
    if given is None:
        scheme, _, token = headers.get(b"authorization", b"").partition(b" ")
        given = token.strip() if scheme.lower() == b"bearer" else b""
    return given.decode("latin-1")


def _note(scope: Scope, exchange: _Exchange) -> None:
    """Time and size by the route's pattern: a path may hold a card number, so it is written nowhere."""
    seconds = time.perf_counter() - exchange.started
    route = getattr(scope.get("route"), "path", "other")
    method = scope["method"] if scope["method"] in _METHODS else "other"
    telemetry.observe(method, route, exchange.status, seconds)
    if access.isEnabledFor(logging.INFO):
        access.info(
            orjson.dumps(
                {
                    "request": exchange.request_id,
                    "key": exchange.key.key_id if exchange.key else None,
                    "method": method,
                    "route": route,
                    "status": exchange.status,
                    "ms": round(seconds * 1000, 2),
                    "bytes": exchange.sent,
                }
            ).decode()
        )
