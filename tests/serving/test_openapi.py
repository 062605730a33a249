"""Whatever the OpenAPI document allows, and what it does not, gets an answer that the document describes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import GenerationMode

if TYPE_CHECKING:
    from tests.serving.conftest import Shop

EXAMPLES = 15


@pytest.fixture(scope="module")
def description(api: httpx.Client) -> dict[str, Any]:
    found: dict[str, Any] = api.get("/openapi.json").json()
    return found


def test_every_route_says_what_it_needs(description: dict[str, Any]) -> None:
    for path, methods in description["paths"].items():
        for operation in methods.values():
            keyless = path in {"/healthz", "/readyz"}
            assert bool(operation.get("security")) is not keyless, path
            assert operation["description"], path
            assert operation["tags"], path


def operations(description: dict[str, Any]) -> list[Any]:
    schema = schemathesis.openapi.from_dict(description)
    return [result.ok() for result in schema.get_all_operations()]


@pytest.mark.slow
def test_schemathesis_finds_no_answer_that_the_document_lacks(
    description: dict[str, Any], shop: Shop, address: str, api: httpx.Client
) -> None:
    found = operations(description)
    assert len(found) == sum(len(m) for m in description["paths"].values())
    headers = {"X-API-Key": api.headers["X-API-Key"]}
    for operation in found:
        for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):
            _explore(operation, mode, address, headers)


def _explore(operation: Any, mode: GenerationMode, address: str, headers: dict[str, str]) -> None:
    if mode is GenerationMode.NEGATIVE and not (
        operation.path_parameters or operation.query or operation.body
    ):
        return

    @given(case=operation.as_strategy(generation_mode=mode))
    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        derandomize=True,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    def every(case: Any) -> None:
        response = case.call(base_url=address, headers=headers)
        case.validate_response(response)

    every()
