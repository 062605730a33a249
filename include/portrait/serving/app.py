"""The application: routes, guard, state."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI

from portrait.config import Settings, load_settings
from portrait.serving.guard import Guard
from portrait.serving.problems import add_handlers
from portrait.serving.routes import (
    audiences,
    customers,
    health,
    identity,
    operations,
    predict,
    segments,
    timeline,
)
from portrait.serving.service import Service
from portrait.serving.ui import add_page

DESCRIPTION = """
Customer profiles of the published night, and the champion's answers.

Every request carries an API key in `X-API-Key` (or `Authorization: Bearer`). Errors are problem documents (RFC 9457).
"""


def create_app(settings: Settings) -> FastAPI:
    """The API of one retailer. It connects when it starts, or with its first request when mounted in another one."""
    service = Service(settings)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        await service.start()
        yield
        await service.close()

    app = FastAPI(
        title="Portrait",
        version="1",
        description=DESCRIPTION,
        lifespan=lifespan,
        # The document wants a key, and the usual viewers want the internet.
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        # A redirect would repeat a path that may hold a card number.
        redirect_slashes=False,
    )
    app.state.service = service
    for room in (customers, timeline, identity, predict, segments, audiences, operations, health):
        app.include_router(room.router)
    add_page(app, settings.serving.frame_ancestors)
    add_handlers(app)
    app.add_middleware(Guard, service=service)
    return app


def from_environment() -> FastAPI:
    """What each worker of `portrait serve` runs."""
    return create_app(load_settings())
