"""What a reader should know beside the verdict."""

from collections.abc import Iterator, Sequence

from service.experiments.config import Experiment
from service.experiments.outcomes.sums import ExperimentSums
from service.experiments.readout.report import Comparison, Verdict
from service.experiments.readout.wording import higher, lift

_NOTABLE = 0.01  # share of fallbacks that dilutes
_WEEK = 7.0  # days
_WINDOWS = {"cvr": "conversion_hours", "ctcvr": "conversion_hours", "value": "conversion_hours", "ctr": "click_hours"}


def remarks(
    experiment: Experiment,
    sums: ExperimentSums,
    comparisons: Sequence[Comparison],
    verdict: Verdict,
    days: float,
    weights_changed: bool,
) -> Iterator[str]:
    """Each a line."""
    yield from _of_phase(experiment, sums, verdict, days, weights_changed)
    yield from _of_log(sums)
    for each in comparisons:
        if each.significant and (each.lift or 0) < 0 and each.metric != experiment.measure.primary:
            yield f"{each.metric} of {each.arm} is {higher(each.lift or 0)}, peek-safe"


def _of_phase(
    experiment: Experiment, sums: ExperimentSums, verdict: Verdict, days: float, weights_changed: bool
) -> Iterator[str]:
    if sums.phase != experiment.phase:
        yield f"this is phase {sums.phase}; the configuration is at phase {experiment.phase}"
    if verdict.decision in ("ship", "stop") and days < _WEEK:
        yield f"{days:.1f} days are less than a week: weekdays and weekends may differ"
    hours: float = getattr(experiment.measure, _WINDOWS[experiment.measure.primary])
    if verdict.decision != "no-data" and days * 24 < hours:
        yield f"no exposure is {hours:g} hours old: all users may still have events that count in the primary metric"
    old, new = sums.measure.model_dump(), experiment.measure.model_dump()
    if verdict.decision != "no-data" and (changed := [name for name in new if new[name] != old[name]]):
        yield f"{', '.join(changed)} of the measure changed since the phase began: it was not planned beforehand"
    if weights_changed:
        yield (
            "the weights changed within the phase: early and late users are mixed unevenly in the arms, and segments "
            "are not checked; a new phase would keep them apart"
        )
    if extra := sorted(set(sums.arms) - {arm.name for arm in experiment.arms}):
        yield f"counted, but no arm of the configuration: {', '.join(extra)}"


def _of_log(sums: ExperimentSums) -> Iterator[str]:
    for name, arm in sums.arms.items():
        exposures = arm.moments.total("exposures")
        if exposures and arm.fallbacks > _NOTABLE * exposures:
            share = lift(arm.fallbacks / exposures)
            yield f"{share} of the exposures of {name} were served by the control's model: its effect is diluted"
        if arm.dropped:
            yield f"{arm.dropped:,} exposures of {name} were dropped, the log's queue being full"
        if arm.crossed:
            yield f"{arm.crossed:,} users of {name} met another arm later; they count in {name}"
    if sums.late:
        yield f"{sums.late:,} events came too late to count"
