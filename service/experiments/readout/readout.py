"""The readout of a phase: what was counted → report.Readout. Pure; scipy and tea-tasting do the standard statistics."""

from collections.abc import Mapping, Sequence

from service.experiments.config import Experiment, Guardrails
from service.experiments.outcomes.moments import Moments
from service.experiments.outcomes.sums import ArmSums, ExperimentSums
from service.experiments.readout.arms import arm_report
from service.experiments.readout.comparisons import compare_all
from service.experiments.readout.guardrails import guardrails_of
from service.experiments.readout.history import DAY, history, iso, users_a_day
from service.experiments.readout.pairs import pair
from service.experiments.readout.ratio_check import Weights, check, users_by_version, weights_changed
from service.experiments.readout.ratios import METRICS
from service.experiments.readout.remarks import remarks
from service.experiments.readout.report import Comparison, Readout
from service.experiments.readout.sequential import planned_users
from service.experiments.readout.verdict import Question, Traffic, decide


def readout_of(
    sums: ExperimentSums, experiment: Experiment, config_version: int, now: float, weights: Weights
) -> Readout:
    """The readout as of `now`, in seconds since 1970; `weights` of the arms by version of the configuration."""
    # those of now say nothing of an earlier phase, whose own may be forgotten
    current = {arm.name: arm.weight for arm in experiment.arms} if sums.phase == experiment.phase else {}
    weights = {config_version: current, **weights}
    counted = {arm.name: sums.arms.get(arm.name, ArmSums()) for arm in experiment.arms}
    moments = {name: arm.moments for name, arm in counted.items()}
    control, measure = experiment.control_arm.name, experiment.measure
    arms = _tested(moments, control, weights)
    names = [*counted, *(name for name in sums.arms if name not in counted)]

    ratio = check(sums, names, config_version, weights)
    comparisons = compare_all(moments, control, arms, measure)
    guardrails = list(guardrails_of(counted, control, arms, experiment.guardrails or Guardrails(), measure))
    traffic = _traffic(sums, experiment, moments, now)
    verdict = decide(_question(experiment, moments, arms, comparisons), ratio, guardrails, traffic)
    days = max(0.0, 1000 * now - sums.first) / DAY if traffic.users else 0.0
    by_version = users_by_version(sums, names, config_version)
    changed = weights_changed(by_version, config_version, weights)
    forgotten = [number for number in by_version if not weights.get(number, current)]
    return Readout(
        key=experiment.key,
        phase=sums.phase,
        config_version=config_version,
        as_of=iso(1000 * now),
        started=iso(sums.first) if traffic.users else None,
        days=days,
        primary=measure.primary,
        alpha=measure.alpha,
        effect=measure.effect,
        planned_users=planned_users(measure),
        verdict=verdict,
        arms=[arm_report(arm, counted[arm.name], arm.name == control, measure) for arm in experiment.arms],
        comparisons=comparisons,
        sample_ratio=ratio,
        guardrails=guardrails,
        history=list(history(sums, control, arms, measure)),
        warnings=[*remarks(experiment, sums, comparisons, verdict, days, changed), *map(_forgotten, forgotten)],
    )


def _forgotten(version: int) -> str:
    return f"the weights of version {version} are not in the history: the sample ratio of its users is not checked"


def _tested(moments: Mapping[str, Moments], control: str, weights: Weights) -> list[str]:
    """Arms to compare with the control: those that had weight, or have users."""
    weighted = {name for each in weights.values() for name, weight in each.items() if weight}
    return [name for name in moments if name != control and (name in weighted or moments[name].total("users"))]


def _question(
    experiment: Experiment, moments: Mapping[str, Moments], arms: Sequence[str], comparisons: Sequence[Comparison]
) -> Question:
    measure, control = experiment.measure, experiment.control_arm.name
    ratio, prior = METRICS[measure.primary], measure.prior_days > 0
    return Question(
        primary=[each for each in comparisons if each.metric == measure.primary],
        pairs={arm: pair(moments[control], moments[arm], ratio, prior) for arm in arms},
        effect=measure.effect,
        planned=planned_users(measure),
        control=control,
    )


def _traffic(sums: ExperimentSums, experiment: Experiment, moments: Mapping[str, Moments], now: float) -> Traffic:
    over = experiment.end is not None and experiment.end.timestamp() <= now
    return Traffic(
        users_a_day=users_a_day(sums, 1000 * now),
        users=sum(each.total("users") for each in moments.values()),
        ended=over or experiment.killed or sums.phase < experiment.phase,
    )
