"""What a scored request says to the log: one exposure for each layer that the user is in."""

from collections.abc import Mapping
from time import time
from typing import Any

from service.experiments.assignment import Decision, Variant
from service.experiments.log.records import Exposure

LONGEST_SEGMENT = 64  # characters


def exposures_of(
    decision: Decision,
    served_arm: str | None,
    model: str,
    request_id: str,
    user: str | None,
    config_version: int,
    items: int,
    predicted: int | None,
    context: Mapping[str, Any],
) -> list[Exposure]:
    """Exposures of a request; none without a user.

    `served_arm` is of the layer whose arm chose the model. The arms of other layers are served as they are intended.
    """
    if user is None or decision.variant is None:
        return []
    now, exposures = int(time() * 1000), list[Exposure]()
    for each in (decision, *decision.others):
        if each.variant is None:
            continue
        experiment, arm = each.variant.experiment, each.variant.arm.name
        exposure: Exposure = {
            "kind": "exposure",
            "time": now,
            "request": request_id,
            "user": user,
            "key": experiment.key,
            "phase": experiment.phase,
            "arm": arm,
            "served": served_arm or arm if each is decision else arm,
            "model": model,
            "slot": each.slot,
            "reason": each.reason,
            "config": config_version,
            "items": items,
        }
        if predicted is not None:
            exposure["predicted"] = predicted
        if experiment.segments and (segments := _segments(each.variant, context)):
            exposure["segments"] = segments
        exposures.append(exposure)
    return exposures


def _segments(variant: Variant, context: Mapping[str, Any]) -> dict[str, str]:
    """The fields that the readout is cut by, as text; a list or an object is no segment."""
    fields = variant.experiment.segments
    return {name: text for name in fields if (text := _text(context.get(name))) is not None}


def _text(value: object) -> str | None:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)[:LONGEST_SEGMENT] if isinstance(value, str | int | float) else None
