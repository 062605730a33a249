"""The profile page in Airflow's menu, and the profile API below /portrait of the same server.

The API asks for its own keys there too: whoever may log in to Airflow need not see customers.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, ClassVar
from urllib.parse import urlsplit

from airflow.configuration import conf
from airflow.plugins_manager import AirflowPlugin

PREFIX = "/portrait"


class ProfileApi:
    """The API, made with the first request: the scheduler and the Dag processor load this file and never ask."""

    def __init__(self) -> None:
        self._app: Callable[..., Awaitable[None]] | None = None

    async def __call__(
        self,
        scope: MutableMapping[str, Any],
        receive: Callable[[], Awaitable[Any]],
        send: Callable[[Any], Awaitable[None]],
    ) -> None:
        if self._app is None:
            from portrait.config import load_settings
            from portrait.serving.app import create_app

            self._app = create_app(load_settings())
        inner = dict(scope)
        try:
            await self._app(inner, receive, send)
        finally:
            # Airflow's access log prints the path of what was answered; this one may be somebody's card number.
            scope["path"] = PREFIX + str(getattr(inner.get("route"), "path", "/"))
            scope["query_string"] = b""


def page_address() -> str:
    """Path of the page, below the path that Airflow itself is served at."""
    base = urlsplit(conf.get("api", "base_url", fallback="") or "").path.rstrip("/")
    return f"{base}{PREFIX}/ui/"


class PortraitPage(AirflowPlugin):
    """Adds the API and the menu entry."""

    name = "portrait_page"
    fastapi_apps: ClassVar[list[Any]] = [{"app": ProfileApi(), "url_prefix": PREFIX, "name": "Portrait"}]
    external_views: ClassVar[list[Any]] = [
        {"name": "Portrait", "href": page_address(), "destination": "nav", "url_route": "portrait"}
    ]
