"""What waits for an engine, and what one call of the engine is given."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from math import inf

import numpy as np

from service.scoring.admission import Place
from service.scoring.engine import Scores
from service.scoring.inputs import Inputs


@dataclass(slots=True, eq=False)
class Job:
    """One request that waits for its scores."""

    inputs: Inputs
    place: Place
    scores: "asyncio.Future[Scores]"
    queued: float
    started: float = inf
    parts: list[tuple[int, Scores]] = field(default_factory=list)  # by their first row
    spare: bool = False  # runs where nothing else waits

    def fail(self, error: Exception) -> None:
        """Tell whoever waits, if anybody does."""
        if not self.scores.done():
            self.scores.set_exception(error)

    def joined(self) -> Scores:
        """Scores of all parts, in the order of the candidates."""
        if len(self.parts) == 1:
            return self.parts[0][1]
        ordered = [scores for _, scores in sorted(self.parts, key=lambda part: part[0])]
        return {task: np.concatenate([scores[task] for scores in ordered]) for task in ordered[0]}


@dataclass(frozen=True, slots=True)
class Part:
    """Candidates [start, stop) of a request, in one run."""

    job: Job
    start: int
    stop: int

    @property
    def inputs(self) -> Inputs:
        """What the engine reads of it."""
        whole = self.stop - self.start == self.job.place.rows
        return self.job.inputs if whole else self.job.inputs.part(self.start, self.stop)


@dataclass(frozen=True, slots=True)
class Run:
    """What one call of the engine was given, and gave."""

    parts: Sequence[Part]
    started: float
    ended: float
    outcome: Scores | Exception

    @property
    def rows(self) -> int:
        """Candidates."""
        return sum(part.stop - part.start for part in self.parts)

    @property
    def spare(self) -> bool:
        """Whether it is work that nobody waits for; such work shares no run."""
        return self.parts[0].job.spare
