"""One customer of the published night, and a thousand: profile, recommendations, alike customers."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Path, Query, Request
from starlette.responses import Response

from portrait.serving import schemas
from portrait.serving.access import BATCH_COST, charge, needs, service_of
from portrait.serving.answers import answer, batch, document, written_list
from portrait.serving.database import statement
from portrait.serving.keys import ApiKey
from portrait.serving.lookup import LONGEST, NoCustomer, is_customer_id, resolve, resolve_one
from portrait.serving.problems import documented
from portrait.serving.scopes import Scope
from portrait.serving.service import Service

router = APIRouter(tags=["customers"])

CustomerId = Annotated[
    str,
    Path(
        max_length=LONGEST,
        description="Today's or an older customer id, a card number, an account; `card:`, `account:`, `phone:`, `email:`, "
        "`device:` or `customer:` in front says which",
        examples=[schemas.CUSTOMER],
    ),
]
Allowed = Annotated[ApiKey, Depends(needs(Scope.CUSTOMERS))]
Kind = Annotated[Literal["new", "again"] | None, Query(description="One of the two lists; both unless given")]


async def documents_of(service: Service, sql: str, asked: str, *arguments: Any) -> str:
    """The document of one customer, however they were asked for.

    Raises
    ------
    NoCustomer, Ambiguous
    """
    if is_customer_id(asked):
        # Nearly every request: one statement.
        rows = await service.database.rows(sql, [asked], *arguments)
        if rows:
            found: str = rows[0]["document"]
            return found
    customer = await resolve_one(service.database, service.hasher, asked)
    rows = await service.database.rows(sql, [customer], *arguments)
    if not rows:
        raise NoCustomer
    text: str = rows[0]["document"]
    return text


@router.get("/customers/{customer_id}", response_model=schemas.Customer, responses=documented(404, 409))
async def customer(request: Request, key: Allowed, customer_id: CustomerId) -> Response:
    """Who they are, what they are worth, what they like. No contact data, no birth date, no price sensitivity."""
    return document(await documents_of(service_of(request), statement("customer"), customer_id))


@router.get(
    "/customers/{customer_id}/recommendations",
    response_model=schemas.Recommendations,
    responses=documented(404, 409),
)
async def recommendations(
    request: Request,
    key: Allowed,
    customer_id: CustomerId,
    kind: Kind = None,
    limit: Annotated[int, Query(ge=1, le=100)] = 10,
) -> Response:
    """What to offer, as the night computed it: `new` items, and those to buy `again`.

    A customer who does not allow personal recommendations is offered what is popular (`because_kind` is `no_consent`), from
    the moment that a withdrawal is loaded.
    """
    return document(
        await documents_of(service_of(request), statement("recommendations"), customer_id, kind, limit)
    )


@router.get(
    "/customers/{customer_id}/similar", response_model=schemas.SimilarAnswer, responses=documented(404, 409)
)
async def similar(
    request: Request, key: Allowed, customer_id: CustomerId, limit: Annotated[int, Query(ge=1, le=100)] = 10
) -> Response:
    """The customers whose vectors are nearest by cosine; none for one without a vector.

    Up to 200,000 vectors by pgvector's HNSW index, above that by comparing with all.
    """
    service = service_of(request)
    customer = await resolve_one(service.database, service.hasher, customer_id)
    dimensions = await service.once_a_run("dimensions", lambda: _dimensions(service))
    if not dimensions or not await _has_vector(service, customer):
        return answer({"customer_id": customer, "similar": []})
    sql = statement("similar").replace("DIMENSIONS", str(dimensions))
    near = await service.database.texts(sql, customer, limit)
    return answer({"customer_id": customer, "similar": written_list(near)})


@router.post("/customers/batch", response_model=schemas.CustomerBatchAnswer, responses=documented())
async def customers(request: Request, key: Allowed, asked: schemas.CustomerBatch) -> Response:
    """Up to 1,000 customers at once, in the order asked for."""
    return await _batch(request, key, asked.ids, statement("customer"))


@router.post(
    "/customers/batch/recommendations",
    response_model=schemas.RecommendationBatchAnswer,
    responses=documented(),
)
async def recommendation_batch(
    request: Request, key: Allowed, asked: schemas.RecommendationBatch
) -> Response:
    """The recommendations of up to 1,000 customers."""
    return await _batch(request, key, asked.ids, statement("recommendations"), asked.kind, asked.limit)


async def _batch(request: Request, key: ApiKey, ids: list[str], sql: str, *arguments: Any) -> Response:
    service = service_of(request)
    charge(service, key, BATCH_COST * len(ids))
    resolved = await resolve(service.database, service.hasher, ids)
    wanted = sorted({r for r in resolved if isinstance(r, str)})
    rows = await service.database.rows(sql, wanted, *arguments)
    return batch(ids, resolved, {r["customer_id"]: r["document"] for r in rows})


async def _dimensions(service: Service) -> int:
    """Of the night's vectors; 0 when it has none."""
    rows = await service.database.rows("select vector_dims(embedding) as d from profile.embedding limit 1")
    return int(rows[0]["d"]) if rows else 0


async def _has_vector(service: Service, customer: str) -> bool:
    return bool(
        await service.database.rows("select 1 from profile.embedding where customer_id = $1", customer)
    )
