"""Groups of customers in the published night: segments, and what the tags mean."""

import asyncio
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from starlette.responses import Response

from portrait.serving import schemas
from portrait.serving.access import needs, service_of
from portrait.serving.answers import answer, written_list
from portrait.serving.database import statement
from portrait.serving.keys import ApiKey
from portrait.serving.problems import documented
from portrait.serving.scopes import Scope
from portrait.serving.segment_map import POINTS, as_points

router = APIRouter(tags=["segments"])


@router.get("/segments", response_model=schemas.Segments, responses=documented())
async def segments(request: Request, key: Annotated[ApiKey, Depends(needs(Scope.SEGMENTS))]) -> Response:
    """Each segment's size and character. Counted once a night, then remembered."""
    service = service_of(request)
    shown = service.shown
    texts = await service.once_a_run("segments", lambda: service.database.texts(statement("segments")))
    return answer({"run_id": shown.run_id, "as_of": shown.as_of, "segments": written_list(texts)})


@router.get("/segments/map", response_model=schemas.SegmentMap, responses=documented())
async def segment_map(request: Request, key: Annotated[ApiKey, Depends(needs(Scope.SEGMENTS))]) -> Response:
    """Up to 2,000 customers as points, without their ids: near each other when their vectors are alike."""
    service = service_of(request)

    async def points() -> list[list[Any]]:
        rows = await service.database.rows(statement("sample"), POINTS)
        return await asyncio.to_thread(as_points, rows)

    return answer({"run_id": service.shown.run_id, "points": await service.once_a_run("map", points)})


@router.get("/tags", response_model=schemas.TagDefinitions, responses=documented())
async def tags(request: Request, key: Annotated[ApiKey, Depends(needs(Scope.CUSTOMERS))]) -> Response:
    """What each tag of a customer means, and by which rule it is given."""
    service = service_of(request)
    texts = await service.once_a_run("tags", lambda: service.database.texts(statement("tags")))
    return answer({"run_id": service.shown.run_id, "tags": written_list(texts)})
