"""Where a source's rows come from when it is no file: a database or an HTTP API."""

import re
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator, model_validator

_SQL_NAME = r"^[^\W\d]\w*(\.[^\W\d]\w*){0,2}$"


class Frozen(BaseModel):
    """Base of every setting: immutable, and a key that does not exist is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Watermark(Frozen):
    """The column by which a source is read incrementally: it only grows when a row is added or changed.

    `overlap` is how far before the last mark each pull starts again (minutes for a time, a count for an integer):
    transactions commit late. What is read twice counts as unchanged.
    """

    column: str
    type: Literal["timestamp", "integer"] = "timestamp"
    overlap: int = Field(60, ge=0)


def _watermark(value: Any) -> Any:
    return {"column": value} if isinstance(value, str) else value


MaybeWatermark = Annotated[Watermark | None, BeforeValidator(_watermark)]


class Endpoint(Frozen):
    """What a database and an API share: how to reach it, and how it is read incrementally.

    `connection` is the id of an Airflow connection (outside Airflow: of the variable AIRFLOW_CONN_<ID>); `url` says
    it in `sources.yaml` itself, for example ``${SHOP_URL}``.
    """

    connection: str | None = Field(None, pattern=r"^[\w.\-]+$")
    url: str | None = None
    watermark: MaybeWatermark = None

    @model_validator(mode="after")
    def _one_address(self) -> Self:
        if (self.connection is None) == (self.url is None):
            raise ValueError("give exactly one of connection, url")
        return self


class DatabaseOrigin(Endpoint):
    """A table or a query of a PostgreSQL, MySQL or MariaDB database (or any with a SQLAlchemy dialect).

    Rows are streamed `batch_rows` at a time by a server-side cursor in a read-only transaction.
    """

    table: str | None = Field(None, pattern=_SQL_NAME)
    query: str | None = None
    batch_rows: int = Field(50_000, ge=1)
    statement_timeout_seconds: int = Field(1800, ge=1)

    @model_validator(mode="after")
    def _one_relation(self) -> Self:
        if (self.table is None) == (self.query is None):
            raise ValueError("give exactly one of table, query")
        return self

    @field_validator("query")
    @classmethod
    def _bare_query(cls, value: str | None) -> str | None:
        """It becomes a subquery."""
        return value if value is None else value.strip().rstrip(";")


class CursorPaging(Frozen):
    """Each answer names the next page: `field` (dotted path) goes into the parameter `param`; absent or null ends."""

    type: Literal["cursor"]
    field: str
    param: str


class NumberPaging(Frozen):
    """Pages are numbered, until one is empty (or 404): an API may give fewer than `size` items a page."""

    type: Literal["page"]
    param: str = "page"
    first: int = 1
    size_param: str | None = None
    size: int = Field(100, ge=1)


class LinkPaging(Frozen):
    """Each answer's `Link` header (RFC 8288, rel="next") is the next page's URL, or `field` (dotted path) in it."""

    type: Literal["link"]
    field: str | None = None


Paging = Annotated[CursorPaging | NumberPaging | LinkPaging, Field(discriminator="type")]


class HttpOrigin(Endpoint):
    """An HTTP API that answers in JSON.

    `path` and `params` may hold ``{business_date}`` (2026-03-01), ``{since}`` and ``{until}`` (ISO 8601 with offset;
    the whole number for an integer watermark). `items` is the dotted path to the list of rows; empty: the answer
    itself. A connection's password is sent as ``<auth_header>: <auth_prefix><password>``.
    """

    path: str = ""
    params: dict[str, str] = Field(default_factory=dict)
    headers: dict[str, str] = Field(default_factory=dict)
    auth_header: str = "Authorization"
    auth_prefix: str = "Bearer "
    items: str = ""
    paging: Paging | None = None
    requests_per_second: float = Field(5, gt=0)
    retries: int = Field(5, ge=0)
    timeout_seconds: float = Field(30, gt=0)

    @field_validator("url")
    @classmethod
    def _http(cls, value: str | None) -> str | None:
        if value is not None and not re.match(r"https?://", value):
            raise ValueError("url must start with http:// or https://")
        return value
