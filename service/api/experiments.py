"""GET /experiments and /experiments/explain."""

from typing import Annotated

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel

from service.api.state import service_of
from service.experiments.config import Experiments
from service.experiments.explanation import explain as steps_of

router = APIRouter(tags=["experiments"])


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


@router.get("/experiments", summary="The configuration in force", response_model_exclude_unset=True)
async def experiments(request: Request) -> Experiments:
    """Layers, experiments, arms and weights as they were read at start."""
    return service_of(request).source.config


@router.get("/experiments/explain", summary="Why a user meets an arm")
async def explain(request: Request, user_id: Annotated[str, Query(min_length=1)]) -> Explanation:
    """Every draw for this user: its input, its hash and its slot."""
    assignment = service_of(request).assignment
    decision = assignment.decide(user_id)
    return Explanation(
        user_id=user_id,
        model=decision.model,
        key=decision.key,
        arm=decision.arm,
        phase=decision.phase,
        slot=decision.slot,
        reason=decision.reason,
        config_version=assignment.config.version,
        steps=steps_of(assignment, user_id),
    )
