"""The web app: `create_app(settings)`; resources live in its lifespan."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi_offline import FastAPIOffline
from pydantic import BaseModel

from contract.errors import Problem
from service.api import arms, console, events, experiments, health, inference_v2, models, readout, score
from service.api.edge import ScoreEdge
from service.api.events import SentEvent
from service.api.inference_messages import InferRequest
from service.errors import handle_problems
from service.lifecycle import Service
from service.messages import ScoreRequest
from service.settings import Settings


def create_app(settings: Settings) -> FastAPI:
    """An app of its own resources; models load once it runs (`app.state.service.loaded`)."""
    service = Service(settings)
    app = FastAPIOffline(  # /docs must work where no content network is reached
        redoc_url=None,
        title="Twinscore",
        summary="Click and conversion probability of candidate items for a user, and values of continuous tasks.",
        version="0.1.0",
        lifespan=_lifespan,
    )
    app.state.service = service
    for resource in (score, events, models, arms, experiments, readout, inference_v2, health, console):
        app.include_router(resource.router)
    app.add_middleware(ScoreEdge, service=service)
    handle_problems(app)
    app.openapi = lambda: _openapi(app)  # type: ignore[method-assign]
    return app


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    service: Service = app.state.service
    service.start()
    try:
        yield
    finally:
        await service.close()


def _openapi(app: FastAPI) -> dict[str, Any]:
    """FastAPI's document, and the models that only handlers of raw bytes know."""
    if app.openapi_schema is None:
        document = get_openapi(title=app.title, version=app.version, summary=app.summary, routes=app.routes)
        schemas = document["components"]["schemas"]
        hidden: tuple[type[BaseModel], ...] = (ScoreRequest, SentEvent, InferRequest, Problem)
        for model in hidden:
            schema = model.model_json_schema(ref_template="#/components/schemas/{model}")
            schemas.update(schema.pop("$defs", {}))
            schemas[model.__name__] = schema
        app.openapi_schema = document
    return app.openapi_schema
