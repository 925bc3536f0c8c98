"""GET /experiments/{key}/readout: what `python -m service outcomes` stored; nothing is computed here."""

import asyncio
from datetime import UTC, datetime

from fastapi import APIRouter, Request
from pydantic import AwareDatetime, Field, TypeAdapter, ValidationError
from redis.exceptions import RedisError

from contract.errors import Problem
from service.api.state import service_of
from service.errors import NO_READOUT, UNKNOWN_EXPERIMENT, ServiceProblem
from service.experiments import keys
from service.experiments.readout.report import Readout

router = APIRouter(tags=["experiments"])
_SECONDS = 1.0  # for Redis to answer
_TIME = TypeAdapter(AwareDatetime)


class StoredReadout(Readout):
    """A readout, and how old it is."""

    age_seconds: float = Field(description="since it was computed")


@router.get(
    "/experiments/{key}/readout",
    summary="Lifts, intervals and the verdict",
    responses={404: {"model": Problem}, 503: {"model": Problem}},
)
async def readout(request: Request, key: str) -> StoredReadout:
    """The last readout of the experiment; peek-safe intervals may be looked at as often as one likes."""
    service = service_of(request)
    config = service.assignment.config
    if config.experiment(key) is None:
        known = ", ".join(each.key for _, each in config.placed()) or "none"
        raise ServiceProblem(UNKNOWN_EXPERIMENT, f"no experiment '{key}'; known: {known}")
    try:
        async with asyncio.timeout(_SECONDS):
            stored = await service.store.redis.get(keys.readout(service.settings.redis_prefix, key))
    except (RedisError, OSError, TimeoutError):
        raise ServiceProblem(NO_READOUT, "Redis, where readouts are stored, cannot be reached") from None
    if stored is None:
        raise ServiceProblem(NO_READOUT, "no readout yet: run python -m service outcomes")
    try:
        found = Readout.model_validate_json(stored)
        age = datetime.now(UTC) - _TIME.validate_python(found.as_of)
    except ValidationError:
        detail = "the stored readout cannot be read; run python -m service outcomes of this version"
        raise ServiceProblem(NO_READOUT, detail) from None
    return StoredReadout(**dict(found), age_seconds=max(0.0, age.total_seconds()))
