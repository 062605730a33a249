"""Documents that the database wrote, handed on without reading them."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import orjson
from starlette.responses import Response

from portrait.serving.lookup import Ambiguous

JSON = "application/json"


def document(text: str) -> Response:
    """One document as the answer."""
    return Response(text, media_type=JSON)


def answer(body: Any) -> Response:
    """Anything that orjson writes; parts may be `written` documents."""
    return Response(orjson.dumps(body), media_type=JSON)


def written(text: str) -> orjson.Fragment:
    """A document as a part of an answer."""
    return orjson.Fragment(text)


def written_list(texts: Iterable[str]) -> list[orjson.Fragment]:
    return [orjson.Fragment(text) for text in texts]


def batch(
    asked: Sequence[str], resolved: Sequence[str | Ambiguous | None], documents: Mapping[str, str]
) -> Response:
    """One entry for each asked id, in its order: its document, or why there is none."""
    entries: list[dict[str, Any]] = []
    for one, customer in zip(asked, resolved, strict=True):
        if isinstance(customer, Ambiguous):
            entries.append({"id": one, "problem": "ambiguous", "customer": None})
        elif customer is None or customer not in documents:
            entries.append({"id": one, "problem": "not found", "customer": None})
        else:
            entries.append({"id": one, "problem": None, "customer": written(documents[customer])})
    return answer({"customers": entries})
