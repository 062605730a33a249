"""A shop's API on loopback that misbehaves as it is told to."""

import gzip
import json
import socket
import struct
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit


@dataclass(frozen=True)
class Asked:
    """A request as the server saw it."""

    path: str
    params: dict[str, str]
    headers: dict[str, str]
    at: float


@dataclass(frozen=True)
class Reply:
    """`body` is sent as it is, or as JSON when it is no bytes.

    `cut` resets the connection after so many bytes; `short` promises more bytes than come; `delay` is in seconds.
    """

    body: Any = b""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    delay: float = 0
    cut: int | None = None
    short: bool = False

    @property
    def content(self) -> bytes:
        if isinstance(self.body, bytes):
            return self.body
        return json.dumps(self.body, ensure_ascii=False).encode()


@dataclass
class ShopApi:
    """Answers with `answer`, but first with what is in `troubles`; notes what was asked."""

    address: str
    answer: Callable[[Asked], Reply] = lambda _: Reply([])
    troubles: deque[Reply] = field(default_factory=deque)
    asked: list[Asked] = field(default_factory=list)
    closing: threading.Event = field(default_factory=threading.Event)

    @property
    def host(self) -> str:
        return self.address.removeprefix("http://")

    def reply(self, asked: Asked) -> Reply:
        self.asked.append(asked)
        return self.troubles.popleft() if self.troubles else self.answer(asked)


@contextmanager
def shop_api() -> Iterator[ShopApi]:
    """A server of its own, on a free port."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            params = dict(parse_qsl(parts.query, keep_blank_values=True))
            reply = api.reply(Asked(unquote(parts.path), params, dict(self.headers), time.monotonic()))
            api.closing.wait(reply.delay)
            content = reply.content
            self.send_response(reply.status)
            self.send_header("Content-Length", str(len(content) + (10 if reply.short else 0)))
            for name, value in {"Content-Type": "application/json", **reply.headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content[: reply.cut])
            if reply.cut is not None:
                # Closing with data in flight and no lingering resets the connection.
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            if reply.cut is not None or reply.short:
                self.close_connection = True

        def log_message(self, *_: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *_: object) -> None:
            """A client that gave up is part of the play."""

        def shutdown_request(self, request: Any) -> None:
            self.close_request(request)  # a shutdown before would end the connection in order

    server = Server(("127.0.0.1", 0), Handler)
    api = ShopApi(f"http://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    yield api
    api.closing.set()
    server.shutdown()
    server.server_close()
    thread.join()


def zipped(content: Any) -> Reply:
    return Reply(gzip.compress(json.dumps(content).encode()), headers={"Content-Encoding": "gzip"})
