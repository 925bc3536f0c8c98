"""The console: pages for people at /console. Templates are loaded when somebody looks for the first time."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from fastapi.routing import APIRoute

from contract.errors import ConfigError
from service.api.body import read_body
from service.api.models import models as loaded_models
from service.api.state import service_of
from service.console.checking import Checked, check
from service.console.facts import Facts, gather
from service.console.page import HEADERS, render, static_file
from service.console.trial import Answer, Asked, answer
from service.errors import INVALID_REQUEST, Kind, ServiceProblem
from service.experiments.change.versions import UNREACHABLE, Version

NO_PAGE = Kind("no-page", 404, "No such page")
HTML = "text/html; charset=utf-8"
_SECONDS = 1.0  # for the history
_VERSIONS = 50  # shown of it; the page is sent every few seconds


class _PageRoute(APIRoute):
    """What is wrong is a page too, for who asked for one."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handler = super().get_route_handler()

        async def handle(request: Request) -> Response:
            try:
                return await handler(request)
            except ServiceProblem as problem:
                if request.method != "GET":
                    raise
                return await _problem_page(request, problem)

        return handle


router = APIRouter(prefix="/console", include_in_schema=False, route_class=_PageRoute)


@router.get("")
async def experiments(request: Request) -> Response:
    """Every layer and experiment."""
    facts = await gather(service_of(request))
    held = sum(stop - start for start, stop in facts.config.holdout.slots) if facts.config.holdout else 0
    return await _page(request, facts, "experiments.html", tab="experiments", held=held)


@router.get("/experiments/{key}")
async def experiment(request: Request, key: str) -> Response:
    """One experiment."""
    facts = await gather(service_of(request))
    for layer in facts.config.layers:
        for each in layer.experiments:
            if each.key == key:
                slots = sum(stop - start for start, stop in each.slots)
                values = {"layer": layer, "experiment": each, "readout": facts.readout(each), "slots": slots}
                return await _page(request, facts, "experiment.html", tab="experiments", **values)
    version = facts.config.version
    raise ServiceProblem(NO_PAGE, f"Version {version} of the configuration has no experiment '{key}'.")


@router.get("/try")
async def try_it(
    request: Request,
    user_id: Annotated[str, Query()] = "",
    items: Annotated[str, Query()] = "",
    context: Annotated[str, Query()] = "",
    arm: Annotated[str, Query()] = "",
) -> Response:
    """The form, and the answer to it."""
    service, asked = service_of(request), Asked(user_id, items, context, arm)
    answered = await answer(service, asked) if user_id else Answer()
    facts = await gather(service)
    arms = dict.fromkeys(arm.name for _, each in facts.config.placed() for arm in each.arms)
    return await _page(
        request, facts, "try.html", tab="try", asked=asked, decision=answered.decision, steps=answered.steps or [],
        reply=answered.reply, took=answered.milliseconds, arms=arms, may_force=service.settings.allow_arm_override,
    )  # fmt: skip


@router.get("/configuration")
async def configuration(request: Request) -> Response:
    """The editor, and every version."""
    service = service_of(request)
    facts, versions = await gather(service), list[Version]()
    try:
        async with asyncio.timeout(_SECONDS):
            versions = await service.live.versions.history()
    except UNREACHABLE:
        if not facts.problems:
            facts.problems.append("Redis does not answer: the versions are not known now, and nothing can be applied.")
    return await _page(
        request, facts, "configuration.html", tab="configuration", versions=versions, shown_versions=_VERSIONS
    )


@router.get("/models")
async def models(request: Request) -> Response:
    """Loaded models."""
    facts = await gather(service_of(request))
    return await _page(request, facts, "models.html", tab="models", models=await loaded_models(request))


@router.post("/check")
async def check_text(request: Request) -> Checked:
    """What a text would change, without applying it; a problem names the line that is wrong."""
    service = service_of(request)
    body = await read_body(request, service.settings.max_body_bytes)
    try:
        # in a thread, since reading YAML takes milliseconds
        return await asyncio.to_thread(check, service.source, body.decode(), service.settings)
    except UnicodeDecodeError:
        raise ServiceProblem(INVALID_REQUEST, "the text is not UTF-8") from None
    except ConfigError as error:
        raise ServiceProblem(INVALID_REQUEST, str(error)) from None


@router.get("/static/{name}")
async def static(name: str) -> Response:
    """A style sheet, script or image of the console."""
    if (found := static_file(name)) is None:
        raise ServiceProblem(NO_PAGE, f"The console has no file '{name}'.")
    content, media = found
    return Response(content, headers=HEADERS | {"Cache-Control": "no-cache"}, media_type=media)


async def _page(request: Request, facts: Facts, template: str, **values: object) -> Response:
    root = request.scope.get("root_path", "")
    # in a thread: milliseconds, and for the first page of a process much more
    page = await asyncio.to_thread(render, template, root=root, base=f"{root}/console", facts=facts, **values)
    return Response(page, headers=HEADERS, media_type=HTML)


async def _problem_page(request: Request, problem: ServiceProblem) -> Response:
    base = request.scope.get("root_path", "") + "/console"
    kind = problem.kind
    page = await asyncio.to_thread(
        render, "problem.html", base=base, title=kind.title, detail=problem.detail, again=kind.status == 503
    )
    return Response(page, kind.status, HEADERS, HTML)
