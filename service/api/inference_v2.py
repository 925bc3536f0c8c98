"""Open Inference Protocol v2 under /v2, with Triton's binary tensors: what tritonclient speaks.

A model's inputs are encoded ids and numbers, as contract.bundle.INPUTS; its outputs are its own, one [N] a task in the
order of its schema. Nothing is looked up in Redis, no experiment decides, and no third probability is composed: /score
does all that. The queue before the model is the one of /score, with its limits.
"""

from collections.abc import Callable, Coroutine
from time import perf_counter
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Request, Response
from fastapi.routing import APIRoute
from pydantic import ValidationError
from starlette.requests import ClientDisconnect

from service.api.body import read_body
from service.api.inference_document import (
    BYTES,
    INFER_BODY,
    INFER_PARAMETERS,
    INFER_REPLIES,
    JSON,
    LOADING,
    OTHER_ERRORS,
    UNKNOWN,
    errors,
)
from service.api.inference_messages import ErrorReply, InferRequest, ModelMetadata, ServerMetadata, TensorMetadata
from service.api.state import service_of
from service.api.tensors import HEADER, decode, encode, input_specs, split_body, wanted_outputs
from service.errors import INVALID_REQUEST, RETRY_AFTER, Kind, ServiceProblem, invalid_body
from service.lifecycle import Service
from service.scoring.admission import DEADLINE_HEADER, deadline
from service.scoring.engine import Scores
from service.scoring.inputs import Inputs, from_arrays
from service.scoring.registry import Served

UNKNOWN_MODEL = Kind("unknown-model", 404, "No such model")
UNKNOWN_ENDPOINT = Kind("unknown-endpoint", 404, "No such endpoint")
PLATFORM = "onnxruntime_onnx"
_LONGEST_ERROR = 400
_LEFT = 499  # the caller hung up before its request was complete; for metrics alone


class _Route(APIRoute):
    """Answers a problem in this protocol's shape."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The handler, and what it raises as a reply."""
        handle = super().get_route_handler()

        async def answer(request: Request) -> Response:
            try:
                return await handle(request)
            except ServiceProblem as problem:
                return _error(problem)

        return answer


async def _named(model: Annotated[str, Path(description="its newest loaded version")]) -> None:
    """Declares the path's parameters."""


async def _versioned(model: str, version: str) -> None:
    """Declares the path's parameters."""


router = APIRouter(prefix="/v2", tags=["open inference protocol v2"], route_class=_Route)
of_model = APIRouter(route_class=_Route)


@router.get("", summary="What this server is")
@router.get("/", include_in_schema=False)
async def server(request: Request) -> ServerMetadata:
    """Its name, version and extensions of the protocol."""
    return ServerMetadata(name="twinscore", version=request.app.version, extensions=["binary_tensor_data"])


@router.get("/health/live", summary="The process is alive")
async def live() -> Response:
    """200 as long as the event loop turns, without a body."""
    return Response()


@router.get("/health/ready", responses={503: {"description": "Not yet"}}, summary="Every model is ready")
async def ready(request: Request) -> Response:
    """200 once all models are verified and warm, else 503; without a body, and whether or not Redis answers."""
    return _readiness(service_of(request))


@of_model.get("", responses=errors(UNKNOWN, LOADING), summary="What a model takes and gives")
async def metadata(request: Request) -> ModelMetadata:
    """Inputs of width 0 are not listed; they may be sent or left out."""
    served = _find(request)
    name, bundle = served.model.manifest.model, served.model.bundle
    return ModelMetadata(
        name=name,
        versions=sorted(_versions(service_of(request), name)),
        platform=PLATFORM,
        inputs=[
            TensorMetadata(name=name, datatype=spec.datatype, shape=spec.shape)
            for name, spec in input_specs(bundle.schema).items()
            if spec.width != 0
        ],
        outputs=[TensorMetadata(name=task, datatype="FP32", shape=[-1]) for task in bundle.manifest.tasks],
    )


@of_model.get("/ready", responses=errors(UNKNOWN) | {503: {"description": "Not yet"}}, summary="A model is ready")
async def model_ready(request: Request) -> Response:
    """200 once it is verified and warm, without a body."""
    if service_of(request).pipeline is not None:
        _find(request)
    return _readiness(service_of(request))


