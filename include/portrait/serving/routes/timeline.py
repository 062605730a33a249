"""What one customer did, online and in stores."""

import base64
import binascii
from datetime import date, datetime
from typing import Annotated

import orjson
from fastapi import APIRouter, Depends, Query, Request
from starlette.exceptions import HTTPException
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
    "/customers/{customer_id}/timeline", response_model=schemas.Timeline, responses=documented(404, 409)
)
async def timeline(
    request: Request,
    key: Annotated[ApiKey, Depends(needs(Scope.TIMELINE))],
    customer_id: CustomerId,
    since: Annotated[date, Query(description="First business date")] = date(1970, 1, 1),
    until: Annotated[date, Query(description="Last business date")] = date(9999, 12, 31),
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
    after: Annotated[str | None, Query(max_length=500, description="`next` of the page before")] = None,
) -> Response:
    """Events and receipts of the customer's accounts, devices, cards and phones, the newest first.

    They are read from what was loaded, so they may be newer than the published night.
    """
    service = service_of(request)
    moment, last = _position(after)
    customer = await resolve_one(service.database, service.hasher, customer_id)
    rows = await service.database.rows(statement("timeline"), customer, since, until, limit, moment, last)
    more = _page(rows[-1]["occurred_at"], rows[-1]["id"]) if len(rows) == limit else None
    return answer(
        {"customer_id": customer, "events": written_list(r["document"] for r in rows), "next": more}
    )


def _page(moment: datetime, last: str) -> str:
    return base64.urlsafe_b64encode(orjson.dumps([moment.isoformat(), last])).decode()


def _position(after: str | None) -> tuple[datetime | None, str | None]:
    if after is None:
        return None, None
    try:
        moment, last = orjson.loads(base64.urlsafe_b64decode(after.encode()))
        position = datetime.fromisoformat(moment)
        if position.tzinfo is None or not isinstance(last, str) or "\0" in last:
            raise ValueError("not a position of ours")
        return position, last
    except (ValueError, TypeError, binascii.Error):
        raise HTTPException(404, "after: not the `next` of a page before") from None
