"""What a key may ask, and how often. That a request has one, `guard.Guard` has seen to."""

import math
from collections.abc import Awaitable, Callable

from fastapi import Request, Security
from fastapi.security import APIKeyHeader
from starlette.exceptions import HTTPException

from portrait.serving.keys import ApiKey
from portrait.serving.scopes import Scope
from portrait.serving.service import Service

_HEADER = APIKeyHeader(
    name="X-API-Key",
    auto_error=False,
    description="A key of `portrait api-key create`; or `Authorization: Bearer`.",
)
BATCH_COST = 0.1
"""What one customer of a batch costs, in requests."""


def service_of(request: Request) -> Service:
    """The worker's state."""
    service: Service = request.app.state.service
    return service


def needs(scope: Scope | None) -> Callable[..., Awaitable[ApiKey]]:
    """A dependency that lets keys with this scope through (None: any key), at their rate.

    Raises
    ------
    HTTPException : 403 without the scope, 429 above the rate.
    """

    # The header is here for the OpenAPI document.
    async def allowed(request: Request, given: str | None = Security(_HEADER)) -> ApiKey:
        key: ApiKey = request.scope["portrait.key"]
        if scope is not None and scope not in key.scopes:
            raise HTTPException(403, f"this key has no scope '{scope}'")
        charge(service_of(request), key, 1.0)
        return key

    return allowed


def charge(service: Service, key: ApiKey, cost: float) -> None:
    """Take from what the key may ask.

    Raises
    ------
    HTTPException : 429, with the seconds to wait.
    """
    config = service.settings.serving
    rate = key.requests_per_second or config.requests_per_second
    burst = config.burst * rate / config.requests_per_second
    wait = service.limiter.take(key.key_id, rate, max(1.0, burst), cost)
    if wait > 0:
        raise HTTPException(
            429,
            f"this key may ask {rate:g} times a second",
            {"Retry-After": str(max(1, math.ceil(wait)))},
        )
