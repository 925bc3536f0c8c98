"""GET and PUT /experiments, its versions and rollback, and /experiments/explain."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request
from pydantic import BaseModel, ConfigDict, Field

from contract.errors import BundleError, ConfigError
from service.api.body import read_body
from service.api.state import service_of
from service.errors import INVALID_REQUEST, Kind, ServiceProblem
from service.experiments.change.following import Refusal
from service.experiments.change.versions import UNREACHABLE, Conflict, Version, said
from service.experiments.config import Experiments
from service.experiments.explanation import explain as steps_of
from service.security import FORBIDDEN, administrator

router = APIRouter(tags=["experiments"])
INVALID_EXPERIMENTS = Kind("invalid-experiments", 422, "The configuration is refused; the last one stays in force")
STALE = Kind("stale-version", 409, "Another version is in force")
NO_VERSION = Kind("unknown-version", 404, "No such version")
NO_REDIS = Kind("redis-down", 503, "Redis does not answer")
_TEXT = {"schema": {"type": "string", "description": "as deploy/experiments.yaml, with a higher `version`"}}
_BODY = {"required": True, "content": {"application/yaml": _TEXT, "application/json": _TEXT}}


def _author(request: Request, author: Annotated[str, Depends(administrator)]) -> str:
    if not service_of(request).settings.live:
        raise ServiceProblem(FORBIDDEN, "TWINSCORE_LIVE=false: the file alone says which configuration is in force")
    return author


Author = Annotated[str, Depends(_author)]
Note = Annotated[str, Query(max_length=500, description="why; kept with the version")]


class Explanation(BaseModel):
    """A decision and the draws behind it."""

    user_id: str
    model: str
    key: str | None
    arm: str | None
    phase: int | None
    slot: int | None
    reason: str
    config_version: int
    steps: list[dict[str, object]]


class History(BaseModel):
    """What is in force in this process, what is refused, and every version, the newest first.

    `redis` says why no version is listed, where Redis does not answer.
    """

    version: int
    origin: str
    author: str
    redis: str | None = None
    refused: list[Refusal]
    versions: list[Version]


class Rollback(BaseModel):
    """Which version to publish again."""

    model_config = ConfigDict(extra="forbid")

    version: int = Field(ge=1)
    note: str = Field(default="", max_length=500)


@router.get("/experiments", summary="The configuration in force", response_model_exclude_unset=True)
async def experiments(request: Request) -> Experiments:
    """Layers, experiments, arms and weights as they are now."""
    return service_of(request).source.config


@router.put(
    "/experiments",
    openapi_extra={"requestBody": _BODY},
    summary="Put another configuration in force",
    response_model_exclude_none=True,
)
async def change(request: Request, author: Author, note: Note = "", check: bool = False) -> Version:
    """Checks it, loads its models, and publishes it to every worker and replica; with `check` it only says what would
    be. Its `version` must be higher than the one in force; what moves users who are in an experiment needs a new phase.
    """
    service = service_of(request)
    plan, text = service.plan, await _text(request, service.settings.max_body_bytes)
    with _problems(plan.source.config.version):
        return _shown(await service.live.change(text, "body", author, note, publish=not check), check)


@router.get("/experiments/versions", summary="Every version that there was", response_model_exclude_none=True)
async def versions(request: Request, text: bool = False) -> History:
    """Each with time, author, note and what it changed; with `text` whole."""
    live, source = service_of(request).live, service_of(request).source
    known = History(
        version=source.config.version,
        origin=source.origin,
        author=live.author,
        refused=list(live.following.refused.values()),
        versions=[],
    )
    try:
        history = await live.versions.history()
    except UNREACHABLE as error:
        return known.model_copy(update={"redis": said(error)})
    return known.model_copy(update={"versions": [_shown(version, text) for version in history]})


@router.post("/experiments/rollback", summary="Put an old version in force again", response_model_exclude_none=True)
async def rollback(request: Request, author: Author, asked: Rollback) -> Version:
    """Publishes its text under a new number. It may move users: the version's note says so."""
    service = service_of(request)
    with _problems(service.source.config.version):
        version = await service.live.rollback(asked.version, author, asked.note)
    if version is None:
        raise ServiceProblem(NO_VERSION, f"version {asked.version} is unknown; see GET /experiments/versions")
    return _shown(version)


@router.get("/experiments/explain", summary="Why a user meets an arm")
async def explain(
    request: Request,
    user_id: Annotated[str, Query(min_length=1)],
    context: Annotated[str, Query(description="JSON, as in a request to score")] = "{}",
) -> Explanation:
    """Every draw for this user: its input, its hash and its slot."""
    assignment, known = service_of(request).assignment, _context(context)
    decision = assignment.decide(user_id, None, known)
    return Explanation(
        user_id=user_id,
        model=decision.model,
        key=decision.key,
        arm=decision.arm,
        phase=decision.phase,
        slot=decision.slot,
        reason=decision.reason,
        config_version=assignment.config.version,
        steps=steps_of(assignment, user_id, known),
    )


def _context(text: str) -> dict[str, Any]:
    try:
        context = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ServiceProblem(INVALID_REQUEST, f"query.context: not JSON: {error}") from None
    if not isinstance(context, dict):
        raise ServiceProblem(INVALID_REQUEST, 'query.context: a JSON object, such as {"scene": "home"}')
    return context


async def _text(request: Request, limit: int) -> str:
    try:
        text = (await read_body(request, limit)).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ServiceProblem(INVALID_EXPERIMENTS, f"body: not UTF-8: {error}") from None
    # YAML knows JSON, but for the tabs between its parts
    return text.replace("\t", " ") if request.headers.get("content-type", "").startswith("application/json") else text


@contextmanager
def _problems(in_force: int) -> Iterator[None]:
    """What went wrong, as a problem."""
    try:
        yield
    except (ConfigError, BundleError) as error:
        raise ServiceProblem(INVALID_EXPERIMENTS, str(error)) from None
    except Conflict as error:
        raise ServiceProblem(STALE, str(error)) from None
    except UNREACHABLE as error:
        raise ServiceProblem(NO_REDIS, f"{said(error)}; version {in_force} stays in force") from None


def _shown(version: Version, text: bool = False) -> Version:
    return version if text else version.model_copy(update={"text": None})
