"""Thompson sampling in batches: weights that follow the primary metric, each batch a phase of its own. Off by default.

An arm's posterior is normal, around its metric with the delta-method error over users. (A Beta posterior counts every
exposure as independent; those of one user are not, so it would be too sure.) An arm's weight is its chance to be best,
above a floor. Only the users of the phase that ends count: earlier ones met other weights on other days.

Weights that adapt make arms that tie look different more often than alpha says. A readout is of one phase.
"""

from collections.abc import Mapping

import mmh3
import numpy as np

from contract.errors import ConfigError
from service.experiments.change.difference import next_salt
from service.experiments.change.editing import Value, edited
from service.experiments.config import SLOTS, Experiment, Metric, Thompson
from service.experiments.document import Place
from service.experiments.outcomes.moments import Moments
from service.experiments.outcomes.sums import ExperimentSums
from service.experiments.readout.ratios import METRICS, sample
from service.experiments.source import parse_experiments

DRAWS = 20_000  # the chance to be best is known to ±0.4 %
_HOUR = 3_600_000  # milliseconds


def step(experiment: Experiment, sums: ExperimentSums, text: str, now: int) -> str | None:
    """The text with the next phase where the batch is over at `now` (milliseconds), else None.

    An arm of weight 0 stays out. Nothing happens until the metric of every other arm is steady enough to be called
    normal, nor while the experiment is killed, nor when the sums are of another phase.
    """
    thompson = experiment.thompson
    if thompson is None or experiment.killed or sums.phase != experiment.phase or not due(sums, thompson, now):
        return None
    arms = {arm.name: sums.arms[arm.name].moments for arm in experiment.arms if arm.weight and arm.name in sums.arms}
    if len(arms) < sum(arm.weight > 0 for arm in experiment.arms):
        return None
    found = weights(arms, experiment.measure.primary, thompson, mmh3.hash(experiment.draw_salt, signed=False))
    if found is None or all(found.get(arm.name, 0) == arm.weight for arm in experiment.arms):
        return None
    return next_phase(text, experiment.key, found)


def due(sums: ExperimentSums, thompson: Thompson, now: int) -> bool:
    """Whether the batch has lasted its hours since the phase's first exposure."""
    return now - sums.first >= thompson.hours * _HOUR


def weights(arms: Mapping[str, Moments], primary: Metric, thompson: Thompson, seed: int) -> dict[str, int] | None:
    """New weights, which sum to 10,000; None while an arm has too little to say. The same seed gives the same."""
    samples = [sample(moments, METRICS[primary]) for moments in arms.values()]
    steady = [each for each in samples if each is not None and each.steady]
    if len(steady) < len(samples) or not steady:
        return None
    means, deviations = [each.mean for each in steady], [each.variance**0.5 for each in steady]
    drawn = np.random.default_rng(seed).normal(means, deviations, (DRAWS, len(steady)))  # [draws, arms]
    best = np.bincount(drawn.argmax(axis=1), minlength=len(steady)) / DRAWS
    return dict(zip(arms, _shares([float(chance) for chance in best], thompson.floor), strict=True))


def next_phase(text: str, key: str, found: Mapping[str, int]) -> str:
    """The text with these weights under a new phase, salt and version; arms not named stay. Comments stay too."""
    config = parse_experiments(text, "the configuration in force").config
    placed = next(((place, each) for place, each in config.placed() if each.key == key), None)
    if placed is None:
        raise ConfigError(f"experiment '{key}' is not in the configuration in force")
    place, experiment = placed
    changes: dict[Place, Value] = {("version",): config.version + 1, (*place, "phase"): experiment.phase + 1}
    if experiment.salt is not None:
        changes[*place, "salt"] = next_salt(experiment)
    for i, arm in enumerate(experiment.arms):
        if arm.name in found:
            changes[*place, "arms", i, "weight"] = found[arm.name]
    new = edited(text, changes)
    parse_experiments(new, f"phase {experiment.phase + 1} of '{key}'")
    return new


def _shares(chances: list[float], floor: int) -> list[int]:
    """Whole numbers that sum to 10,000: the floor for each, the rest by chance, the largest remainders rounded up."""
    floor = min(floor, SLOTS // len(chances))
    exact = [floor + chance * (SLOTS - floor * len(chances)) for chance in chances]
    whole = [int(each) for each in exact]
    order = sorted(range(len(exact)), key=lambda i: whole[i] - exact[i])
    for i in order[: SLOTS - sum(whole)]:
        whole[i] += 1
    return whole
