"""Addresses with a login: Airflow's connections, read without Airflow."""

import json
import re
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import parse_qsl, quote, unquote, urlsplit

from portrait.config import Settings
from portrait.config.origins import Endpoint
from portrait.errors import PortraitError

_NESTED = re.compile(r"(\w+)://(https?)://(.*)")


@dataclass(frozen=True)
class Connection:
    """What Airflow calls a connection. `password` and `extra` are kept out of its repr."""

    conn_type: str
    host: str = ""
    port: int | None = None
    login: str = ""
    password: str = field(default="", repr=False)
    schema: str = ""
    extra: dict[str, Any] = field(default_factory=dict, repr=False)

    @property
    def address(self) -> str:
        """Host and port, without login: for messages."""
        return f"{self.host}:{self.port}" if self.port else self.host

    def url(self, scheme: str) -> str:
        """As a URL with login and password."""
        login = quote(self.login, safe="")
        if self.password:
            login += ":" + quote(self.password, safe="")
        host = f"{login}@{self.address}" if login else self.address
        return f"{scheme}://{host}/{quote(self.schema)}"


def parse_connection(text: str) -> Connection:
    """Read Airflow's two forms: a URI (``postgres://user:password@host:5432/db?key=value``) or JSON.

    Raises
    ------
    ValueError : when it is neither.
    """
    if text.lstrip().startswith("{"):
        content = json.loads(text)
        extra = content.get("extra") or {}
        return Connection(
            conn_type=str(content.get("conn_type") or ""),
            host=content.get("host") or "",
            port=int(content["port"]) if content.get("port") else None,
            login=content.get("login") or "",
            password=content.get("password") or "",
            schema=content.get("schema") or "",
            extra=json.loads(extra) if isinstance(extra, str) else dict(extra),
        )
    # Airflow's form of a host that has a scheme of its own: http://https://:token@api.example.com
    nested = _NESTED.fullmatch(text)
    if nested:
        inner = parse_connection(f"{nested[2]}://{nested[3]}")
        return replace(inner, conn_type=nested[1], host=f"{nested[2]}://{inner.host}")
    parts = urlsplit(text)
    if not parts.scheme:
        raise ValueError("neither a URI nor JSON")
    extra = dict(parse_qsl(parts.query, keep_blank_values=True))
    if "__extra__" in extra:
        extra = json.loads(extra["__extra__"])
    return Connection(
        conn_type=parts.scheme,
        host=unquote(parts.hostname or ""),
        port=parts.port,
        login=unquote(parts.username or ""),
        password=unquote(parts.password or ""),
        schema=unquote(parts.path.lstrip("/")),
        extra=extra,
    )


def find_connection(settings: Settings, endpoint: Endpoint, source: str, kind: str) -> Connection:
    """The connection of a source's `database` or `http` (`kind`): its url, or the Airflow connection it names.

    Raises
    ------
    PortraitError : when the connection is not known or cannot be read; passwords are not repeated.
    """
    key = f"sources[{source}].{kind}"
    if endpoint.url is not None:
        text, where = endpoint.url, f"{key}.url"
    else:
        name = str(endpoint.connection)
        variable = "AIRFLOW_CONN_" + name.upper()
        if name.lower() not in settings.connections:
            raise PortraitError(
                f"{key}.connection: no connection '{name}'; add it in Airflow (Admin, Connections) or set {variable}"
            )
        text, where = settings.connections[name.lower()], f"{key}.connection '{name}'"
    try:
        return parse_connection(text)
    except (ValueError, KeyError, TypeError):
        raise PortraitError(
            f"{where} is no connection; for example postgres://user:password@host:5432/database"
        ) from None