@of_model.post(
    "/infer",
    response_model=None,
    responses=INFER_REPLIES,
    openapi_extra={"requestBody": INFER_BODY, "parameters": INFER_PARAMETERS},
    summary="Score tensors",
)
async def infer(request: Request) -> Response:
    """A model's own outputs for N candidates of R requests, from encoded ids and numbers.

    `request_of_item` says to which request each candidate belongs; with one request it may be left out, as may inputs
    of width 0. INT64 is taken for INT32 where the values fit. An id outside a field's table is the id 0: unseen.
    Columns of crosses are computed from those of their fields, whatever is sent in them.
    Scores are the model's tasks as they are: of click, conversion and both, only /score adds the third.
    """
    service, model, status = service_of(request), "", 500
    try:
        served = _find(request)
        model = served.model.manifest.model
        response = await _infer(request, service, served)
        status = response.status_code
        return response
    except ServiceProblem as problem:
        status = _status(problem)
        raise
    except ClientDisconnect:
        status = _LEFT
        return Response(status_code=status)
    finally:
        service.metrics.inferences.labels(status, model).inc()


async def _infer(request: Request, service: Service, served: Served) -> Response:
    settings, manifest = service.settings, served.model.manifest
    until = deadline(request.headers.get(DEADLINE_HEADER), settings.deadline_ms, perf_counter())
    encoding = request.headers.get("content-encoding", "identity").lower()
    if encoding != "identity":
        raise ServiceProblem(INVALID_REQUEST, f"Content-Encoding '{encoding}' is not taken; send the body as it is")
    body = await read_body(request, settings.max_body_bytes)
    text, raw = split_body(body, request.headers.get(HEADER))
    ask = _parse(text)
    wanted = wanted_outputs(ask.outputs, manifest.tasks, ask.parameters.binary_data_output)
    arrays = decode(ask.inputs, raw, input_specs(served.model.bundle.schema), settings.max_batch_rows)
    if crosses := served.model.encoder.crosses:
        crosses.fill(arrays["request_ids"], arrays["item_ids"], arrays["request_of_item"])
    scores = await _score(served, from_arrays(arrays), until)
    service.metrics.candidates.inc(len(arrays["item_ids"]))
    head = {"model_name": manifest.model, "model_version": manifest.version}
    reply, length = encode(scores, wanted, head if ask.id is None else head | {"id": ask.id})
    if length is None:
        return Response(reply, media_type=JSON)
    return Response(reply, headers={HEADER: str(length)}, media_type=BYTES)


async def _score(served: Served, inputs: Inputs, until: float) -> Scores:
    with served.batcher.admit(len(inputs), until) as place:
        return await served.batcher.score(inputs, place)


def _parse(text: bytes) -> InferRequest:
    try:
        return InferRequest.model_validate_json(text)
    except ValidationError as error:
        raise invalid_body(error) from None


def _find(request: Request) -> Served:
    """The model of this path; without a version its newest that is loaded."""
    service = service_of(request)
    service.ready_pipeline()
    name, version = request.path_params["model"], request.path_params.get("version")
    versions = _versions(service, name)
    if not versions:
        loaded = sorted({served.model.manifest.model for served in service.models.values()})
        raise ServiceProblem(UNKNOWN_MODEL, f"model '{name}' is not loaded; loaded: {', '.join(loaded)}")
    if version is not None and version not in versions:
        known = ", ".join(sorted(versions))
        raise ServiceProblem(UNKNOWN_MODEL, f"model '{name}': version '{version}' is not loaded; loaded: {known}")
    return versions[version or max(versions)]


def _versions(service: Service, name: str) -> dict[str, Served]:
    """Loaded versions of a model; several references may name one."""
    models = ((served.model.manifest, served) for served in service.models.values())
    return {manifest.version: served for manifest, served in models if manifest.model == name}


def _readiness(service: Service) -> Response:
    if service.pipeline is not None:
        return Response()
    return Response(status_code=503, headers={"Retry-After": str(RETRY_AFTER)})


def _error(problem: ServiceProblem) -> Response:
    detail, status = " ".join(problem.detail.split()), _status(problem)  # a name that was sent may hold line ends
    if len(detail) > _LONGEST_ERROR:
        detail = detail[:_LONGEST_ERROR] + "…"
    headers = {"Retry-After": str(problem.retry_after)} if status == 503 else {}
    return Response(ErrorReply(error=detail).model_dump_json(), status, headers, JSON)


def _status(problem: ServiceProblem) -> int:
    return 400 if problem.kind.status == 422 else problem.kind.status  # this protocol knows no 422


for prefix, parameters in (("/models/{model}", _named), ("/models/{model}/versions/{version}", _versioned)):
    router.include_router(of_model, prefix=prefix, dependencies=[Depends(parameters)], responses=OTHER_ERRORS)


@router.api_route("/{path:path}", methods=["GET", "POST", "PUT", "DELETE"], include_in_schema=False)
async def unknown(request: Request) -> Response:
    """404 in this protocol's shape; the last route."""
    raise ServiceProblem(
        UNKNOWN_ENDPOINT,
        f"{request.method} {request.url.path}: no such endpoint; offered are health, metadata and infer, see /docs",
    )
