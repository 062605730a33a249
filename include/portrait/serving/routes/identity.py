"""Why somebody's identifiers were taken for one customer."""

from typing import Annotated

from fastapi import APIRouter, Depends, Request
from starlette.responses import Response

from portrait.serving import schemas
from portrait.serving.access import needs, service_of
from portrait.serving.answers import answer, written_list
from portrait.serving.database import statement
from portrait.serving.keys import ApiKey
from portrait.serving.lookup import resolve_one
from portrait.serving.problems import documented
from portrait.serving.routes.customers import CustomerId
from portrait.serving.scopes import Scope

router = APIRouter(tags=["customers"])


@router.get(
    "/customers/{customer_id}/identity", response_model=schemas.Identity, responses=documented(404, 409)
)
async def identity(
    request: Request, key: Annotated[ApiKey, Depends(needs(Scope.IDENTITY))], customer_id: CustomerId
) -> Response:
    """For each identifier the link by which the shortest chain reaches it, and the row that showed it. Hashes, cut short."""
    service = service_of(request)
    customer = await resolve_one(service.database, service.hasher, customer_id)
    links = await service.database.texts(statement("evidence"), customer)
    return answer({"customer_id": customer, "links": written_list(links)})
