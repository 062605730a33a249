"""Nights, models and data quality, for the page and for whoever runs the place."""

from typing import Annotated

from fastapi import APIRouter, Depends, Request
from starlette.responses import Response

from portrait.serving import schemas
from portrait.serving.access import needs, service_of
from portrait.serving.answers import answer, document, written
from portrait.serving.database import statement
from portrait.serving.keys import ApiKey
from portrait.serving.problems import documented
from portrait.serving.scopes import Scope

router = APIRouter(tags=["operations"], prefix="/operations")
Allowed = Annotated[ApiKey, Depends(needs(Scope.OPERATIONS))]


@router.get("/overview", response_model=schemas.Overview, responses=documented())
async def overview(request: Request, key: Allowed) -> Response:
    """The published night, the thirty before it, freshness of the sources, what should be looked at."""
    service = service_of(request)
    (nights,) = await service.database.texts(statement("overview"))
    (crowd,) = await service.once_a_run("crowd", lambda: service.database.texts(statement("crowd")))
    return answer({"crowd": written(crowd), "nights": written(nights)})


@router.get("/models", response_model=schemas.Models, responses=documented())
async def models(request: Request, key: Allowed) -> Response:
    """The last evaluation, and which version was promoted when and why."""
    (text,) = await service_of(request).database.texts(statement("models"))
    return document(text)
