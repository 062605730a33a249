"""The audiences, and who is in one, page by page."""

from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query, Request
from starlette.exceptions import HTTPException
from starlette.responses import Response

from portrait.serving import schemas
from portrait.serving.access import needs, service_of
from portrait.serving.answers import answer, document, written, written_list
from portrait.serving.database import statement
from portrait.serving.keys import ApiKey
from portrait.serving.problems import documented
from portrait.serving.scopes import Scope

router = APIRouter(tags=["audiences"])
Allowed = Annotated[ApiKey, Depends(needs(Scope.AUDIENCES))]


@router.get("/audiences", response_model=schemas.Audiences, responses=documented())
async def audiences(request: Request, key: Allowed) -> Response:
    """Every audience in use, its size over the last 30 business dates, and how many customers each two share."""
    (text,) = await service_of(request).database.texts(statement("audiences"))
    return document(text)


@router.get("/audiences/{name}", response_model=schemas.AudiencePage, responses=documented(404))
async def audience(
    request: Request,
    key: Allowed,
    name: Annotated[str, Path(max_length=200, examples=["win_back"])],
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    after: Annotated[str, Query(max_length=200, description="`next` of the page before")] = "",
) -> Response:
    """Its members in the order of their ids. Who `is_control` is held back to measure against: do not contact them."""
    name, after = name.replace("\0", ""), after.replace("\0", "")
    rows = await service_of(request).database.rows(statement("audience"), name, after, limit)
    if not rows:
        raise HTTPException(404, "no audience of this code; include/config/audiences.yaml defines them")
    (found,) = rows
    more = found["last_customer"] if len(found["members"]) == limit else None
    return answer(
        {"definition": written(found["definition"]), "members": written_list(found["members"]), "next": more}
    )
