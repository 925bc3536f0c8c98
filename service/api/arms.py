"""GET /experiments/health and /experiments/shadow."""

from fastapi import APIRouter, Request

from service.api.state import service_of
from service.experiments.arms.comparison import ComparisonReport
from service.experiments.arms.health import Health

router = APIRouter(tags=["experiments"])


@router.get("/experiments/health", summary="How the arms fare")
async def health(request: Request) -> Health:
    """Requests, failures and latency of each arm in the last minutes, over all processes; without Redis, over one."""
    return await service_of(request).ready_guardrails().health()


@router.get("/experiments/shadow", summary="Arms beside their shadows")
async def shadow(request: Request) -> list[ComparisonReport]:
    """What the shadows made of the candidates that their arms scored, over all processes; without Redis, over one."""
    return (await service_of(request).ready_guardrails().health())["shadows"]
