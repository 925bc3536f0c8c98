"""What a new configuration changes, in words, and the share of users in the old one whom it would move.

A user is moved who is in an experiment and would meet another of its arms, or none. Conditions, times, kills and
overrides are left out of the share: they say who is let in now, not where a user belongs. The share is exact: of all
slots, buckets of arms and holdout buckets, those that stay over those that there were. A draw whose salt or hash
changed is a new, independent one.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from json import dumps
from typing import Any

from service.experiments.assignment import Assignment
from service.experiments.config import SLOTS, Arm, Experiment, Experiments, Hash, Layer
from service.experiments.hashing import arm_ranges

_ANEW = ("measure", "segments", "control")  # counted from a phase's start
_LONGEST_SALT = 64
_TREATMENT = ("model", "ranking", "parameters")


@dataclass(frozen=True, slots=True)
class Change:
    """What becomes of one experiment; `share` of its enrolled users are moved."""

    key: str
    words: list[str]
    share: float = 0.0
    warnings: list[str] = field(default_factory=list)
    refusal: str | None = None


@dataclass(frozen=True, slots=True)
class Difference:
    """`general` is what concerns no single experiment."""

    general: list[str]
    changes: list[Change]

    @property
    def refusals(self) -> list[str]:
        """Why the new configuration must not replace the old one."""
        return [change.refusal for change in self.changes if change.refusal]


def compare(old: Experiments, new: Experiments) -> Difference:
    """All that changes, experiment by experiment: those of the old configuration, then new ones."""
    known, coming = _by_key(old), _by_key(new)
    general = list(_fields(old, new, ("version", "default_model", "killed", "holdout")))
    general += [line for layer in new.layers for line in _layer_words(old, layer)]
    changes = [
        _changed(old, new, known[key], coming[key]) if key in coming else Change(key, ["removed"]) for key in known
    ]
    changes += [Change(key, ["new"]) for key in coming if key not in known]
    return Difference(general, [change for change in changes if change.words or change.share])


def drawn(old: Experiments, new: Experiments, users: Iterable[str]) -> dict[str, tuple[int, int]]:
    """The same by drawing users: of each experiment in the old configuration, those enrolled and those moved."""
    before, after = Assignment(bare(old)), Assignment(bare(new))
    counts = {experiment.key: [0, 0] for _, experiment in old.placed()}
    for user in users:
        arms = None
        for variant in before.decide(user).variants:
            if arms is None:
                arms = {each.experiment.key: each.arm.name for each in after.decide(user).variants}
            count = counts[variant.experiment.key]
            count[0] += 1
            count[1] += arms.get(variant.experiment.key) != variant.arm.name
    return {key: (enrolled, moved) for key, (enrolled, moved) in counts.items()}


def bare(config: Experiments) -> Experiments:
    """The draws alone: nothing is killed, timed, targeted or overridden."""
    open_to_all: dict[str, Any] = {"killed": False, "start": None, "end": None, "when": None, "overrides": {}}
    layers = tuple(
        layer.model_copy(
            update={"experiments": tuple(each.model_copy(update=open_to_all) for each in layer.experiments)}
        )
        for layer in config.layers
    )
    return config.model_copy(update={"killed": False, "layers": layers})


def moved_share(old: Experiments, new: Experiments, key: str) -> float:
    """The share of an experiment's enrolled users who would meet another arm of it, or none."""
    (layer, before), (other, after) = _by_key(old)[key], _by_key(new)[key]
    kept = _kept_by_slot(layer, before, other, after) * _kept_by_arm(before, after) * _kept_by_holdout(old, new)
    return 1.0 - kept


def next_salt(experiment: Experiment) -> str:
    """The salt for the next phase: it ends in the phase's number."""
    end = f".{experiment.phase + 1}"
    return experiment.draw_salt.removesuffix(f".{experiment.phase}")[: _LONGEST_SALT - len(end)] + end


def percent(share: float) -> str:
    """A share as people read it; what is not 0 never looks like it."""
    return f"{100 * share:.1f} %" if share == 0 or share >= 0.001 else f"{100 * share:.2g} %"


def _by_key(config: Experiments) -> dict[str, tuple[Layer, Experiment]]:
    return {experiment.key: (layer, experiment) for layer in config.layers for experiment in layer.experiments}


def _kept_by_slot(layer: Layer, before: Experiment, other: Layer, after: Experiment) -> float:
    same = (layer.salt, layer.hash) == (other.salt, other.hash)
    if same and before.slots == after.slots:
        return 1.0
    slots, others = _slots(layer, before), _slots(other, after)
    if not slots:
        return 1.0  # nobody is in
    if same:
        return len(slots & others) / len(slots)
    return len(others) / len(range(0, SLOTS, _step(other)))


def _slots(layer: Layer, experiment: Experiment) -> set[int]:
    """Those that the layer's draw can give."""
    step = _step(layer)
    return {slot for start, stop in experiment.slots for slot in range(start, stop) if slot % step == 0}


def _step(layer: Layer) -> int:
    return SLOTS // 100 if layer.hash == "unleash" else 1  # it draws percents


def _kept_by_arm(before: Experiment, after: Experiment) -> float:
    ranges, others = _arm_ranges(before), _arm_ranges(after)
    enrolled = sum(stop - start for start, stop in ranges.values())
    if not enrolled:
        return 1.0
    both = [(ranges[name], others[name]) for name in ranges if name in others]
    if _arm_draw(before) == _arm_draw(after):
        return sum(max(0, min(a[1], b[1]) - max(a[0], b[0])) for a, b in both) / enrolled
    return sum((a[1] - a[0]) * (b[1] - b[0]) for a, b in both) / (enrolled * _arm_draw(after)[2])


