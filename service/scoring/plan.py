"""What requests are routed by: a configuration and its models. Swapped whole, so that no request sees half of one."""

from collections.abc import Mapping
from dataclasses import dataclass

from service.experiments.assignment import Assignment
from service.experiments.source import Source
from service.scoring.registry import Served


@dataclass(frozen=True)
class Plan:
    """A configuration in force; `models` holds every reference that it names."""

    source: Source
    assignment: Assignment
    models: Mapping[str, Served]
