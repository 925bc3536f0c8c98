"""Sample-ratio check: do the arms have the users that their weights say? In total, by version and by segment.

Pearson's chi-square. An alarm is p < 0.001; the versions share that level, and so do the segments, so that many of them
do not raise it by chance.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from scipy.stats import chisquare

from service.experiments.outcomes.sums import ArmSums, ExperimentSums
from service.experiments.readout.report import SampleRatio

ALARM = 0.001
LEAST_EXPECTED = 5.0  # users in an arm, for the chi-square to hold
Weights = Mapping[int, Mapping[str, int]]  # of the arms, by version of the configuration
Users = Mapping[str, int]  # by arm


def check(sums: ExperimentSums, names: Sequence[str], version: int, weights: Weights) -> SampleRatio:
    """The check over these arms. `weights` has those of `version`, which stand in for versions that it lacks.

    Where they are empty, nobody knows what was expected of those users: they are in no p.
    """
    arms = {name: sums.arms.get(name, ArmSums()) for name in names}
    observed = {name: arm.moments.total("users") for name, arm in arms.items()}
    by_version = users_by_version(sums, names, version)
    expected_by_version = {
        number: _expected(users, weights.get(number, weights[version])) for number, users in by_version.items()
    }
    expected = {name: sum(each[name] for each in expected_by_version.values()) for name in names}
    known = [number for number in by_version if weights.get(number, weights[version])]
    p_value = _p_value(observed, expected) if known else None
    versions = _each({str(number): (by_version[number], expected_by_version[number]) for number in known})
    segments = {} if weights_changed(by_version, version, weights) else _of_segments(arms, expected)
    alarms = list(_alarms(observed, expected, p_value, versions, segments))
    return SampleRatio(
        p_value=p_value,
        alarm=bool(alarms),
        expected=expected,
        observed=observed,
        versions=versions,
        segments=segments,
        alarms=alarms + (list(_causes(arms)) if alarms else []),
    )


def users_by_version(sums: ExperimentSums, names: Sequence[str], version: int) -> dict[int, dict[str, int]]:
    """Users of each arm by the version of their first exposure; of no known one: by `version`."""
    found: dict[int, dict[str, int]] = {}
    for name in names:
        arm = sums.arms.get(name, ArmSums())
        counts = Counter(arm.versions)
        counts[version] += arm.moments.total("users") - counts.total()
        for number, users in counts.items():
            found.setdefault(number, dict.fromkeys(names, 0))[name] += users
    return {number: users for number, users in sorted(found.items()) if any(users.values())}


def weights_changed(by_version: Mapping[int, Users], version: int, weights: Weights) -> bool:
    """Whether users of different weights are in one phase."""
    seen = [weights.get(number, weights[version]) for number in by_version]
    return any({**each} != {**seen[0]} for each in seen)


def _expected(users: Users, weights: Mapping[str, float]) -> dict[str, float]:
    """All these users by weight; no weights at all expect what there is."""
    whole = sum(weights.get(name, 0) for name in users)
    total = sum(users.values())
    return {name: total * weights.get(name, 0) / whole if whole else float(n) for name, n in users.items()}


def _p_value(observed: Users, expected: Mapping[str, float]) -> float | None:
    """None where there are too few users to tell."""
    if any(observed[name] and not expected[name] for name in observed):
        return 0.0  # users of an arm that may have none
    used = [name for name in observed if expected[name]]
    if len(used) < 2 or min(expected[name] for name in used) < LEAST_EXPECTED:
        return None
    return float(chisquare([observed[name] for name in used], [expected[name] for name in used]).pvalue)


def _each(pairs: Mapping[str, tuple[Users, Mapping[str, float]]]) -> dict[str, float]:
    found = {name: _p_value(observed, expected) for name, (observed, expected) in pairs.items()}
    return {name: p_value for name, p_value in found.items() if p_value is not None}


def _of_segments(arms: Mapping[str, ArmSums], expected: Mapping[str, float]) -> dict[str, float]:
    values = sorted({value for arm in arms.values() for value in arm.segments})
    users = {value: {name: arm.segments.get(value, 0) for name, arm in arms.items()} for value in values}
    return _each({value: (each, _expected(each, expected)) for value, each in users.items()})


def _alarms(
    observed: Users,
    expected: Mapping[str, float],
    p_value: float | None,
    versions: Mapping[str, float],
    segments: Mapping[str, float],
) -> Iterator[str]:
    if p_value is not None and p_value < ALARM:
        counts = ", ".join(f"{name} {observed[name]:,} instead of {expected[name]:,.0f}" for name in observed)
        yield f"users: {counts} (p {p_value:.1g})"
    for what, found in (("version", versions), ("segment", segments)):
        for name, each in found.items():
            if each < ALARM / len(found):
                yield f"{what} {name}: users do not follow the weights (p {each:.1g})"


def _causes(arms: Mapping[str, ArmSums]) -> Iterator[str]:
    """What is known to lose users of one arm more than of another."""
    for what, counts in (
        ("dropped exposures", {name: arm.dropped for name, arm in arms.items()}),
        ("exposures that fell back", {name: arm.fallbacks for name, arm in arms.items()}),
        ("users who met a second arm", {name: arm.crossed for name, arm in arms.items()}),
    ):
        if any(counts.values()):
            yield f"possible cause: {what}: " + ", ".join(f"{name} {count:,}" for name, count in counts.items())
