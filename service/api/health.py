"""GET /livez, /readyz, /metrics."""

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse
from prometheus_client import CONTENT_TYPE_LATEST
from pydantic import BaseModel

from service.api.state import service_of
from service.errors import RETRY_AFTER
from service.lifecycle import Service

router = APIRouter(tags=["health"])


class Check(BaseModel):
    """One thing that must be well."""

    ok: bool
    detail: str


class Readiness(BaseModel):
    """Whether to send traffic here, and what stands against it."""

    ready: bool
    checks: dict[str, Check]


@router.get("/livez", summary="The process is alive")
async def livez() -> dict[str, bool]:
    """200 as long as the event loop turns; looks at nothing else."""
    return {"alive": True}


@router.get("/readyz", response_model=Readiness, responses={503: {"model": Readiness}}, summary="Ready for traffic")
async def readyz(request: Request) -> Response:
    """200 while the bundles are verified and warm and Redis answers, else 503. Of several workers, this one."""
    service = service_of(request)
    wrong = await service.store.ping()
    checks = {"bundles": _bundles(service), "redis": Check(ok=wrong is None, detail=wrong or "answers")}
    if service.draining:
        checks["draining"] = Check(ok=False, detail="told to end; open requests are answered")
    readiness = Readiness(ready=all(check.ok for check in checks.values()), checks=checks)
    headers = {} if readiness.ready else {"Retry-After": str(RETRY_AFTER)}
    return JSONResponse(readiness.model_dump(), 200 if readiness.ready else 503, headers)


@router.get("/metrics", response_class=Response, summary="Prometheus metrics")
async def metrics(request: Request) -> Response:
    """Counters and histograms of the service: with several workers their sum, whichever of them answers."""
    return Response(await service_of(request).metrics.page(), headers={"Content-Type": CONTENT_TYPE_LATEST})


def _bundles(service: Service) -> Check:
    if service.failure is not None:
        return Check(ok=False, detail="a model could not be loaded; the service's log says why")
    if service.pipeline is None:
        return Check(ok=False, detail="being verified")
    manifests = [served.model.manifest for served in service.models.values()]
    names = sorted({f"{manifest.model}@{manifest.version}" for manifest in manifests})
    return Check(ok=True, detail=f"verified and warm: {', '.join(names)}")
