"""Errors as callers see them: RFC 9457 problem documents, without anything of what was asked in them."""

from typing import Any

import orjson
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException
from starlette.responses import Response

from portrait.errors import PortraitError
from portrait.serving.database import DatabaseBusy
from portrait.serving.lookup import Ambiguous, NoCustomer

MEDIA_TYPE = "application/problem+json"
_TITLES = {
    400: "Bad request",
    401: "No valid API key",
    403: "Not allowed",
    404: "Not found",
    405: "Method not allowed",
    409: "Ambiguous",
    413: "Request too large",
    422: "Invalid request",
    429: "Too many requests",
    500: "Internal error",
    503: "Not available",
}


class Problem(BaseModel):
    """What went wrong, and what to do."""

    type: str = "about:blank"
    title: str = Field(examples=["Not found"])
    status: int = Field(examples=[404])
    detail: str = Field(examples=["nobody in the published night has this id"])


def problem(status: int, detail: str, headers: dict[str, str] | None = None) -> Response:
    """The answer for a status."""
    body = {
        "type": "about:blank",
        "title": _TITLES.get(status, "Error"),
        "status": status,
        "detail": detail,
    }
    return Response(orjson.dumps(body), status, headers, MEDIA_TYPE)


def documented(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """`responses=` of a route: those every route may give, and these."""
    return {
        status: {"model": Problem, "description": _TITLES[status], "content": {MEDIA_TYPE: {}}}
        for status in sorted({400, 401, 403, 413, 422, 429, 503, *statuses})
    }


def _said(error: Any) -> str:
    """Where and what; a key that does not exist may hold anything, so it is not named."""
    place = error["loc"][:-1] if error["type"] == "extra_forbidden" else error["loc"]
    return f"{'.'.join(str(p) for p in place[:4])}: {error['msg']}"


def add_handlers(app: FastAPI) -> None:
    """Every exception that a route may end with becomes a problem document."""

    @app.exception_handler(NoCustomer)
    async def no_customer(request: Request, error: NoCustomer) -> Response:
        return problem(404, "nobody in the published night has this id")

    @app.exception_handler(Ambiguous)
    async def ambiguous(request: Request, error: Ambiguous) -> Response:
        return problem(
            409, "the id is several customers'; say which is meant: card:…, account:… or customer:…"
        )

    @app.exception_handler(DatabaseBusy)
    async def busy(request: Request, error: DatabaseBusy) -> Response:
        return problem(503, str(error), {"Retry-After": "1"})

    @app.exception_handler(PortraitError)
    async def mistake(request: Request, error: PortraitError) -> Response:
        return problem(503, str(error))

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> Response:
        # Neither what was sent nor pydantic's words that quote it.
        return problem(422, "; ".join(_said(e) for e in error.errors()[:5]))

    @app.exception_handler(HTTPException)
    async def other(request: Request, error: HTTPException) -> Response:
        return problem(error.status_code, str(error.detail), dict(error.headers or {}))