def _arm_draw(experiment: Experiment) -> tuple[str, Hash, int]:
    """Salt, hash and number of buckets; equal ones give a user the same bucket."""
    return experiment.draw_salt, experiment.hash, sum(arm.weight for arm in experiment.arms)


def _arm_ranges(experiment: Experiment) -> dict[str, tuple[int, int]]:
    ranges = arm_ranges(experiment.hash, [arm.weight for arm in experiment.arms], experiment.coverage)
    return {arm.name: bounds for arm, bounds in zip(experiment.arms, ranges, strict=True)}


def _kept_by_holdout(old: Experiments, new: Experiments) -> float:
    if new.holdout is None or new.holdout == old.holdout:
        return 1.0
    reached, still = _reached(old), _reached(new)
    if not reached:
        return 1.0
    if old.holdout is None or old.holdout.salt == new.holdout.salt:
        return len(reached & still) / len(reached)
    return len(still) / SLOTS


def _reached(config: Experiments) -> set[int]:
    """Buckets of the holdout's draw that are not held out."""
    held = config.holdout.slots if config.holdout else ()
    return set(range(SLOTS)).difference(*(range(start, stop) for start, stop in held))


def _changed(
    old: Experiments, new: Experiments, before: tuple[Layer, Experiment], after: tuple[Layer, Experiment]
) -> Change:
    was, becomes = before[1], after[1]
    words = [f"layer: {before[0].name} → {after[0].name}"] if before[0].name != after[0].name else []
    words += _experiment_words(was, becomes)
    share = moved_share(old, new, was.key)
    refusal = None
    if share > 0 and becomes.phase <= was.phase:
        salt = f", salt: {next_salt(was)}" if becomes.salt else ""
        refusal = (
            f"experiment '{was.key}': {percent(share)} of its enrolled users would change arm or fall out; "
            f"raise its phase, and with it the salt (phase: {was.phase + 1}{salt})"
        )
    return Change(was.key, words, share, list(_warnings(was, becomes)), refusal)


def _warnings(was: Experiment, becomes: Experiment) -> Iterator[str]:
    if becomes.phase < was.phase:
        yield f"phase {becomes.phase} is an old one: its readout goes on from the sums of then"
    if becomes.phase > was.phase and becomes.draw_salt == was.draw_salt:
        yield f"the phase grows, the salt stays '{was.draw_salt}': who met an arm before mostly meets it again"
    if becomes.phase != was.phase:
        return
    arms = {arm.name: arm for arm in becomes.arms}
    for arm in was.arms:
        other = arms.get(arm.name, arm)
        if any(getattr(arm, name) != getattr(other, name) for name in _TREATMENT):
            yield f"arm '{arm.name}' serves something else within phase {was.phase}: its readout mixes both"
    for name in _ANEW:
        if getattr(was, name) != getattr(becomes, name):
            yield f"{name} changes within phase {was.phase}: what was counted stays as it was counted"


def _layer_words(old: Experiments, layer: Layer) -> Iterator[str]:
    before = next((each for each in old.layers if each.name == layer.name), None)
    if before is None:
        yield f"layer '{layer.name}': new"
    else:
        yield from (f"layer '{layer.name}': {line}" for line in _fields(before, layer, ("salt", "hash")))


def _experiment_words(was: Experiment, becomes: Experiment) -> Iterator[str]:
    if set(was.slots) != set(becomes.slots):
        yield f"slots: {_count(was):,} → {_count(becomes):,} of {SLOTS:,}, {_show(was.slots)} → {_show(becomes.slots)}"
    if was.draw_salt != becomes.draw_salt:
        yield f"salt: {was.draw_salt} → {becomes.draw_salt}"
    rest = (name for name in Experiment.model_fields if name not in ("key", "slots", "salt", "arms", "overrides"))
    yield from _fields(was, becomes, rest)
    yield from _arm_words(was.arms, becomes.arms)
    for user in {**was.overrides, **becomes.overrides}:
        arms = was.overrides.get(user), becomes.overrides.get(user)
        if arms[0] != arms[1]:
            yield f"override of '{user}': {arms[0] or 'none'} → {arms[1] or 'none'}"


def _arm_words(was: Iterable[Arm], becomes: Iterable[Arm]) -> Iterator[str]:
    old, new = {arm.name: arm for arm in was}, {arm.name: arm for arm in becomes}
    for name in {**old, **new}:
        if name not in new or name not in old:
            yield f"arm '{name}': {'removed' if name in old else 'new'}"
        else:
            changed = _fields(old[name], new[name], ("weight", *_TREATMENT, "shadow"))
            yield from (f"arm '{name}': {line}" for line in changed)
    if list(old) != list(new) and set(old) == set(new):
        yield f"arms: order {', '.join(old)} → {', '.join(new)}"


def _fields(old: object, new: object, names: Iterable[str]) -> Iterator[str]:
    for name in names:
        before, after = getattr(old, name), getattr(new, name)
        if before != after:
            yield f"{name}: {_show(before)} → {_show(after)}"


def _show(value: Any) -> str:
    if value is None:
        return "none"
    if hasattr(value, "model_dump"):
        value = value.model_dump(mode="json", exclude_defaults=True)
    return value if isinstance(value, str) else dumps(value, ensure_ascii=False, default=str)


def _count(experiment: Experiment) -> int:
    return sum(stop - start for start, stop in experiment.slots)
