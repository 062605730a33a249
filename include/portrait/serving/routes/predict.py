"""The champion's answer to the article's question."""

import asyncio
from collections.abc import Sequence
from typing import Annotated

from fastapi import APIRouter, Depends, Request
from starlette.exceptions import HTTPException
from starlette.responses import Response

from portrait.serving import schemas, telemetry
from portrait.serving.access import BATCH_COST, charge, needs, service_of
from portrait.serving.answers import answer
from portrait.serving.champion import Answer, Champion, Question
from portrait.serving.keys import ApiKey
from portrait.serving.lookup import impersonal, is_customer_id, resolve
from portrait.serving.problems import documented
from portrait.serving.scopes import Scope
from portrait.serving.service import Service

router = APIRouter(tags=["predict"])
Allowed = Annotated[ApiKey, Depends(needs(Scope.PREDICT))]


@router.post("/predict", response_model=schemas.PredictAnswer, responses=documented())
async def predict(request: Request, key: Allowed, asked: schemas.PredictRequest) -> Response:
    """Ten items for a customer with these items at hand; what they have bought or named is left out.

    An unknown customer is answered by the items, unknown items are ignored, and with neither the answer is what is
    popular. So it is for a customer who does not allow personal recommendations, from the moment that a withdrawal is loaded
    (basis `no_consent`). The headers `X-Portrait-Basis`, `X-Portrait-Model` and `X-Portrait-Ignored` tell which it was.
    """
    service = service_of(request)
    champion = _champion(service)
    (question,) = await _questions(service, [asked])
    (found,) = champion.answer([question])
    telemetry.predicted(found.basis)
    response = answer({"recommended_items": _as_asked(found.items, asked)})
    response.headers["X-Portrait-Basis"] = found.basis
    response.headers["X-Portrait-Model"] = champion.version
    response.headers["X-Portrait-Ignored"] = str(len(found.ignored))
    return response


@router.post("/predict/batch", response_model=schemas.PredictBatchAnswer, responses=documented())
async def predict_batch(request: Request, key: Allowed, asked: schemas.PredictBatch) -> Response:
    """The same for up to 1,000 customers, each answer with what it rests on."""
    service = service_of(request)
    charge(service, key, BATCH_COST * len(asked.questions))
    champion = _champion(service)
    questions = await _questions(service, asked.questions)
    async with service.scoring:
        found = await asyncio.to_thread(champion.answer, questions)
    entries = [_entry(q, a) for q, a in zip(asked.questions, found, strict=True)]
    return answer({"model_version": champion.version, "answers": entries})


def _champion(service: Service) -> Champion:
    if service.champion is None:
        raise HTTPException(503, "no model is in service yet; a night's `portrait evaluate` promotes one")
    return service.champion


async def _questions(service: Service, asked: Sequence[schemas.PredictRequest]) -> list[Question]:
    """With today's customer ids, and whether the customer allows personal answers; an id that is nobody's, or several
    customers', is an unknown customer."""
    users = [str(a.user_id) for a in asked]
    champion = service.champion
    others = [u for u in users if not (is_customer_id(u) and champion and champion.knows(u))]
    resolved = await resolve(service.database, service.hasher, others) if others else []
    customers = dict(zip(others, resolved, strict=True))
    known = [c if isinstance(c := customers.get(user, user), str) else None for user in users]
    without = await impersonal(service.database, sorted({c for c in known if c is not None}))
    return [
        Question(customer, tuple(str(i) for i in one.item_ids), customer in without)
        for customer, one in zip(known, asked, strict=True)
    ]


def _entry(asked: schemas.PredictRequest, found: Answer) -> dict[str, object]:
    telemetry.predicted(found.basis)
    return {
        "recommended_items": _as_asked(found.items, asked),
        "user_id": asked.user_id,
        "basis": found.basis,
        "ignored_items": _as_asked(found.ignored, asked),
    }


def _as_asked(items: Sequence[str], asked: schemas.PredictRequest) -> list[int | str]:
    """Numbers for a caller whose ids are numbers, as the article's are."""
    if not all(isinstance(i, int) for i in asked.item_ids or [asked.user_id]):
        return list(items)
    return [int(i) if i.isascii() and i.isdigit() and str(int(i)) == i else i for i in items]
