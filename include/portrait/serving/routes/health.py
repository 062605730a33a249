"""Whether the API lives, is ready, and how it fares."""

import time
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from starlette.responses import Response

from portrait.serving import schemas, telemetry
from portrait.serving.access import needs, service_of
from portrait.serving.answers import answer
from portrait.serving.keys import ApiKey
from portrait.serving.problems import documented
from portrait.serving.scopes import Scope

router = APIRouter(tags=["health"])
_STALE = 10
"""Missed looks at the database after which a worker is not ready."""


@router.get("/healthz", response_model=schemas.Alive)
async def healthz() -> Response:
    """The process answers. Without a key."""
    return answer({"status": "ok"})


@router.get(
    "/readyz",
    response_model=schemas.Ready,
    responses={503: {"model": schemas.Ready, "description": "Not ready"}},
)
async def readyz(request: Request) -> Response:
    """Whether questions can be answered: database, published night, champion. Without a key, and without data."""
    service = service_of(request)
    patience = _STALE * max(1.0, service.settings.serving.refresh_seconds)
    checks = {
        "database": time.monotonic() - service.refreshed_at < patience,
        "published": service.shown.run_id is not None,
        "champion": service.champion is not None and service.trouble is None,
    }
    response = answer({"status": "ready" if all(checks.values()) else "not ready", "checks": checks})
    response.status_code = 200 if all(checks.values()) else 503
    return response


@router.get(
    "/metrics", responses={200: {"content": {"text/plain": {}}}, **documented()}, response_class=Response
)
async def metrics(request: Request, key: Annotated[ApiKey, Depends(needs(Scope.OPERATIONS))]) -> Response:
    """Prometheus' text format; of all workers."""
    text, media_type = telemetry.exposition()
    return Response(text, media_type=media_type)


@router.get("/openapi.json", include_in_schema=False)
async def openapi(request: Request, key: Annotated[ApiKey, Depends(needs(None))]) -> Response:
    """The OpenAPI document, for any key."""
    description: dict[str, Any] = request.app.openapi()
    return answer(description)
