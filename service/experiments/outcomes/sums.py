"""What the readout reads: one document for each phase of each experiment."""

from typing import NamedTuple

from pydantic import BaseModel

from service.experiments.config import Measure
from service.experiments.outcomes.moments import Moments


class ArmSums(BaseModel):
    """One arm. All but `dropped` and `overridden` is of users whom the draw assigned."""

    moments: Moments = Moments()
    fallbacks: int = 0  # exposures that the control's model served instead
    overridden: int = 0  # exposures by override or force; in no other number
    dropped: int = 0  # exposures that found the queue full
    crossed: int = 0  # users who met another arm later; they stay in the first
    models: dict[str, int] = {}  # exposures by name@version that scored
    versions: dict[int, int] = {}  # users by version of the configuration at their first exposure
    segments: dict[str, int] = {}  # users by "field=value" at their first exposure


class Snapshot(BaseModel):
    """The moments as they were, for intervals over time."""

    time: int  # milliseconds
    arms: dict[str, Moments]


class PhaseRules(NamedTuple):
    """How a phase is counted: by the configuration at its first exposure, so that a replay does the same."""

    measure: Measure
    snapshot_minutes: int


class ExperimentSums(BaseModel):
    """One phase; `measure` and `snapshot_minutes` are its PhaseRules."""

    key: str
    phase: int
    measure: Measure = Measure()
    snapshot_minutes: int = 60
    first: int = 0  # time of the first exposure, in milliseconds; 0: none has counted yet
    last: int = 0  # of the last one
    arms: dict[str, ArmSums] = {}
    snapshots: list[Snapshot] = []
    late: int = 0  # records that came too late to count
    duplicates: int = 0  # events that had been counted already
    unattributed: int = 0  # events of its users after their first exposure, outside every window
    excess: int = 0  # events of users of whom too many are kept already; not counted

    @property
    def rules(self) -> PhaseRules:
        """How it is counted."""
        return PhaseRules(self.measure, self.snapshot_minutes)
