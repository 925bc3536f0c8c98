"""GET /models."""

from fastapi import APIRouter, Request
from pydantic import BaseModel

from service.api.state import service_of

router = APIRouter(tags=["models"])


class LoadedModel(BaseModel):
    """A model that can take traffic."""

    name: str
    version: str
    tasks: list[str]
    fingerprint: str
    default: bool
    arms: list[str]
    dataset: str
    created: str
    metrics: dict[str, dict[str, float | None]]


@router.get("/models", summary="Loaded models")
async def models(request: Request) -> list[LoadedModel]:
    """Every loaded model, and the arms (experiment/arm) that it stands behind."""
    service = service_of(request)
    paths = {reference: served.model.bundle.path for reference, served in service.models.items()}
    loaded = {served.model.bundle.path: served.model.manifest for served in service.models.values()}
    default = paths.get(service.source.config.default_model)
    variants = service.assignment.variants()
    arms = [(f"{each.experiment.key}/{each.arm.name}", paths.get(each.model)) for each in variants]
    return [
        LoadedModel(
            name=manifest.model,
            version=manifest.version,
            tasks=list(manifest.tasks),
            fingerprint=manifest.fingerprint,
            default=path == default,
            arms=[name for name, of in arms if of == path],
            dataset=manifest.dataset,
            created=manifest.created,
            metrics=manifest.metrics,
        )
        for path, manifest in loaded.items()
    ]
