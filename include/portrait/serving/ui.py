"""The page's own files: no data in them, nothing loaded from elsewhere, so they need no key."""

from pathlib import Path

from fastapi import FastAPI
from starlette.datastructures import MutableHeaders
from starlette.staticfiles import StaticFiles
from starlette.types import Message, Receive, Scope, Send

FOLDER = Path(__file__).with_name("page")
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; connect-src 'self'; "
    "form-action 'none'; base-uri 'none'; frame-ancestors {ancestors}"
)
"""Inline styles are the chart library's: it sets those of its tooltips."""


class _Files(StaticFiles):
    """Files that browsers ask about again each time (a new version shows at once), and that run nothing foreign."""

    def __init__(self, folder: Path, ancestors: str) -> None:
        super().__init__(directory=folder, html=True)
        self._policy = _POLICY.format(ancestors=ancestors)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers["content-security-policy"] = self._policy
                headers["cache-control"] = "no-cache"
            await send(message)

        await super().__call__(scope, receive, sending)


def add_page(app: FastAPI, ancestors: str) -> None:
    """Serve the page under /ui/. `ancestors`: who may show it in a frame, as in a Content-Security-Policy."""
    app.mount("/ui", _Files(FOLDER, ancestors), name="page")
